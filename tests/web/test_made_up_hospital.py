"""The made-up hospital of the documentation, from its files to the order button, over HTTP.

Its charts hold local codes only; the service runs as a process of its own with signed tokens and
pulls from a FHIR server that answers a search only for the codes it is asked for.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from cds_service.demo.personas import load_personas
from cds_service.hooks.request import AS_OF_EXTENSION
from tests.fhir.fault_server import FaultServer, Handler
from tests.patience import until
from tests.ports import free_port
from tests.web.small_rooms import HOOK_INSTANCE, SERVICE
from tests.web.test_served_process import START_SECONDS, _is_live

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
DAY = date(2026, 3, 1)
FLOWSHEET, OPERATION = "urn:oid:2.999.7.1", "urn:oid:2.999.7.3"
LABORATORY = "urn:oid:2.999.7.4"
PATIENT = {"resourceType": "Patient", "id": "maria", "birthDate": "1968-04-02"}


def entry(kind: str, name: str, system: str, code: str, **more: object) -> dict[str, Any]:
    """Return one entry of Maria's chart under a local code."""
    coding = {"system": system, "code": code}
    subject = {"reference": "Patient/maria"}
    return {
        "resourceType": kind,
        "id": name,
        "code": {"coding": [coding]},
        "subject": subject,
        **more,
    }


def score(name: str, day: str, value: int) -> dict[str, Any]:
    """Return one leg pain score of the flowsheet."""
    return entry(
        "Observation",
        name,
        FLOWSHEET,
        "100201",
        status="final",
        effectiveDateTime=day,
        valueQuantity={"value": value},
    )


CHART = [
    entry(
        "Procedure",
        "op",
        OPERATION,
        "OR-LAMI-L",
        status="completed",
        performedDateTime="2025-11-01",
    ),
    score("before", "2025-10-20", 8),
    score("later", "2026-01-10", 7),
    score("now", "2026-02-25", 7),
]


@dataclass
class Hospital:
    """The running service, the hospital's FHIR server and its key."""

    url: str
    fhir: FaultServer
    key: ec.EllipticCurvePrivateKey
    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def token(self, address: str) -> dict[str, str]:
        """Return the Authorization header for one call."""
        now = int(time.time())
        claims = {
            "iss": "https://ehr.lakeside.example/interconnect/api/FHIR/R4",
            "sub": "lakeside-pain-cds",
            "aud": self.url + address,
            "iat": now,
            "exp": now + 300,
            "jti": f"call-{next(self.numbers)}",
        }
        signed = jwt.encode(claims, self.key, algorithm="ES384", headers={"kid": "k"})
        return {"Authorization": f"Bearer {signed}"}

    def prefetch(self) -> dict[str, str]:
        """Return the prefetch templates this client is given."""
        headers = self.token("/cds-services")
        answer = requests.get(f"{self.url}/cds-services", headers=headers, timeout=20)
        found: dict[str, str] = answer.json()["services"][0]["prefetch"]
        return found

    def cards(
        self,
        patient: str = "maria",
        user: str = "Practitioner/1",
        prefetch: dict[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the cards for a patient; what is not in *prefetch* is pulled."""
        body = {
            "hook": "patient-view",
            "hookInstance": HOOK_INSTANCE,
            "fhirServer": self.fhir.base,
            "fhirAuthorization": {
                "access_token": "t",
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": "patient/*.read",
                "subject": "lakeside-pain-cds",
            },
            "context": {"userId": user, "patientId": patient},
            "extension": {AS_OF_EXTENSION: DAY.isoformat()},
            "prefetch": prefetch or {},
        }
        answer = requests.post(
            f"{self.url}{SERVICE}", json=body, headers=self.token(SERVICE), timeout=20
        )
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["cards"]
        return found


def _answer(handler: Handler) -> None:
    """Answer a search with Maria's entries that have one of the codes asked for."""
    parts = urlsplit(handler.path)
    kind = parts.path.rpartition("/")[2]
    wanted = parse_qs(parts.query).get("code", [""])[0].split(",")
    entries = [
        {"resource": each}
        for each in CHART
        if each["resourceType"] == kind
        and (
            kind != "Observation" or "{system}|{code}".format(**each["code"]["coding"][0]) in wanted
        )
    ]
    handler.send_json({"resourceType": "Bundle", "type": "searchset", "entry": entries})


def _configuration(folder: Path, url: str, fhir: str, public: dict[str, str]) -> Path:
    """Copy the documented files; only addresses and keys are those of this machine."""
    for path in EXAMPLES.glob("lakeside-*.csv"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    text = (EXAMPLES / "lakeside.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("jwks_url", "state_dir"))]
    text = "\n".join(lines)
    loopback = [f'fhir_bases = ["{fhir}"]', f'private_fhir_bases = ["{fhir}"]']
    dialect = "\n".join(['dialect = "epic"', *loopback, "allows_loopback_fhir = true"])
    for old, new in (
        ("/etc/cds-service/", ""),
        ("[service]", '[service]\nmode = "demo"'),
        ("https://cds.lakeside.example", url),
        ('fhir_bases = ["https://ehr.lakeside.example/interconnect/api/FHIR/R4"]', ""),
        ('dialect = "epic"', dialect),
    ):
        assert old in text
        text = text.replace(old, new)
    key = "\n".join(f'{name} = "{public[name]}"' for name in ("kty", "crv", "x", "y"))
    text += f'\n[[clients.jwks.keys]]\nkid = "k"\nalg = "ES384"\n{key}\n'
    path = folder / "lakeside.toml"
    path.write_text(text, encoding="utf-8")
    (folder / "identity.key").write_text("0123456789abcdef" * 4)
    return path


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """Start the hospital's FHIR server and the service with the hospital's files."""
    folder = tmp_path_factory.mktemp("hospital")
    fhir = FaultServer()
    kinds = ("Procedure", "Observation", "ServiceRequest", "DiagnosticReport")
    fhir.behaviours.update(dict.fromkeys(kinds, _answer))
    fhir.behaviours["Patient"] = lambda handler: handler.send_json(PATIENT)
    key = ec.generate_private_key(ec.SECP384R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    path = _configuration(folder, url, fhir.base, public)
    command = ["serve", "--config", str(path), "--port", str(port), "--state-dir", str(folder)]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "cds_service", *command, "--deadline-ms", "10000"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    ends_at = time.monotonic() + START_SECONDS
    while not _is_live(url):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends_at, "the service did not start"
        time.sleep(0.1)
    yield Hospital(url=url, fhir=fhir, key=key, folder=folder)
    process.terminate()
    assert process.wait(timeout=START_SECONDS) == 0
    fhir.stop()


def _buttons(card: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            suggestion["actions"][0]["description"],
            suggestion["actions"][0]["resource"]["code"]["coding"][0]["code"],
        )
        for suggestion in card["suggestions"]
    ]


MRI_BUTTONS = [
    (
        "Order MRI lumbar spine without and with IV contrast (MR L-SPINE W/WO CONTRAST (MAIN))",
        "41001",
    ),
    (
        "Order MRI lumbar spine without and with IV contrast (MR L-SPINE W/WO CONTRAST (NORTH))",
        "41002",
    ),
    ("Order MRI lumbar spine without contrast", "41003"),
]


def test_templates_name_the_hospitals_codes_and_its_users(hospital: Hospital) -> None:
    """What the analyst copies into the EHR asks for flowsheet rows and for the user."""
    found = hospital.prefetch()
    assert found["user"] == "{{context.userId}}"
    assert f"{FLOWSHEET}|100201" in found["scores"]
    assert f"{FLOWSHEET}|100415" in found["findings"]
    assert f"{LABORATORY}|CRP01" in found["findings"]


def test_chart_of_local_codes_gets_a_card_with_the_hospitals_buttons(hospital: Hospital) -> None:
    """Maria's pain did not go after surgery: the MRI can be ordered from the hospital's list."""
    cards = hospital.cards()
    (mri,) = (c for c in cards if c["source"]["topic"]["code"] == "IMGMRINR")
    assert _buttons(mri) == MRI_BUTTONS
    assert mri["selectionBehavior"] == "any"
    assert [s.get("isRecommended", False) for s in mri["suggestions"]] == [True, False, False]


def test_same_chart_by_prefetch_gets_the_same_cards(hospital: Hospital) -> None:
    """Sent along or pulled, local codes mean the same."""
    prefetch: dict[str, object] = {"patient": PATIENT}
    for key, kind in (("procedures", "Procedure"), ("scores", "Observation")):
        entries = [{"resource": each} for each in CHART if each["resourceType"] == kind]
        prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    assert hospital.cards(prefetch=prefetch) == hospital.cards()


def _mri_card(cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [card for card in cards if card["source"]["topic"]["code"] == "IMGMRINR"]


def _accepted(card: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the order of a button as this EHR writes it: signed, with its own code alone."""
    order = card["suggestions"][number]["actions"][0]["resource"]
    signed = {"id": "signed", "status": "active", "intent": "order", "authoredOn": "2026-02-28"}
    return {**order, **signed, "code": {"coding": order["code"]["coding"][:1]}}


@pytest.mark.parametrize("number", range(len(MRI_BUTTONS)))
def test_order_that_comes_back_under_the_hospitals_code_is_not_proposed_again(
    hospital: Hospital, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each button of the MRI, pressed and pulled from the chart, ends the card.

    So does the report under the same code; an order taken back does not, nor the same digits in
    another code system.
    """
    [card] = _mri_card(hospital.cards())
    order = _accepted(card, number)
    report = {**order, "resourceType": "DiagnosticReport", "status": "final"}
    del report["authoredOn"]
    report["effectiveDateTime"] = "2026-02-27"
    strange = {"coding": [{**order["code"]["coding"][0], "system": "urn:oid:2.999.7.9"}]}
    before = CHART
    for written, count in (
        (order, 0),
        (report, 0),
        ({**order, "status": "revoked"}, 1),
        ({**order, "code": strange}, 1),
    ):
        monkeypatch.setattr(f"{__name__}.CHART", [*before, written])
        assert len(_mri_card(hospital.cards())) == count


def test_order_sent_along_under_the_hospitals_code_is_not_proposed_again(
    hospital: Hospital,
) -> None:
    """The order list is read in prefetch as it is in what is pulled."""
    [card] = _mri_card(hospital.cards())
    entries = [{"resource": _accepted(card, 0)}]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    assert not _mri_card(hospital.cards(prefetch={"serviceRequests": bundle}))


def test_physiotherapist_gets_no_opioid_card_and_a_physician_does(hospital: Hospital) -> None:
    """The role comes from the PractitionerRole of the call; nothing else changes."""
    persona = next(each for each in load_personas(DAY) if each.id == "opioid")
    prefetch: dict[str, object] = {"patient": persona.resources[0], "findings": None}
    for key, kind in (
        ("procedures", "Procedure"),
        ("conditions", "Condition"),
        ("serviceRequests", "ServiceRequest"),
        ("medicationRequests", "MedicationRequest"),
        ("diagnosticReports", "DiagnosticReport"),
        ("devices", "Device"),
        ("scores", "Observation"),
    ):
        entries = [{"resource": r} for r in persona.resources if r["resourceType"] == kind]
        prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}

    def topics(code: str) -> set[str]:
        role = {"coding": [{"system": "urn:oid:2.999.7.9", "code": code}]}
        user = {"resourceType": "PractitionerRole", "id": "9", "code": [role]}
        sent = {**prefetch, "user": user}
        cards = hospital.cards(persona.patient_id, "PractitionerRole/9", sent)
        return {card["source"]["topic"]["code"] for card in cards}

    assert {topic for topic in topics("MD") if "OPIOID" in topic}
    assert topics("PT") == {topic for topic in topics("MD") if "OPIOID" not in topic}


def test_wrong_edit_changes_nothing_and_a_right_one_does(hospital: Hospital) -> None:
    """The list is read again while the service runs; a slip leaves the old one in place."""
    path = hospital.folder / "lakeside-orders.csv"
    text = path.read_text(encoding="utf-8")

    def edit(edited: str) -> None:
        path.write_text(edited, encoding="utf-8")

    def first_code() -> str:
        (mri,) = (c for c in hospital.cards() if c["source"]["topic"]["code"] == "IMGMRINR")
        return _buttons(mri)[0][1]

    def log() -> str:
        return (hospital.folder / "log").read_text(encoding="utf-8")

    edit(text.replace(",41001,", ",41  001,"))
    assert until(lambda: first_code() == "41001" and "line 3, column code" in log())
    edit(text.replace(",41001,", ",41999,"))
    assert until(lambda: first_code() == "41999")
    edit(text)
    assert until(lambda: first_code() == "41001")


def test_code_new_in_the_order_list_is_read_at_once(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The analyst adds the scanner of a new building; its orders count without a restart."""
    path = hospital.folder / "lakeside-orders.csv"
    text = path.read_text(encoding="utf-8")
    [card] = _mri_card(hospital.cards())
    order = _accepted(card, 0)
    order["code"]["coding"][0]["code"] = "41009"
    monkeypatch.setattr(f"{__name__}.CHART", [*CHART, order])
    assert _mri_card(hospital.cards())
    line = next(each for each in text.splitlines() if ",41001," in each)
    path.write_text(f"{text}{line.replace(',41001,', ',41009,')}\n", encoding="utf-8")
    assert until(lambda: not _mri_card(hospital.cards()))
    path.write_text(text, encoding="utf-8")
    assert until(lambda: _mri_card(hospital.cards()))
