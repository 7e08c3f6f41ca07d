"""ServiceRequests as an EHR receives them."""

from __future__ import annotations

from datetime import date

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.evaluation.assessment import Assessment, Finding, Outcome, Proposal
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.rendering.forms import forms_of
from cds_service.rendering.templates_check import check_orders
from cds_service.values import Side
from tests.changing import replace

ORDER_IDS = {
    "mri-lumbar-without-and-with-contrast",
    "mri-lumbar-without-contrast",
    "ct-myelogram-lumbar",
    "ct-lumbar-without-contrast",
    "xray-lumbar-flexion-extension",
    "xray-lumbar-standing",
    "emg-lower-limb",
    "physiotherapy-referral",
    "spine-surgery-referral",
    "pain-clinic-referral",
    "scs-evaluation-referral",
    "psychology-referral",
    "smoking-cessation",
    "crp",
    "esr",
    "wbc",
    "blood-cultures",
}


def _request(
    finding: Finding,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> dict[str, object]:
    assessment = Assessment(outcome=Outcome.EVALUATED, as_of=date(2026, 6, 10), findings=(finding,))
    [card] = render_cards(assessment, knowledge, options, context)
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    resource = suggestions[0]["actions"][0]["resource"]
    assert isinstance(resource, dict)
    ServiceRequest.model_validate(resource)
    return resource


def test_every_order_is_a_valid_r4_service_request(knowledge: Knowledge) -> None:
    """Each order of the knowledge, filled with an example, passes the FHIR R4 model."""
    assert set(knowledge.orders) >= ORDER_IDS
    assert check_orders(knowledge) == []


def test_broken_order_is_named_by_the_check(knowledge: Knowledge) -> None:
    """An order with an empty code system is refused, with its file and field."""
    broken = replace(knowledge.orders["crp"], codings=(("not a uri", "", ""),))
    problems = check_orders(replace(knowledge, orders={**knowledge.orders, "crp": broken}))
    [problem] = problems
    assert problem.startswith("cards/orders/crp.yaml: the order is not a valid FHIR R4")
    assert "(code)" in problem


def test_mri_order_carries_context_codes_and_reason(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """The MRI order names patient, encounter, requester, codes, site, reason and entries used."""
    request = _request(mri_finding, knowledge, options, context)
    assert request["status"] == "draft"
    assert request["intent"] == "order"
    assert request["priority"] == "routine"
    assert request["subject"] == {"reference": "Patient/p1"}
    assert request["encounter"] == {"reference": "Encounter/e1"}
    assert request["requester"] == {"reference": "Practitioner/u1"}
    codings = request["code"]["coding"]  # type: ignore[index]
    assert {(c["system"], c["code"]) for c in codings} == {
        ("http://loinc.org", "24967-2"),
        ("http://www.ama-assn.org/go/cpt", "72158"),
    }
    assert request["category"] == [
        {
            "coding": [
                {"system": "http://snomed.info/sct", "code": "363679005", "display": "Imaging"}
            ]
        }
    ]
    assert request["bodySite"][0]["coding"][0]["code"] == "122496007"  # type: ignore[index]
    assert "reasonCode" in request
    assert request["supportingInfo"] == [
        {"reference": "Observation/leg1"},
        {"reference": "Observation/leg2"},
    ]
    note = request["note"][0]["text"]  # type: ignore[index]
    assert note.startswith("No relief 120 days after surgery: consider MRI lumbar spine. Question")
    assert note.endswith("review before signing.")
    assert "authoredOn" not in request


def test_requester_only_for_practitioners(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A patient or a related person who opens the chart is not written as the requester."""
    for user in ("Patient/p1", "RelatedPerson/r1", None):
        bare = replace(context, user_id=user, encounter_id=None)
        request = _request(mri_finding, knowledge, options, bare)
        assert "requester" not in request
        assert "encounter" not in request


def test_intent_and_status_follow_the_client(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """An EHR that wants proposals gets proposals."""
    request = _request(mri_finding, knowledge, replace(options, intent="proposal"), context)
    assert request["intent"] == "proposal"


def test_emg_order_has_side_and_first_useful_day(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """The side stands as a second body site and the day is the first on which EMG is useful."""
    emg = Proposal(
        orders=("emg-lower-limb",),
        priority="urgent",
        side=Side.LEFT,
        occurrence=date(2026, 7, 1),
    )
    request = _request(replace(mri_finding, proposals=(emg,)), knowledge, options, context)
    sites = [site["coding"][0]["code"] for site in request["bodySite"]]  # type: ignore[attr-defined]
    assert sites == ["61685007", "7771000"]
    assert request["occurrenceDateTime"] == "2026-07-01"
    assert request["priority"] == "urgent"


def test_reason_reference_wins_over_reason_code(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """When a condition is on record the order points to it instead of coding a new one."""
    finding = replace(mri_finding, reason_references=("Condition/c1",))
    request = _request(finding, knowledge, options, context)
    assert request["reasonReference"] == [{"reference": "Condition/c1"}]
    assert "reasonCode" not in request


def test_order_points_only_to_entries_that_have_an_id(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """An entry sent without an id backs the card, but no order points to it; each stands once."""
    nameless = replace(mri_finding.evidence[0], reference="Observation/no id 0123456789ab")
    finding = replace(
        mri_finding,
        evidence=(nameless, *mri_finding.evidence),
        reason_references=("Condition/no id 0123456789ab", "Condition/c1", "Condition/c1"),
    )
    request = _request(finding, knowledge, options, context)
    assert request["supportingInfo"] == [
        {"reference": "Observation/leg1"},
        {"reference": "Observation/leg2"},
    ]
    assert request["reasonReference"] == [{"reference": "Condition/c1"}]
    only = replace(finding, reason_references=("Condition/no id 0123456789ab",))
    assert "reasonCode" in _request(only, knowledge, options, context)


def test_suspected_diagnosis_is_never_sent_as_a_code(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Fever and a raised CRP are a reason to look for infection, not a coded osteomyelitis."""
    wordy = ("infection-spinal", "cauda-equina", "haematoma-spinal", "motor-paresis", "smoker")
    for name in wordy:
        finding = replace(mri_finding, reason_code=name)
        request = _request(finding, knowledge, options, context)
        [reason] = request["reasonCode"]  # type: ignore[misc]
        assert set(reason) == {"text"}
        assert reason["text"] == knowledge.phrases[f"reason-{name}"]


def test_blood_tests_read_as_one_button(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Several blood tests taken together have one short label that names them all."""
    bloods = Proposal(orders=("crp", "esr", "wbc", "blood-cultures"), priority="stat")
    finding = replace(mri_finding, proposals=(bloods,))
    changed = Assessment(outcome=Outcome.EVALUATED, as_of=date(2026, 6, 10), findings=(finding,))
    [card] = render_cards(changed, knowledge, options, context)
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    assert suggestions[0]["label"] == "CRP, ESR, Blood count, Blood cultures"


def test_supporting_entries_are_few(
    mri_finding: Finding, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A long series of scores does not flood the order: at most ten entries are named."""
    entry = mri_finding.evidence[0]
    many = tuple(replace(entry, reference=f"Observation/{n}") for n in range(30))
    request = _request(replace(mri_finding, evidence=many), knowledge, options, context)
    assert len(request["supportingInfo"]) == 10  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "changes", "code"),
    [
        ("spine-surgery-referral", {}, "308482002"),
        ("spine-surgery-referral", {"spine_referral": "orthopedic"}, "308481009"),
        ("physiotherapy-referral", {}, "444831000124102"),
        ("physiotherapy-referral", {"country": "other"}, "308447003"),
    ],
)
def test_referral_code_follows_the_site(
    order: str, changes: dict[str, str], code: str, knowledge: Knowledge, options: CardOptions
) -> None:
    """Each site gets the referral code its country and its surgeons use."""
    form = forms_of(replace(options, **changes), knowledge).order(order)
    assert [coding["code"] for coding in form.codings] == [code]


def test_scan_order_names_the_operated_level_and_the_operation(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """An MRI after surgery at L4-L5 is asked for that level and points to the operation."""
    (card,) = render_cards(assessment, knowledge, options, context)
    suggestions: list[dict[str, list[dict[str, dict[str, object]]]]] = card["suggestions"]  # type: ignore[assignment]
    request = suggestions[0]["actions"][0]["resource"]
    ServiceRequest.model_validate(request)
    assert [site.get("text") for site in request["bodySite"]] == [None, "L4-L5"]  # type: ignore[attr-defined]
    assert {"reference": "Procedure/op"} in request["supportingInfo"]  # type: ignore[operator]
