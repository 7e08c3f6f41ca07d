"""What EHRs read about the service before they call it."""

from __future__ import annotations

from cds_service.hooks.discovery import SERVICE_ID, services_document

PREFETCH = {"patient": "Patient/{{context.patientId}}"}


def test_document_lists_the_service_with_all_it_needs() -> None:
    """Every field the specification requires or recommends is there and not empty."""
    document = services_document(PREFETCH, version="STU3")
    [service] = document["services"]
    assert service["id"] == SERVICE_ID == "post-laminectomy-evaluation"
    assert service["hook"] == "patient-view"
    assert service["hookVersion"] == "1.0"
    assert service["version"] == "STU3"
    assert service["prefetch"] == PREFETCH
    assert all(service[name] for name in ("title", "description", "usageRequirements"))


def test_document_names_no_version_when_the_client_wants_none() -> None:
    """Older clients can be spared the field."""
    [service] = services_document(PREFETCH, version=None)["services"]
    assert "version" not in service
