"""The whole road: test EHR, signed token, real service, FHIR server, cards, orders, feedback."""

from __future__ import annotations

import json
import time
from html.parser import HTMLParser
from typing import Any

import pytest
import requests
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.demo.broken import BREAKAGES
from cds_service.demo.command import RunningDemo, first_answer
from cds_service.demo.personas import Persona, load_personas
from cds_service.demo.prefetch import Delivery, Manner

TIMEOUT = 20
BREAKER_SECONDS = 5.5
PROMISED = (
    ("no-token", 401),
    ("wrong-signature", 401),
    ("expired-token", 401),
    ("used-token", 401),
    ("other-patient", 200),
    ("other-patient-token", 400),
    ("no-procedures", 412),
    ("no-orders", 200),
    ("cut-json", 400),
    ("another-hook", 400),
    ("refusing-fhir", 200),
    ("slow-fhir", 412),
)


class Browser:
    """Calls the test EHR as its page does."""

    def __init__(self, demo: RunningDemo) -> None:
        self.demo = demo
        self.today = demo.ehr.today_utc.isoformat()

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        """Fetch a page."""
        return requests.get(self.demo.ehr_url + path, timeout=TIMEOUT, headers=headers)

    def post(self, path: str, **body: object) -> requests.Response:
        """Send JSON as the page's script does."""
        return requests.post(self.demo.ehr_url + path, json=body, timeout=TIMEOUT)

    def open(self, patient: str, **more: str) -> dict[str, Any]:
        """Open a chart and return what came back."""
        answer = self.post("/api/open", **{"patient": patient, "asOf": self.today, **more})
        opened: dict[str, Any] = answer.json()
        return opened


@pytest.fixture
def browser(demo: RunningDemo) -> Browser:
    """A browser in front of charts without new orders."""
    browser = Browser(demo)
    browser.post("/api/reset")
    return browser


def _topics(opened: dict[str, Any]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in opened["cards"]]


def _expected(persona: Persona) -> list[str]:
    return [card.replace("-", "") for card in persona.expected_cards]


@pytest.mark.parametrize(
    ("delivery", "manner"),
    [
        (Delivery.PREFETCH, Manner.PLAIN),
        (Delivery.PREFETCH, Manner.EPIC),
        (Delivery.PREFETCH, Manner.SANDBOX),
        (Delivery.PULL, Manner.PLAIN),
        (Delivery.BOTH, Manner.EPIC),
    ],
)
def test_every_persona_gets_the_cards_its_index_names(
    browser: Browser, delivery: Delivery, manner: Manner
) -> None:
    """However the chart travels, each story gets exactly its expected cards."""
    answered = {}
    for persona in browser.demo.ehr.personas:
        opened = browser.open(persona.patient_id, delivery=delivery.value, manner=manner.value)
        answered[persona.id] = opened["problem"] or _topics(opened)
    assert answered == {p.id: _expected(p) for p in browser.demo.ehr.personas}


def test_accepted_order_is_in_the_chart_and_the_card_goes(browser: Browser) -> None:
    """After the MRI is ordered, the next opening of the chart does not ask for it again."""
    patient = "plcds-no-relief"
    opened = browser.open(patient)
    card = opened["cards"][0]
    assert card["source"]["topic"]["code"] == "IMGMRINR"
    told = browser.post(
        "/api/accept",
        hookInstance=opened["hookInstance"],
        card=card["uuid"],
        suggestion=card["suggestions"][0]["uuid"],
    ).json()
    order = told["orders"][0]
    ServiceRequest.model_validate(order)
    assert (order["status"], order["authoredOn"]) == ("active", browser.today)
    assert told["feedback"]["status"] == 200
    assert "IMGMRINR" not in _topics(browser.open(patient))
    assert "IMGMRINR" not in _topics(browser.open(patient, delivery="pull"))
    listed = {section["title"]: section for section in browser.get(f"/api/chart/{patient}").json()}
    assert listed["Orders"]["entries"][0]["isNew"]


def test_starting_afresh_brings_the_card_back(browser: Browser) -> None:
    """The demo can be shown again: without its new orders every card is as before."""
    opened = browser.open("plcds-pacemaker")
    card = opened["cards"][1]
    browser.post(
        "/api/accept",
        hookInstance=opened["hookInstance"],
        card=card["uuid"],
        suggestion=card["suggestions"][0]["uuid"],
    )
    assert _topics(browser.open("plcds-pacemaker")) == ["IMGALT"]
    browser.post("/api/reset")
    assert _topics(browser.open("plcds-pacemaker")) == ["IMGALT", "PTREF"]


def test_card_set_aside_is_away_at_the_next_opening_and_back_after_starting_afresh(
    browser: Browser,
) -> None:
    """The service remembers the answer for every user; the demo can make it forget."""
    opened = browser.open("plcds-late-stenosis")
    before = _topics(opened)
    card = opened["cards"][-1]
    browser.post(
        "/api/override",
        hookInstance=opened["hookInstance"],
        card=card["uuid"],
        reason=card["overrideReasons"][0],
    )
    assert _topics(browser.open("plcds-late-stenosis")) == before[:-1]
    browser.post("/api/reset")
    assert _topics(browser.open("plcds-late-stenosis")) == before


def test_override_reaches_the_service_with_its_reason(browser: Browser) -> None:
    """Setting a card aside sends feedback the service takes."""
    opened = browser.open("plcds-late-stenosis")
    card = opened["cards"][0]
    told = browser.post(
        "/api/override",
        hookInstance=opened["hookInstance"],
        card=card["uuid"],
        reason=card["overrideReasons"][0],
        comment="asked in clinic",
    ).json()
    assert told["feedback"]["status"] == 200
    assert card["overrideReasons"][0]["code"] in told["feedback"]["sent_body"]


def test_a_card_that_was_not_shown_cannot_be_accepted(browser: Browser) -> None:
    """Orders come only from suggestions the service really made in this opening."""
    opened = browser.open("plcds-too-early")
    answer = browser.post(
        "/api/accept", hookInstance=opened["hookInstance"], card="made-up", suggestion="made-up"
    )
    assert answer.status_code == 404
    assert "Open the chart again" in answer.json()["error"]


def test_cards_follow_the_day_the_chart_is_looked_at(browser: Browser) -> None:
    """One day before day 90 it is too early; on day 90 the MRI is proposed."""
    timeline = browser.get("/api/timeline/plcds-too-early").json()
    spans = {span["card"]: span for span in timeline["cards"]}
    assert spans["EARLY-WATCH"]["last"] == 89
    assert spans["IMG-MRI-NR"]["first"] == 90
    day_90 = browser.demo.ehr.today_utc.toordinal() + 30
    on = browser.demo.ehr.today_utc.fromordinal
    assert "EARLYWATCH" in _topics(browser.open("plcds-too-early", asOf=on(day_90 - 1).isoformat()))
    assert "IMGMRINR" in _topics(browser.open("plcds-too-early", asOf=on(day_90).isoformat()))


def test_cards_come_and_go_on_the_exact_day_of_a_long_course(browser: Browser) -> None:
    """Over years the course is looked at every few days, yet no card is off by one."""
    spans = browser.get("/api/timeline/plcds-after-fusion").json()["cards"]
    firsts = {(span["card"], span["first"]) for span in spans}
    assert {("CT-FUSION", 365), ("IMG-MRI-NR", 180), ("DATA-PAIN", 42)} <= firsts
    lasts = {(span["card"], span["last"]) for span in spans}
    assert ("DATA-PAIN", 140) in lasts


def test_timeline_shows_the_days_of_the_story(browser: Browser) -> None:
    """Operation, scores, red flags and tests stand on their days, with the lines of the rules."""
    fusion = browser.get("/api/timeline/plcds-after-fusion").json()
    assert fusion["today"] == 400
    assert fusion["lines"] == {"hot": 4.0, "workup": 90.0, "permanent": 365.0}
    marks = {(event["lane"], event["day"]) for event in fusion["events"]}
    assert {("operation", 0), ("test", 100), ("test", 200), ("care", 140), ("order", 300)} <= marks
    back = next(line for line in fusion["series"] if line["id"] == "back")
    assert [(point["day"], point["value"]) for point in back["points"]][-1] == (390, 7)
    tail = browser.get("/api/timeline/plcds-cauda-equina").json()
    flags = [event["day"] for event in tail["events"] if event["lane"] == "finding"]
    assert flags == [19, 19]


def test_timeline_of_a_chart_without_operation_counts_from_today(browser: Browser) -> None:
    """Neck surgery is no operation of ours: days are counted from today."""
    timeline = browser.get("/api/timeline/plcds-neck-surgery-only").json()
    assert (timeline["hasOperation"], timeline["today"], timeline["cards"]) == (False, 0, [])


def test_timeline_of_an_operation_without_a_date_counts_from_today(browser: Browser) -> None:
    """Nobody reads "day 46,000" because the other hospital's date is missing."""
    timeline = browser.get("/api/timeline/plcds-date-unknown").json()
    assert (timeline["hasOperation"], timeline["today"], timeline["firstDay"]) == (False, 0, -30)
    assert [card["card"] for card in timeline["cards"]] == ["DATA-DATE"]


def test_reasons_name_every_row_and_agree_with_the_service(browser: Browser) -> None:
    """The developer panel has all rows with a verdict; those shown are the cards of the service."""
    for persona in browser.demo.ehr.personas:
        trace = browser.post("/api/trace", patient=persona.patient_id, asOf=browser.today).json()
        shown = [row["card"] for row in trace["rows"] if row["isShown"]]
        assert shown == list(persona.expected_cards)
    rows = browser.post("/api/trace", patient="plcds-no-relief", asOf=browser.today).json()["rows"]
    assert len(rows) >= 35
    assert all(row["verdict"] in {"met", "not met", "cannot tell"} for row in rows)


@pytest.mark.parametrize(("breakage_id", "status"), PROMISED)
def test_broken_requests_get_what_the_page_promises(
    browser: Browser, breakage_id: str, status: int
) -> None:
    """Each button shows the status its text announces, as an OperationOutcome if not 200."""
    result = browser.post(
        f"/api/break/{breakage_id}", patient="plcds-no-relief", asOf=browser.today
    ).json()
    if breakage_id == "slow-fhir":
        time.sleep(BREAKER_SECONDS)
    exchange = result["exchange"]
    assert exchange["status"] == status
    assert str(status) in result["expectation"] or breakage_id == "used-token"
    assert ("OperationOutcome" in exchange["body"]) == (status != 200)
    assert "Demo-Dogwood" not in exchange["body"]


def test_every_broken_request_of_the_page_is_tested() -> None:
    """No button is left without a promise."""
    assert {breakage_id for breakage_id, _ in PROMISED} == {breakage.id for breakage in BREAKAGES}


def test_another_patients_procedures_bring_no_card(browser: Browser) -> None:
    """Procedures of somebody else are set aside; nothing is concluded from them."""
    result = browser.post(
        "/api/break/other-patient", patient="plcds-no-relief", asOf=browser.today
    ).json()
    assert result["exchange"]["body"] == '{"cards":[]}'


def test_orders_that_could_not_be_read_leave_a_card_without_its_order(browser: Browser) -> None:
    """Without the list of orders, the MRI is spoken of but not proposed."""
    result = browser.post(
        "/api/break/no-orders", patient="plcds-no-relief", asOf=browser.today
    ).json()
    card = json.loads(result["exchange"]["body"])["cards"][0]
    assert "suggestions" not in card
    assert "could not be read" in card["detail"]


class Markup(HTMLParser):
    """Collects what a strict content security policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked: list[str] = []
        self.labels: list[str] = []
        self.fields: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        values = dict(attrs)
        address = values.get("src") or (values.get("href") if tag == "link" else None)
        if tag == "style" or "style" in values or (tag == "script" and "src" not in values):
            self.blocked.append(tag)
        if any(name.startswith("on") for name in values) or (address or "/")[0] != "/":
            self.blocked.append(tag)
        if tag == "label":
            self.labels.append(str(values["for"]))
        if tag in {"input", "select"}:
            self.fields.append(str(values["id"]))


@pytest.mark.parametrize("path", ["/", "/patients/plcds-opioid"])
def test_pages_need_nothing_from_elsewhere(browser: Browser, path: str) -> None:
    """Pages work offline under a strict content security policy, and label every field."""
    page = browser.get(path)
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    markup = Markup()
    markup.feed(page.text)
    assert markup.blocked == []
    assert set(markup.fields) == set(markup.labels)


def test_without_scripts_the_page_says_first_why_it_stays_empty(browser: Browser) -> None:
    """The notice stood below "Reading the chart" and an empty list of cards."""
    page = browser.get("/patients/plcds-no-relief").text
    assert page.index("This page needs JavaScript") < page.index("Reading the chart")


def test_patient_list_tells_every_story(browser: Browser) -> None:
    """The first page leads to each chart with its story."""
    page = browser.get("/").text
    for persona in load_personas(browser.demo.ehr.today_utc):
        assert f'href="/patients/{persona.patient_id}"' in page
        assert persona.title in page


def test_pages_answer_only_to_this_machine(browser: Browser) -> None:
    """A page of another site that points its name here gets nothing."""
    answer = browser.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 403


def test_actions_need_json(browser: Browser) -> None:
    """A form on another site cannot place orders."""
    answer = requests.post(f"{browser.demo.ehr_url}/api/reset", data={"a": "b"}, timeout=TIMEOUT)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"patient": "nobody", "asOf": "2026-03-01"},
        {"patient": "plcds-opioid", "asOf": "soon"},
        {"patient": "plcds-opioid", "asOf": "2026-03-01", "delivery": "by pigeon"},
    ],
)
def test_wrong_openings_are_refused(browser: Browser, body: dict[str, str]) -> None:
    """The test EHR itself answers nonsense with a 4xx and words."""
    answer = browser.post("/api/open", **body)
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]


def test_terminal_says_at_once_what_the_first_patient_gets(browser: Browser) -> None:
    """The command prints the story and the cards of the first patient."""
    persona = browser.demo.ehr.personas[0]
    exchange = browser.demo.ehr.client.call({})
    assert "answered 400" in first_answer(persona, exchange)
    opened = browser.open(persona.patient_id)
    summaries = [card["summary"] for card in opened["cards"]]
    assert summaries[0].startswith("Too early to judge")


def test_each_kind_of_ehr_is_answered_in_its_dialect(browser: Browser) -> None:
    """As Epic: one action in a suggestion; as plain CDS Hooks: the blood tests together."""
    plain, epic = (
        browser.open("plcds-recurrent-herniation", manner=manner.value)["cards"]
        for manner in (Manner.PLAIN, Manner.EPIC)
    )

    def actions(cards: list[dict[str, Any]]) -> set[int]:
        return {len(s.get("actions", [])) for card in cards for s in card.get("suggestions", [])}

    assert max(actions(plain)) > 1
    assert actions(epic) <= {0, 1}
    assert {card["selectionBehavior"] for card in epic if "selectionBehavior" in card} == {"any"}


@pytest.mark.parametrize("manner", Manner)
def test_feedback_goes_in_the_name_the_card_was_asked_in(browser: Browser, manner: Manner) -> None:
    """The service hears of a card from the client it gave the card to."""
    opened = browser.open("plcds-cauda-equina", manner=manner.value)
    told = browser.post(
        "/api/override",
        hookInstance=opened["hookInstance"],
        card=opened["cards"][0]["uuid"],
        reason={},
        comment="",
    ).json()
    assert told["feedback"]["status"] == 200
