"""The command line: what it prints, what it refuses, and with which exit code."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import responses
from click.testing import CliRunner, Result

from cds_service.cli import main
from cds_service.demo.personas import Persona, load_personas
from cds_service.sandbox import TAG
from cds_service.vignettes.charts import PATIENT_ID, expand
from cds_service.vignettes.concepts import LOCAL
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import coded, observed
from tests.security.lab import listening

DAY = date(2026, 3, 1)
BASE = "https://fhir.example.org/r4"


def run(*arguments: str, sent: str | None = None) -> Result:
    """Run the command with *arguments* and *sent* on standard input."""
    return CliRunner().invoke(main, arguments, input=sent)


def persona(persona_id: str) -> Persona:
    """Return one synthetic chart as it is on the test's day."""
    return next(each for each in load_personas(DAY) if each.id == persona_id)


@pytest.fixture
def chart(tmp_path: Path) -> Callable[[str], Path]:
    """Return a maker of files with one persona's chart."""

    def write(persona_id: str) -> Path:
        path = tmp_path / f"{persona_id}.json"
        path.write_text(json.dumps(persona(persona_id).bundle), encoding="utf-8")
        return path

    return write


def test_evaluation_of_a_file_prints_cards_and_reasons(chart: Callable[[str], Path]) -> None:
    """A clinician sees the cards first and then why every row answered as it did."""
    result = run("evaluate", "--as-of", "2026-03-01", str(chart("no-relief")))
    assert result.exit_code == 0
    assert "[warning]" in result.stdout or "[info]" in result.stdout
    assert "suggests: " in result.stdout
    assert "IMG-MRI-NR   met, shown" in result.stdout
    assert result.stdout.index("suggests: ") < result.stdout.index("Decision table")


def test_evaluation_as_json_names_the_expected_cards(chart: Callable[[str], Path]) -> None:
    """A program gets the same cards as JSON, with a verdict for all 36 rows."""
    path = chart("no-relief")
    result = run("evaluate", "--as-of", "2026-03-01", "--format", "json", str(path))
    answer = json.loads(result.stdout)
    topics = [card["source"]["topic"]["code"] for card in answer["cards"]]
    expected = persona("no-relief").expected_cards
    assert topics == [card_id.replace("-", "") for card_id in expected]
    assert len(answer["trace"]["rows"]) == 36


def test_evaluation_tells_the_course_at_each_site_and_which_decides(tmp_path: Path) -> None:
    """A surgeon can check how the scores of leg and back were read, each by itself."""
    leg, back = {-14: 8, 20: 3, 40: 7, 95: 6}, {95: 5}
    facts = {"day": 100, "operation": "discectomy", "leg": leg, "back": back}
    resources = expand(facts, AS_OF, 0)
    entries = [{"resource": entry} for key in resources for entry in resources[key]]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    path = tmp_path / "chart.json"
    path.write_text(json.dumps(bundle), encoding="utf-8")
    arguments = ("evaluate", "--as-of", AS_OF.isoformat(), str(path))
    printed = run(*arguments).stdout
    assert "leg: relief, then pain returned; decides" in printed
    assert "back: not enough scores to say" in printed
    courses = json.loads(run(*arguments, "--format", "json").stdout)["trace"]["courses"]
    assert courses["leg"] == {
        "course": "RELIEF_THEN_RECURRENCE",
        "lastLow": 20,
        "onset": 40,
        "decides": True,
    }
    assert courses["back"]["course"] == "INSUFFICIENT"


def agrees(told: Any, printed: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether an example shortened by ``...`` agrees with the whole."""
    match told:
        case dict():
            return told.keys() == printed.keys() and all(agrees(told[k], printed[k]) for k in told)
        case list():
            shortened = told[:-1] if told[-1:] == ["..."] else told
            return (
                len(printed) >= len(told)
                and all(agrees(one, other) for one, other in zip(shortened, printed, strict=False))
                and (shortened is not told or len(printed) == len(told))
            )
        case str():
            return printed.startswith(told.removesuffix(" ..."))
        case _:
            return bool(told == printed)


def test_card_in_the_documentation_is_the_one_the_command_prints(
    chart: Callable[[str], Path],
) -> None:
    """An integrator sees what the service really answers."""
    page = (Path(__file__).parents[2] / "docs" / "integration.md").read_text(encoding="utf-8")
    told = json.loads(page.partition("## A card")[2].split("```json")[1].split("```")[0])
    path = str(chart("no-relief"))
    result = run("evaluate", "--as-of", "2026-03-01", "--format", "json", path)
    assert agrees(told, json.loads(result.stdout)["cards"][0])


def test_evaluation_reads_standard_input(chart: Callable[[str], Path]) -> None:
    """A dash stands for standard input, with the same answer as the file."""
    path = chart("cauda-equina")
    from_file = run("evaluate", "--as-of", "2026-03-01", str(path))
    piped = run("evaluate", "--as-of", "2026-03-01", "-", sent=path.read_text(encoding="utf-8"))
    assert piped.stdout == from_file.stdout
    assert "[critical]" in piped.stdout


def test_evaluation_reads_a_file_with_a_byte_order_mark(chart: Callable[[str], Path]) -> None:
    """An export that a Windows program saved is answered as the same without the mark."""
    text = chart("no-relief").read_text(encoding="utf-8")
    plain, marked = (
        run("evaluate", "--as-of", "2026-03-01", "-", sent=each) for each in (text, f"\ufeff{text}")
    )
    assert marked.exit_code == 0
    assert marked.stdout == plain.stdout


def test_evaluation_takes_what_is_missing_as_unknown_when_the_file_is_partial(
    chart: Callable[[str], Path], tmp_path: Path
) -> None:
    """Orders that are not in a partial file are unknown, so an order is not suggested."""
    bundle = json.loads(chart("no-relief").read_text(encoding="utf-8"))
    kept = {"Patient", "Procedure", "Observation", "Condition"}
    bundle["entry"] = [
        entry for entry in bundle["entry"] if entry["resource"]["resourceType"] in kept
    ]
    path = tmp_path / "part.json"
    path.write_text(json.dumps(bundle), encoding="utf-8")
    arguments = ("evaluate", "--as-of", "2026-03-01", "--format", "json")

    def suggestions(*more: str) -> int:
        cards = json.loads(run(*arguments, *more, str(path)).stdout)["cards"]
        return sum(len(card.get("suggestions", ())) for card in cards)

    assert suggestions() > 0
    assert suggestions("--partial") == 0


def test_evaluation_with_an_unreadable_examination_tells_of_the_emergency() -> None:
    """A file holds all Observations together; the one nobody can read is missing from findings."""
    resources = expand({"day": 20, "operation": "discectomy"}, AS_OF, 0)
    entries = [entry for key in resources for entry in resources[key]]
    answers = ({"valueString": "reduced"}, {"valueString": "normal"}, {"valueString": "see note"})
    for days_ago, answer in zip((4, 3, 2), answers, strict=True):
        entries.append(
            observed(
                coded(LOCAL, "saddle-sensation"),
                id=f"saddle-{days_ago}",
                subject={"reference": f"Patient/{PATIENT_ID}"},
                effectiveDateTime=(AS_OF - timedelta(days=days_ago)).isoformat(),
                **answer,
            )
        )
    bundle = {"resourceType": "Bundle", "entry": [{"resource": each} for each in entries]}
    result = run("evaluate", "--as-of", AS_OF.isoformat(), "-", sent=json.dumps(bundle))
    assert "[critical] Possible cauda equina syndrome" in result.stdout
    assert "examination and laboratory findings (an entry could not be read)" in result.stdout


def test_evaluation_reads_a_text_that_was_cut_inside_an_emoji() -> None:
    """One cut text of an export does not void the chart."""
    resources = [{"resourceType": "Patient", "id": "anna", "name": [{"text": "Anna \ud83d"}]}]
    entries = [{"resource": each} for each in resources]
    bundle = {"resourceType": "Bundle", "entry": entries}
    result = run("evaluate", "-", sent=json.dumps(bundle))
    assert result.exit_code == 0, result.output


def _answer(bundle: object) -> dict[str, list[str]]:
    """Return which parts of a file were not read, and which cards propose an order."""
    arguments = ("evaluate", "--as-of", "2026-03-01", "--format", "json", "-")
    answer = json.loads(run(*arguments, sent=json.dumps(bundle)).stdout)
    cards = [card["summary"] for card in answer["cards"] if "suggestions" in card]
    return {"unread": sorted(answer["trace"]["unread"]), "with orders": cards}


def test_evaluation_reads_an_operation_whose_id_is_a_number() -> None:
    """Some exports write ids so; the operation was passed over, and there were no cards."""
    usual = persona("no-relief").bundle
    bundle = copy.deepcopy(usual)
    for number, entry in enumerate(bundle["entry"]):
        if entry["resource"]["resourceType"] == "Procedure":
            entry["resource"]["id"] = number
    assert _answer(bundle) == _answer(usual)
    assert _answer(usual)["with orders"]


OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
IN_PART = {
    "the first page of several": {"link": [{"relation": "next", "url": "https://x.example/2"}]},
    "a search that failed": {"entry": [{"resource": OUTCOME, "search": {"mode": "outcome"}}]},
    "an entry that is no resource": {"entry": [{"resource": {"id": "1"}}]},
    "a part that was refused": {"entry": [{"response": {"status": "403 Forbidden"}}]},
}


@pytest.mark.parametrize("part", IN_PART.values(), ids=IN_PART.keys())
def test_evaluation_of_a_file_that_says_it_is_not_all_takes_nothing_as_absent(
    part: dict[str, Any],
) -> None:
    """What a page of $everything does not hold may be on the next: no order is proposed."""
    usual = persona("no-relief").bundle
    kept = {"Patient", "Procedure", "Observation", "Condition"}
    entries = [each for each in usual["entry"] if each["resource"]["resourceType"] in kept]
    whole = {**usual, "entry": entries}
    assert _answer(whole)["with orders"]
    answer = _answer({**whole, **part, "entry": [*entries, *part.get("entry", [])]})
    assert answer["with orders"] == []
    assert {"findings", "medicationRequests", "procedures", "scores"} <= set(answer["unread"])


def _two_patients() -> str:
    first, second = persona("no-relief"), persona("improving")
    entries = [*first.bundle["entry"], *second.bundle["entry"]]
    return json.dumps({**first.bundle, "entry": entries})


def test_evaluation_asks_for_the_patient_when_there_are_two() -> None:
    """Two charts in one file are never mixed and never guessed."""
    result = run("evaluate", "-", sent=_two_patients())
    assert result.exit_code == 2
    assert "2 Patients" in result.stderr
    assert "--patient" in result.stderr


def test_evaluation_of_a_file_without_a_patient_says_so() -> None:
    """Nobody is asked to choose one of none."""
    result = run("evaluate", "-", sent='{"resourceType": "Bundle", "type": "collection"}')
    assert result.exit_code == 2
    assert "FILE holds no Patient" in result.stderr


def test_evaluation_of_one_of_two_patients_does_not_use_the_other() -> None:
    """With two charts in one file, the chosen patient gets exactly their own cards.

    Only the explanation differs: it says how many entries of another patient were not used.
    """
    chosen = persona("no-relief")
    arguments = ("evaluate", "--as-of", "2026-03-01", "--format", "json")
    mixed = run(*arguments, "--patient", chosen.patient_id, "-", sent=_two_patients())
    alone = run(*arguments, "-", sent=json.dumps(chosen.bundle))
    cards = [json.loads(result.stdout)["cards"] for result in (mixed, alone)]
    for card in (*cards[0], *cards[1]):
        del card["detail"]
    assert cards[0] == cards[1] != []


BAD_FILES = {
    "not JSON": ("CanaryShaw", 1),
    "a patient alone": ('{"resourceType": "Patient", "id": "CanaryShaw"}', 1),
    "an empty Bundle": ('{"resourceType": "Bundle"}', 2),
    "no entry readable": ('{"resourceType": "Bundle", "entry": 7, "a": "CanaryShaw"}', 2),
}


@pytest.mark.parametrize(("content", "code"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_evaluation_of_a_wrong_file_says_what_is_needed(content: str, code: int) -> None:
    """A wrong file ends with a sentence, not with a stack of calls, and is not repeated."""
    result = run("evaluate", "-", sent=content)
    assert result.exit_code == code
    assert "Error: " in result.stderr
    assert "CanaryShaw" not in result.output
    assert "Traceback" not in result.output


def test_evaluation_without_required_data_says_which_is_missing() -> None:
    """A partial file without procedures cannot be answered."""
    bundle = {"resourceType": "Bundle", "entry": [{"resource": persona("improving").resources[0]}]}
    result = run("evaluate", "--partial", "-", sent=json.dumps(bundle))
    assert result.exit_code == 1
    assert "procedures" in result.stderr


WRONG_USE = {
    "development mode in public": (("serve", "--dev", "--host", "0.0.0.0"), "--host"),
    "development mode with clients": (("serve", "--dev", "--config", "x.toml"), "x.toml"),
    "an impossible port": (("serve", "--dev", "--port", "99999"), "1 to 65535"),
    "no deadline": (("serve", "--dev", "--deadline-ms", "0"), "50 to 30000"),
    "a file that is not there": (("serve", "--config", "/nowhere/x.toml"), "/nowhere/x.toml"),
    "a file for state": (("serve", "--dev", "--state-dir", __file__), "a file stands"),
    "a day that is no day": (("evaluate", "--as-of", "2026-02-30", "-"), "--as-of"),
    "an impossible port of the demo": (("demo", "--port", "70000"), "1<=x<=65535"),
    "a sandbox that is no address": (("sandbox", "open", "hapi.example", "x"), "BASE_URL: "),
    "a first day long ago": (("report", "--since", "0226-11-01"), "--since 0226-11-01"),
    "a last day far ahead": (("report", "--until", "9999-12-31"), "--until 9999-12-31"),
    "an unknown command": (("server",), "server"),
}


@pytest.mark.parametrize(("arguments", "named"), WRONG_USE.values(), ids=WRONG_USE.keys())
def test_wrong_use_names_what_is_wrong(arguments: tuple[str, ...], named: str) -> None:
    """A wrong option ends at once with exit code 2 and says what to do."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert "Traceback" not in result.output


def test_knowledge_check_counts_what_it_checked() -> None:
    """The content of this checkout is in order, and the command says what it looked at."""
    result = run("check-knowledge")
    assert result.exit_code == 0
    assert "36 cards" in result.stdout


def test_knowledge_check_fails_with_the_file_that_is_wrong(tmp_path: Path) -> None:
    """A site's wrong file is named and the exit code is 1."""
    (tmp_path / "thresholds").mkdir()
    (tmp_path / "thresholds" / "pain-hot.yaml").write_text("id: pain-hot\nid: pain-hot\n")
    result = run("check-knowledge", "--site", str(tmp_path))
    assert result.exit_code == 1
    assert "pain-hot.yaml" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("serve",), ("demo",), ("evaluate",), ("check-knowledge",), ("sandbox",)],
)
def test_help_of_every_command_shows_an_example(arguments: tuple[str, ...]) -> None:
    """Help teaches by example."""
    result = run(*arguments, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert "cds-service" in result.stdout


@responses.activate
def test_sandbox_gets_every_persona_with_our_tag_and_ids() -> None:
    """Only tagged, made-up resources under our id prefix are ever put on a public server."""
    responses.post(f"{BASE}/", json={"resourceType": "Bundle"}, status=200)
    result = run("sandbox", "load", BASE)
    assert result.exit_code == 0, result.output
    sent: list[Any] = [json.loads(call.request.body or "") for call in responses.calls]
    assert len(sent) == len(load_personas(DAY))
    for bundle in sent:
        assert bundle["type"] == "transaction"
        for entry in bundle["entry"]:
            assert entry["request"]["method"] == "PUT"
            assert entry["resource"]["id"].startswith("plcds-")
            assert entry["resource"]["meta"]["tag"] == [TAG]
    assert all("Authorization" not in call.request.headers for call in responses.calls)


@responses.activate
def test_sandbox_that_refuses_is_named_with_its_status() -> None:
    """A server that takes no transactions is said so, without its text."""
    responses.post(f"{BASE}/", body="CanaryShaw", status=403)
    result = run("sandbox", "load", BASE)
    assert result.exit_code == 1
    assert "403" in result.stderr
    assert "CanaryShaw" not in result.output


def test_sandbox_address_must_be_a_web_address() -> None:
    """A path or a host alone is refused with an example."""
    result = run("sandbox", "load", "hapi.fhir.org")
    assert result.exit_code == 2
    assert "https://hapi.fhir.org/baseR4" in result.stderr


def test_sandbox_chart_is_opened_by_reading_from_the_server() -> None:
    """The service pulls the chart over FHIR and prints the cards of today."""
    today = load_personas(date.today())  # noqa: DTZ011, TID251 - the command answers for today
    chart = next(each for each in today if each.id == "no-relief")
    with listening(_answering(chart)) as (port, _):
        result = run("sandbox", "open", f"http://127.0.0.1:{port}/fhir", chart.patient_id)
    assert result.exit_code == 0, result.output
    assert "suggests: " in result.stdout


def _answering(
    chart: Persona,
) -> Callable[[str, Mapping[str, str]], tuple[int, dict[str, str], bytes]]:
    """Return a FHIR server that knows one chart: reads, and searches by kind alone."""

    def answer(path: str, _headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        kind = path.removeprefix("/fhir/").split("?")[0]
        if "/" in kind:
            found: Any = chart.resources[0]
        else:
            resources = [each for each in chart.resources if each["resourceType"] == kind]
            entries = [{"resource": each, "search": {"mode": "match"}} for each in resources]
            found = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        return 200, {"Content-Type": "application/fhir+json"}, json.dumps(found).encode()

    return answer
