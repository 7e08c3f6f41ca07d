"""A token whose scope carries a filter finds only a part of a chart."""

from __future__ import annotations

import pytest

from cds_service.hooks.scopes import finds_only_a_part

LABORATORY = "patient/Observation.rs?category=laboratory"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


@pytest.mark.parametrize(
    "scope",
    [
        LABORATORY,
        f"launch openid patient/Patient.r {LABORATORY} patient/Condition.rs",
        f"patient/Observation.rs?category={CATEGORY}|laboratory",
        f"{LABORATORY} patient/Observation.rs?category=vital-signs",
        f"{LABORATORY} patient/Observation.r",
        f"{LABORATORY} patient/Observation.write",
        f"{LABORATORY} patient/ObservationDefinition.rs",
        f"{LABORATORY} Observation.Read (Labs) (R4)",
        "user/Observation.s?category=laboratory",
        "system/Observation.cruds?category=laboratory",
        "user/*.rs?_security=N",
    ],
)
def test_token_with_a_filter_finds_a_part_of_the_observations(scope: str) -> None:
    """No other scope of the token allows a search for the rest."""
    assert finds_only_a_part(scope, "Observation")


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "patient/*.rs",
        "user/*.read",
        "patient/Observation.rs",
        f"{LABORATORY} patient/Observation.rs",
        f"{LABORATORY} patient/Observation.read",
        f"{LABORATORY} user/*.cruds",
        f"{LABORATORY} user/Observation.Read",
        f"{LABORATORY} patient/*.*",
        "patient/Condition.rs?category=encounter-diagnosis",
        "patient/Observation.r?category=laboratory",
        "Observation.Read (Labs) (R4) EPIC.FHIR.R4.SERVICES.SERVICEREQUEST.CREATE",
        "patient/Observation.rs ?",
    ],
)
def test_other_scopes_are_left_to_the_server(scope: str) -> None:
    """Without a filter, or with a wider scope beside it, the server says what may be read."""
    assert not finds_only_a_part(scope, "Observation")
