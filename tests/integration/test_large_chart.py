"""Ten thousand Observations: read whole within the limits, cut beyond them, and never quietly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
import requests

from cds_service.demo.personas import Persona, load_personas
from cds_service.fhir.deadline import READING_SECONDS
from tests.fhir.fault_server import FaultServer, Handler
from tests.integration.busy import done_calmly
from tests.integration.conftest import Service
from tests.integration.faults import DEADLINE_SECONDS, TYPES, call
from tests.integration.strict_service import StrictService, strict_service

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("large")]
INSTANCE = "33333333-4444-4555-8666-777777777777"
MANY = 10_000
UNREAD = "could not be read"
SPARE_SECONDS = 1.5
"""For the cards, and what a busy test machine adds."""


@dataclass(frozen=True, slots=True)
class LargeChart:
    """A FHIR server whose pain scores come in pages of a size that can be set."""

    server: FaultServer
    patient_id: str
    scores: list[dict[str, Any]]
    page_size: list[int]
    required: dict[str, Any]
    """Patient and operations, for a request that sends something along."""

    def ask(self, service: Any, page_size: int, *, is_sent: bool = False) -> requests.Response:  # noqa: ANN401 - a service
        """Call the hook with pages of *page_size*; the first one along, if it *is_sent*."""
        self.page_size[0] = page_size
        self.server.seen.clear()
        prefetch = {**self.required, "scores": self.page(0)} if is_sent else None
        return call(service, self.server.base, self.patient_id, INSTANCE, prefetch)

    def page(self, number: int) -> dict[str, Any]:
        """Return one page of pain scores."""
        size = self.page_size[0]
        entries = [{"resource": r} for r in self.scores[number * size : (number + 1) * size]]
        bundle: dict[str, Any] = {"resourceType": "Bundle", "total": len(self.scores)}
        bundle["entry"] = entries
        if (number + 1) * size < len(self.scores):
            url = f"{self.server.base}/Observation?page={number + 1}"
            bundle["link"] = [{"relation": "next", "url": url}]
        return bundle

    def send_scores(self, handler: Handler) -> None:
        """Answer one page of pain scores; the other Observation search finds nothing."""
        path = handler.path
        if "page=" not in path and "72514-3" not in path:
            handler.send_json({"resourceType": "Bundle", "total": 0})
            return
        number = int(path.partition("page=")[2] or 0)
        handler.send_bytes(json.dumps(self.page(number)).encode())


def old_score(number: int, patient_id: str, today: date) -> dict[str, Any]:
    """Return a pain score from long before the operation; it changes no card."""
    day = today - timedelta(days=500 + number // 4)
    return {
        "resourceType": "Observation",
        "id": f"old-{number}",
        "status": "final",
        "subject": {"reference": f"Patient/{patient_id}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "72514-3"}]},
        "effectiveDateTime": day.isoformat(),
        "valueQuantity": {"value": 4, "unit": "{score}"},
    }


@pytest.fixture(scope="module")
def me(today: date) -> Persona:
    """Return the patient without relief."""
    return next(found for found in load_personas(today) if found.id == "no-relief")


@pytest.fixture
def chart(me: Persona, today: date) -> Iterator[LargeChart]:
    """Return a chart with 10,000 old pain scores, and the recent ones on the last page."""
    server = FaultServer()
    own = [found for found in me.resources if found["resourceType"] == "Observation"]
    old = [old_score(number, me.patient_id, today) for number in range(MANY - len(own))]
    found = LargeChart(server, me.patient_id, [*old, *own], [MANY], {})
    keys = {"Patient": "patient", "Procedure": "procedures"}
    for kind in TYPES:
        entries = [{"resource": r} for r in me.resources if r["resourceType"] == kind]
        body = entries[0]["resource"] if kind == "Patient" else {"entry": entries}
        answer = {"resourceType": "Bundle", **body}
        if kind in keys:
            found.required[keys[kind]] = answer
        sent = json.dumps(answer).encode()
        server.behaviours[kind] = lambda handler, sent=sent: handler.send_bytes(sent)
    server.behaviours["Observation"] = found.send_scores
    yield found
    server.stop()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictService]:
    """Run the service with its usual deadline."""
    with strict_service(tmp_path_factory.mktemp("large")) as running:
        yield running


def cards_of(answer: requests.Response) -> list[str]:
    """Return the ids of the cards, which stand for rule and evidence."""
    assert answer.status_code == 200, answer.text
    return [card["uuid"] for card in answer.json()["cards"]]


@pytest.mark.parametrize("is_sent", [False, True], ids=["pulled", "sent"])
def test_ten_thousand_scores_in_fifty_pages_are_read_to_the_end(
    service: Service,
    chart: LargeChart,
    is_sent: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    """Fifty pages are the limit: with time enough the cards are those of one single page."""
    in_pages = chart.ask(service, 200, is_sent=is_sent)
    at_once = chart.ask(service, MANY, is_sent=is_sent)
    assert cards_of(in_pages) == cards_of(at_once)
    assert "IMGMRINR" in in_pages.text
    assert UNREAD not in in_pages.text


@pytest.mark.parametrize("is_sent", [False, True], ids=["pulled", "sent"])
def test_ten_thousand_scores_in_a_hundred_pages_are_cut_and_it_is_said(
    service: Service,
    chart: LargeChart,
    is_sent: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    """Beyond fifty pages the latest score may be missing, so no card pretends to know it."""
    answer = chart.ask(service, 100, is_sent=is_sent)
    assert len(chart.server.asked("Observation")) == 52 - is_sent  # two for the other findings
    assert cards_of(answer)
    assert UNREAD in answer.text
    assert "IMGMRINR" not in answer.text


@pytest.mark.parametrize("is_sent", [False, True], ids=["pulled", "sent"])
@pytest.mark.parametrize("page_size", [100, 200, MANY])
def test_large_chart_never_makes_the_answer_late(
    strict: StrictService,
    chart: LargeChart,
    page_size: int,
    is_sent: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    """By the deadline and the time to read: all of it was read, or the answer says it was not."""
    most = DEADLINE_SECONDS + READING_SECONDS + SPARE_SECONDS
    answer = done_calmly(
        lambda: chart.ask(strict, page_size, is_sent=is_sent),
        is_disturbed=lambda answer: answer.elapsed.total_seconds() >= most or not answer.ok,
    )
    assert answer.elapsed.total_seconds() < most
    assert cards_of(answer)
    assert ("IMGMRINR" in answer.text) != (UNREAD in answer.text)
