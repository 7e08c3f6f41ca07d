"""A small clinic for the ledger's tests: charts, openings, answers, and a look into the tables."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask.testing import FlaskClient
from sqlalchemy import Table, select

from cds_service.app import LEDGER, create_app
from cds_service.chart.supply import Key
from cds_service.demo.personas import load_personas
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment
from cds_service.fhir.reading import read_chart
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.keeping import Ledger
from cds_service.ledger.place import AT_LEISURE, LedgerPlace
from cds_service.offline import BundleFile
from cds_service.rendering.cards import OVERRIDE_SYSTEM
from cds_service.settings import Settings
from cds_service.vignettes.charts import Facts, expand
from tests.chart_keys import KINDS

SERVICE = "/cds-services/post-laminectomy-evaluation"
MORNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PERSONAS = {persona.id: persona for persona in load_personas(MORNING.date())}
Json = dict[str, Any]


def chart_of(persona: str, patient: str | None = None) -> Json:
    """Return the prefetch of a made-up patient, under the id *patient* if one is given."""
    chosen = PERSONAS[persona]
    found: Json = {"patient": chosen.resources[0], "findings": None}
    for key, kind in KINDS.items():
        entries = [{"resource": each} for each in chosen.resources if each["resourceType"] == kind]
        found[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    text = json.dumps(found)  # a copy: the tests change their charts
    own: Json = json.loads(text if patient is None else text.replace(chosen.patient_id, patient))
    return own


def in_chart(facts: Facts, today: date) -> Json:
    """Return the prefetch of the patient that *facts* tell."""
    resources = expand(facts, today)
    found: Json = {"patient": resources.pop(Key.PATIENT)[0]}
    for key, each in resources.items():
        entries = [{"resource": resource} for resource in each]
        found[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    return found


def new_uuid() -> str:
    """Return a hookInstance of its own."""
    return str(uuid.uuid4())  # noqa: TID251 - each opening its own


def hook_call(prefetch: Json, hook_instance: str | None = None) -> Json:
    """Return the request of one opening of a chart."""
    return {
        "hook": "patient-view",
        "hookInstance": hook_instance or new_uuid(),
        "context": {"userId": "Practitioner/1", "patientId": prefetch["patient"]["id"]},
        "prefetch": prefetch,
    }


def assessed(prefetch: Json, knowledge: Knowledge, as_of: date) -> Assessment:
    """Return what the clinical core says of a whole chart, without any ledger."""
    lists = [value for value in prefetch.values() if isinstance(value, dict) and "entry" in value]
    entries = [{"resource": prefetch["patient"]}, *(e for each in lists for e in each["entry"])]
    bundle = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
    chart = read_chart(
        BundleFile(bundle.encode()).answers(is_partial=False),
        patient_id=prefetch["patient"]["id"],
        as_of=as_of,
        zone=ZoneInfo("UTC"),
        knowledge=knowledge,
        bases=frozenset(),
        fhir_server=None,
    )
    return assess(chart, knowledge, as_of)


def rows(place: LedgerPlace, table: Table) -> list[Json]:
    """Return what a table holds, oldest first."""
    engine = place.reader(AT_LEISURE)
    with engine.connect() as connection:
        found = connection.execute(select(table).order_by(table.c[0]))
        result = [dict(row) for row in found.mappings()]
    engine.dispose()
    return result


@dataclass
class Clinic:
    """A service in development mode, and a clock the test moves."""

    client: FlaskClient
    place: LedgerPlace
    ledger: Ledger
    clock: list[datetime] = field(default_factory=lambda: [MORNING])

    def pass_time(self, **time: float) -> None:
        """Let time pass."""
        self.clock[0] += timedelta(**time)

    def open(self, persona: str = "no-relief", prefetch: Json | None = None) -> list[Json]:
        """Open a chart; return the cards shown."""
        answer = self.client.post(SERVICE, json=hook_call(prefetch or chart_of(persona)))
        assert answer.status_code == 200, answer.text
        cards: list[Json] = answer.get_json()["cards"]
        return cards

    def shown(self, persona: str = "no-relief", prefetch: Json | None = None) -> list[str]:
        """Open a chart; return the ids of the cards shown."""
        return [card_id(card) for card in self.open(persona, prefetch)]

    def send(self, *items: Json) -> Any:  # noqa: ANN401 - werkzeug's TestResponse
        """Send feedback as an EHR does."""
        return self.client.post(f"{SERVICE}/feedback", json={"feedback": list(items)})

    def override(self, card: Json, code: str | None = None, **more: object) -> Json:
        """Set a card aside with one of our reasons; return the item sent."""
        item = self.item(card, "overridden", **more)
        if code is not None:
            item["overrideReason"] = {"reason": {"system": OVERRIDE_SYSTEM, "code": code}}
        assert self.send(item).get_json() == {}
        return item

    def accept(self, card: Json, **more: object) -> Json:
        """Accept the first suggestion of a card; return the item sent."""
        suggestion = {"id": card["suggestions"][0]["uuid"]}
        item = self.item(card, "accepted", acceptedSuggestions=[suggestion], **more)
        assert self.send(item).get_json() == {}
        return item

    def item(self, card: Json, outcome: str, **more: object) -> Json:
        """Return an item of feedback, acted on now."""
        now = self.clock[0].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"card": card["uuid"], "outcome": outcome, "outcomeTimestamp": now, **more}

    def rows(self, table: Table) -> list[Json]:
        """Return what a table holds."""
        return rows(self.place, table)


def card_id(card: Json) -> str:
    """Return the id of the card's rule, from its address in the guidance."""
    return str(card["source"]["url"]).rpartition("/")[2]


def make_clinic(knowledge: Knowledge, **chosen: Any) -> Clinic:  # noqa: ANN401 - fields of Settings
    """Return a clinic with a service of its own; *chosen* are fields of ``Settings``."""
    clock = [MORNING]
    app = create_app(
        Settings(**{"is_dev": True, **chosen}), clock=lambda: clock[0], knowledge=knowledge
    )
    ledger: Ledger = app.extensions[LEDGER]
    return Clinic(app.test_client(), ledger.database.place, ledger, clock)


MakeClinic = Callable[..., Clinic]


def state_files(folder: Path) -> bytes:
    """Return the bytes of everything in a state folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
