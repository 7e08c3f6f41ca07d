"""The demo: synthetic patients, a FHIR server and a test EHR around the real service."""
