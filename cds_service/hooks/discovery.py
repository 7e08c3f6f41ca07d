"""What this service says about itself to EHRs."""

from __future__ import annotations

from collections.abc import Mapping

SERVICE_ID = "post-laminectomy-evaluation"
HOOK = "patient-view"


def services_document(prefetch: Mapping[str, str], *, version: str | None) -> dict[str, object]:
    """Return the discovery document.

    *prefetch* maps each key to its FHIR query template; *version* is how this client wants the
    version of CDS Hooks named, None leaves it out.
    """
    return {
        "services": [
            {
                "hook": HOOK,
                "id": SERVICE_ID,
                "title": "Pain after lumbar spine surgery",
                "description": (
                    "Looks at adults with persistent or recurrent pain after lumbar decompression "
                    "or fusion: names red flags and likely causes in the chart, and suggests the "
                    "next imaging, tests, therapy or referral. Decision support for clinicians, "
                    "not a diagnosis."
                ),
                "usageRequirements": (
                    "Needs the Patient and all Procedures, by prefetch or through fhirServer with "
                    "fhirAuthorization. Every other prefetch key is optional; what cannot be read "
                    "is said on the card and never taken as absent."
                ),
                **({"version": version} if version else {}),
                "hookVersion": "1.0",
                "prefetch": dict(prefetch),
            }
        ]
    }
