"""Tests against a real FHIR server, real charts and a real service process."""
