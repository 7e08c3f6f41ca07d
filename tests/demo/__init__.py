"""Tests of the demo, the synthetic charts and the embedded FHIR server."""
