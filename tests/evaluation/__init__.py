"""Tests of the clinical core where the vignettes do not reach."""
