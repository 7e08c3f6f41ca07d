"""The test EHR and the guidance pages in a real browser."""
