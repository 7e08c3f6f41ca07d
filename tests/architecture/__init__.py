"""Tests of how the house is built: where numbers, codes, clocks and claims may live."""
