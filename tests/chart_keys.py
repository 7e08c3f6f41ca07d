"""Which part of a chart the tests send under which prefetch key."""

KINDS = {
    "procedures": "Procedure",
    "conditions": "Condition",
    "serviceRequests": "ServiceRequest",
    "medicationRequests": "MedicationRequest",
    "diagnosticReports": "DiagnosticReport",
    "devices": "Device",
    "scores": "Observation",
}
