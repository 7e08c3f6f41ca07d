"""From FHIR to the chart: fetching what a hook call lacks, and reading what came."""
