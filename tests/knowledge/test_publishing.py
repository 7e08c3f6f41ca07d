"""Are the published value sets and code systems valid FHIR, and honest about what they hold?"""

from __future__ import annotations

from fhir.resources.R4B.codesystem import CodeSystem
from fhir.resources.R4B.valueset import ValueSet

from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.publishing import code_system_resources, value_set_resource

BASE = "https://cds.example"


def test_every_value_set_is_valid_fhir(knowledge: Knowledge) -> None:
    """A client can read each value set as an R4 resource at the address it states."""
    for name in knowledge.value_sets:
        resource = ValueSet.model_validate(value_set_resource(knowledge, name, BASE))
        assert resource.url == f"{BASE}/fhir/ValueSet/{name}"


def test_value_set_publishes_only_codes_that_are_on(knowledge: Knowledge) -> None:
    """Disc replacement is from memory and switched off, so it is not published."""
    text = str(value_set_resource(knowledge, "spine-surgery-unspecified", BASE))
    assert "'392236004'" in text
    assert "'22857'" not in text


def test_value_set_publishes_a_family_of_codes_as_a_filter(knowledge: Knowledge) -> None:
    """The family of vertebral osteomyelitis codes is a filter, with its dot taken literally."""
    resource = value_set_resource(knowledge, "infection-spinal", BASE)
    begins = {"property": "code", "op": "regex", "value": "M46[.]2.*"}
    assert begins in [
        rule
        for include in ValueSet.model_validate(resource).model_dump()["compose"]["include"]
        for rule in include.get("filter", [])
    ]


def test_value_set_says_which_codes_need_more(knowledge: Knowledge) -> None:
    """Numbness counts only at a leg, and the value set says so."""
    purpose = value_set_resource(knowledge, "sensory-deficit", BASE)["purpose"]
    assert "ICD-10-CM R20.0 (leg-site)" in str(purpose)


def test_value_set_without_codes_has_no_empty_part(knowledge: Knowledge) -> None:
    """An idea without any code is published without a compose part."""
    assert "compose" not in value_set_resource(knowledge, "scs-referral", BASE)


def test_local_code_systems_are_valid_fhir_and_complete(knowledge: Knowledge) -> None:
    """Findings, cards and override reasons are published under their fixed addresses."""
    systems = [CodeSystem.model_validate(raw) for raw in code_system_resources(knowledge)]
    assert [system.url.rpartition("/")[2] for system in systems] == [
        "finding",
        "card",
        "override-reason",
    ]
    findings, cards, reasons = ({c.code for c in system.concept} for system in systems)
    assert {"mrc-grade", "saddle-sensation", "pvr-ml", "slr-deg", "hip-flexor", "absent"} < findings
    assert {"RFCES", "IMGMRINR", "DATAREAD"} < cards
    assert all(code.isalnum() for code in cards)
    assert len(cards) == 36
    assert len(reasons) == 6
