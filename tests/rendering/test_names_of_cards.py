"""The uuids of cards and suggestions, which feedback and snoozes of earlier days refer to."""

from __future__ import annotations

import hmac
import json
from datetime import date
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from cds_service.evaluation.assessment import Evidence, Finding, Proposal, Verdict
from cds_service.rendering.identity import CardNames, suggestion_uuid
from cds_service.values import Side

NAMESPACE = UUID("8d1c1f0e-4f0b-5c61-9a53-8a5b4f6d2c11")
DAYS = st.one_of(st.none(), st.dates(min_value=date(1900, 1, 1)))


@given(st.text(), st.text(), st.lists(st.tuples(st.text(), DAYS)))
def test_uuid_of_a_card_is_that_of_its_json_whatever_a_chart_calls_its_entries(
    patient: str, client: str, entries: list[tuple[str, date | None]]
) -> None:
    """An entry's id with quotes, accents or line ends gives the uuid that it gave last year."""
    finding = Finding(
        card="SMOKE",
        row=33,
        verdict=Verdict.MET,
        evidence=tuple(Evidence(reference=name, label="x", day=day) for name, day in entries),
    )
    hashed = hmac.digest(b"key", patient.encode(), "sha256").hex()
    evidence = sorted({(name, day.isoformat() if day else "") for name, day in entries})
    name = json.dumps([hashed, client, "SMOKE", evidence])
    uuid_of = CardNames(patient_id=patient, client_id=client, key=b"key")
    assert uuid_of(finding) == str(uuid5(NAMESPACE, name))


def test_uuid_of_a_suggestion_is_that_of_its_orders_side_and_local_code() -> None:
    """A suggestion keeps its uuid from release to release; the first entry has no code in it."""
    card = uuid5(NAMESPACE, "card")
    proposal = Proposal(orders=("crp", "esr"), priority="stat", side=Side.LEFT)
    assert suggestion_uuid(str(card), proposal) == str(uuid5(card, '[["crp", "esr"], "left"]'))
    second = suggestion_uuid(str(card), proposal, "urn:oid:2.999|5")
    assert second == str(uuid5(card, '[["crp", "esr"], "left", "urn:oid:2.999|5"]'))
