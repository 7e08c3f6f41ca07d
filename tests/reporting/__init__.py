"""Tests of the report, the alarms and the explanations."""
