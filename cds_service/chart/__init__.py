"""The chart as the clinical core sees it."""
