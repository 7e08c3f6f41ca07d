"""The numbers of the report equal those the caller kept, on the page, in CSV and in JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.engine import Engine

from cds_service.cli import main
from cds_service.ledger.migrating import migrate
from cds_service.ledger.place import LedgerPlace
from cds_service.reporting.comments import OTHER, Triage, theme_of
from cds_service.reporting.page import as_page
from cds_service.reporting.report import Report, make_report
from cds_service.reporting.table import Line, percentile
from cds_service.reporting.writing import as_csv, as_json
from tests.reporting.conftest import asked
from tests.reporting.simulated import (
    CARDS,
    FIRST_DAY,
    LAST_DAY,
    Open,
    Simulation,
    broken,
    days,
    empty_ledger,
)

Fortnight = tuple[Engine, Simulation]


def line(report: Report, table: str, name: str) -> Line:
    """Return one line of a table."""
    return next(each for each in report.table(table).lines if each.id == name)


def value(report: Report, name: str) -> Any:  # noqa: ANN401 - a number or none
    """Return one number of the overview."""
    return line(report, "overview", name).now["value"]


def test_calls_and_opens_are_those_the_caller_made(report: Report, fortnight: Fortnight) -> None:
    """A chart open is a call that did not end in an error; nothing is counted twice or lost."""
    kept = fortnight[1].kept
    assert value(report, "calls") == kept.calls.total()
    assert value(report, "errors") == kept.errors
    assert value(report, "opens") == kept.calls.total() - kept.errors
    assert value(report, "opens-with-card") == kept.opens_with_card
    for client, count in kept.calls.items():
        assert line(report, "clients", client).now["calls"] == count


@pytest.mark.parametrize("card", CARDS)
def test_card_is_counted_as_the_caller_saw_it(
    report: Report, fortnight: Fortnight, card: str
) -> None:
    """Shown, held back, per 100 chart opens, per patient, accepted, overridden, unanswered."""
    kept, opens = fortnight[1].kept, value(report, "opens")
    now, shown = line(report, "cards", card).now, kept.shown[card]
    accepted, overridden = kept.answers[card, "accepted"], kept.answers[card, "overridden"]
    times = [count for (_, _, each), count in kept.shown_to.items() if each == card]
    assert now["shown"] == shown
    assert now["met"] == shown + kept.held_back[card] + kept.silent[card]
    assert now["rate"] == round(100 * shown / opens, 2)
    assert now["accepted"] == accepted
    assert now["overridden"] == overridden
    assert now["unanswered"] == shown - accepted - overridden
    assert now["accepted-share"] == round(100 * accepted / shown, 2)
    assert now["patients"] == len(times)
    assert now["most"] == max(times)
    assert now["response-seconds"] == 45


def test_override_reasons_are_those_the_users_gave(report: Report, fortnight: Fortnight) -> None:
    """The last answer to a card counts, once, with its reason."""
    found = {each.id: each.now["count"] for each in report.table("override-reasons").lines}
    expected = {
        f"{card}/{reason}": count for (card, reason), count in fortnight[1].kept.reasons.items()
    }
    assert found == expected


def test_missing_parts_and_unknown_codes_are_counted(report: Report, fortnight: Fortnight) -> None:
    """A part that could not be read is named with its most frequent reason."""
    kept = fortnight[1].kept
    found = {each.id: each.now["count"] for each in report.table("unread").lines}
    assert found == dict(kept.unread)
    refused = line(report, "unread", "diagnosticReports").now["why"]
    assert refused == "the FHIR server refused the search"
    unmapped = {each.id: each.now["count"] for each in report.table("unmapped").lines}
    assert unmapped == dict(kept.unmapped)


def test_time_is_told_in_percentiles(report: Report, fortnight: Fortnight) -> None:
    """The slowest in a hundred is what the caller measured."""
    milliseconds = fortnight[1].kept.milliseconds
    now = line(report, "speed", "total").now
    assert now["p95"] == percentile(milliseconds, 95)
    assert now["most"] == max(milliseconds)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([3.0], 99, 3.0), ([1.0, 2.0, 3.0, 4.0], 50, 2.0), ([1.0, 2.0], 95, 2.0)],
)
def test_percentile_is_a_value_that_was_measured(
    values: list[float], percent: float, expected: float | None
) -> None:
    """Nothing is invented between two measurements."""
    assert percentile(values, percent) == expected


def test_feedback_about_unknown_cards_and_comments_are_counted(
    report: Report, fortnight: Fortnight
) -> None:
    """What belongs to no card is told apart; each comment has one theme."""
    kept = fortnight[1].kept
    assert value(report, "strayed-feedback") == kept.strayed
    assert report.comments.total == kept.comments


def test_report_of_one_client_counts_only_its_calls(fortnight: Fortnight) -> None:
    """A hospital of two EHRs can look at each alone."""
    engine, simulation = fortnight
    report = make_report(engine, asked("ehr-b"))
    assert value(report, "calls") == simulation.kept.calls["ehr-b"]
    assert [each.id for each in report.table("clients").lines] == ["ehr-b"]
    assert {each.alarm.client for each in report.alarms} == {"ehr-b"}


def test_period_before_is_counted_alike(fortnight: Fortnight) -> None:
    """The second week's page shows the first week's numbers beside its own."""
    report = make_report(fortnight[0], asked(days_long=7))
    now = line(report, "overview", "calls")
    assert now.now["value"] == now.before["value"] == 7 * 300 * 2
    mri = line(report, "cards", "IMG-MRI-NR")
    assert float(str(mri.before["rate"])) > 1.5 * float(str(mri.now["rate"]))


def test_silent_patients_are_compared_with_live_ones() -> None:
    """Before going live the committee sees how often a card would have fired, beside live use."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    simulation.run(
        days(FIRST_DAY, LAST_DAY),
        clients=("ehr-a",),
        change=lambda each: replace(each, is_silent=int(each.patient[1:]) % 4 == 0),
    )
    report = make_report(engine, asked())
    for card in ("PT-REF", "OPIOID"):
        now = line(report, "gate", card).now
        assert now["silent"] == simulation.kept.silent[card]
        assert now["live"] == simulation.kept.shown[card]
        assert now["words"] == "as in live use"
    page = as_page(report, with_comments=False, is_gate=True)
    assert "Silent mode against live use" in page
    assert "cds-service explain" in page


def test_report_of_an_empty_ledger_has_no_numbers_and_no_fault() -> None:
    """The first day of a new service has a page, too."""
    report = make_report(empty_ledger(), asked())
    page = as_page(report, with_comments=True)
    assert "Nothing could be compared" in page
    assert "Nothing unusual" not in page
    assert value(report, "shown-rate") is None
    assert json.loads(as_json(report, with_comments=False))["tables"]["cards"]["lines"] == []


def page_of_the_last_day(*, old_days: int, new_days: int) -> str:
    """Return the page of one day; two clients have called for so many days before it."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    for client, past in (("ehr-old", old_days), ("ehr-new", new_days)):
        first = LAST_DAY - timedelta(days=past)
        simulation.run(days(first, LAST_DAY), a_day=40, clients=(client,))
    return as_page(make_report(engine, asked(days_long=1)), with_comments=False)


def test_page_says_nothing_unusual_only_with_three_days_of_past() -> None:
    """A committee is not told that no rule stopped while nobody knows what is usual."""
    two_days = page_of_the_last_day(old_days=2, new_days=2)
    assert "Nothing could be compared" in two_days
    assert "Nothing unusual" not in two_days
    three_days = page_of_the_last_day(old_days=3, new_days=3)
    assert "Nothing unusual" in three_days
    assert "Not compared" not in three_days


def test_page_of_an_empty_period_or_one_call_reads_like_a_sentence() -> None:
    """Nobody reads "1 patients", or dashes where a number was meant."""
    engine = empty_ledger()
    empty = as_page(make_report(engine, asked(days_long=1)), with_comments=False)
    assert "No chart open is on record." in empty
    assert "Users accepted" not in empty
    Simulation(engine).run([LAST_DAY], a_day=1, clients=("ehr-a",), change=_without_cards)
    page = as_page(make_report(engine, asked(days_long=1)), with_comments=False)
    assert "asked at 1 chart open of 1 patient and showed 0 cards." in page
    assert f"<strong>{LAST_DAY.day} November 2026</strong>, all clients" in page
    assert "Users accepted" not in page
    assert ": 1 call. " in page


def _without_cards(opened: Open) -> Open:
    return replace(opened, cards=(), error=None)


def test_page_names_the_client_that_is_too_new_to_be_compared() -> None:
    """One hospital that has called for long does not speak for the one that began yesterday."""
    page = page_of_the_last_day(old_days=3, new_days=1)
    assert "Nothing unusual" in page
    assert "Not compared, for want of three days of past: ehr-new." in page


class _Cells(HTMLParser):
    """Reads the numbers of the tables that hold all numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[str]] = {}
        self.loaded: list[str] = []
        self._table: str | None = None
        self._is_cell = self._is_before = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where we are, and what the page would load."""
        found = dict(attrs)
        self.loaded += [str(found[name]) for name in ("src", "href") if found.get(name)]
        if tag == "table":
            self._table = (found.get("id") or "").removeprefix("t-")
        self._is_cell = self._is_cell or tag == "td"
        self._is_before = self._is_before or found.get("class") == "was"

    def handle_endtag(self, tag: str) -> None:
        """Leave a cell."""
        if tag == "td":
            self._is_cell = False
        if tag in {"span", "td"}:
            self._is_before = False

    def handle_data(self, data: str) -> None:
        """Keep the text of a cell."""
        if self._is_cell and not self._is_before and self._table and data.strip():
            self.tables.setdefault(self._table, []).append(data.strip())


def shown(number: Any) -> str:  # noqa: ANN401 - a value of a table
    """Return a value as the page prints it."""
    if number is None:
        return "\N{EN DASH}"
    return f"{number:,.1f}" if isinstance(number, float) else str(number)


def test_page_csv_and_json_hold_the_same_numbers(report: Report) -> None:
    """Whoever checks the page against the spreadsheet finds no difference."""
    document = json.loads(as_json(report, with_comments=False))
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    reader = _Cells()
    reader.feed(as_page(report, with_comments=False))
    for table in report.tables:
        in_json = document["tables"][table.id]["lines"]
        in_csv = {
            (row["id"], row["number"]): row["now"] for row in rows if row["table"] == table.id
        }
        expected = []
        for each, written in zip(table.lines, in_json, strict=True):
            for column in table.columns:
                number = each.now.get(column.id)
                assert written["now"].get(column.id) == number
                assert in_csv[each.id, column.id] == ("" if number is None else str(number))
                expected.append(f"{number:,}" if isinstance(number, int) else shown(number))
        if table.lines:
            assert reader.tables[table.id] == expected, table.id


def test_page_loads_nothing_and_runs_nothing(report: Report) -> None:
    """The page can be mailed and opened years later without any network."""
    page = as_page(report, with_comments=True)
    reader = _Cells()
    reader.feed(page)
    assert [link for link in reader.loaded if not link.startswith("#")] == []
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_comment_is_shown_letter_by_letter(report: Report) -> None:
    """A comment with markup in it is read by the committee, not by its browser."""
    comments = {
        theme: tuple(replace(each, comment="<img src=x onerror=alert(1)>&lt;") for each in found)
        for theme, found in report.comments.themes.items()
    }
    hostile = replace(report, comments=Triage(themes=comments), client="<i>ehr</i>")
    page = as_page(hostile, with_comments=True)
    assert "<img" not in page
    assert "<i>ehr" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;lt;" in page


def test_comments_are_left_out_unless_asked_for(report: Report) -> None:
    """Free text may name a patient, so it is printed only on request, and escaped."""
    assert "not my patient" not in as_page(report, with_comments=False)
    assert "not my patient" not in as_json(report, with_comments=False)
    assert "not my patient" in as_page(report, with_comments=True)
    assert "not my patient" in as_json(report, with_comments=True)
    assert "not my patient" not in as_csv(report)
    assert report.comments.themes["May be another patient"]


@pytest.mark.parametrize(
    ("comment", "theme"),
    [
        ("This is WRONG", "May be wrong"),
        ("could be dangerous here", "May be dangerous"),
        ("This is not my patient.", "May be another patient"),
        ("already ordered", "Already done or known"),
        ("so annoying", "Annoying"),
        ("thank you", OTHER),
        ("wronged", OTHER),
    ],
)
def test_comment_is_put_under_the_most_pressing_theme(comment: str, theme: str) -> None:
    """Angry words find broken rules."""
    assert theme_of(comment) == theme


def test_spreadsheet_takes_no_cell_for_a_formula(report: Report) -> None:
    """A code or a client that begins like a formula is text in every spreadsheet."""
    starts = ("=cmd|'/c calc'!A0", "@SUM(1)", "+1", "-1", "\t=1", "\r=1")
    engine = empty_ledger()
    simulation = Simulation(engine)
    simulation.run(
        [LAST_DAY],
        a_day=40,
        change=lambda each: replace(each, unmapped=starts),
    )
    cells = [
        cell
        for row in csv.reader(io.StringIO(as_csv(make_report(engine, asked()))))
        for cell in row
    ]
    assert "'=cmd|'/c calc'!A0" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+", "-", "\t", "\r"))]
    del report


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["report", *arguments])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder whose ledger holds two weeks."""
    folder = tmp_path_factory.mktemp("state")
    place = LedgerPlace(file=folder / "ledger.sqlite3")
    migrate(place)
    engine = empty_ledger(f"sqlite:///{place.file}")
    Simulation(engine).run(days(FIRST_DAY, LAST_DAY), a_day=60, change=broken)
    engine.dispose()
    return folder


def test_command_writes_the_page_to_a_file(state: Path, tmp_path: Path) -> None:
    """The operator makes the page with one line."""
    target = tmp_path / "report.html"
    span = ("--since", FIRST_DAY.isoformat(), "--until", LAST_DAY.isoformat())
    result = run("--state-dir", str(state), *span, "--output", str(target))
    assert result.exit_code == 0, result.output
    assert "Cards for pain after lumbar spine surgery" in target.read_text(encoding="utf-8")
    assert re.search("Wrote .*report.html", result.output)


@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_command_prints_numbers_for_programs(state: Path, output_format: str) -> None:
    """Other programs read the same numbers from standard output."""
    span = ("--since", FIRST_DAY.isoformat(), "--until", LAST_DAY.isoformat())
    result = run("--state-dir", str(state), *span, "--format", output_format)
    assert result.exit_code == 0, result.output
    assert "1680" in result.stdout


def test_command_says_when_there_is_nothing_or_the_wrong_way_round(
    state: Path, tmp_path: Path
) -> None:
    """A wrong folder, an empty period and swapped days are told apart."""
    late = (LAST_DAY + timedelta(days=40)).isoformat()
    empty = run("--state-dir", str(state), "--since", late, "--until", late)
    assert "The ledger holds no call in this period." in empty.output
    missing = run("--state-dir", str(tmp_path))
    assert missing.exit_code == 2
    assert "there is no ledger here" in missing.output
    swapped = run("--state-dir", str(state), "--since", late, "--until", LAST_DAY.isoformat())
    assert swapped.exit_code == 2
    assert "Swap them" in swapped.output


def test_command_does_not_drop_a_wish_in_silence(state: Path) -> None:
    """Whoever asks for the page of silent mode as a spreadsheet does not get the whole report."""
    result = run("--state-dir", str(state), "--gate", "--format", "csv")
    assert result.exit_code == 2
    assert "--gate with --format csv" in result.output


def test_page_is_utf_8_whatever_the_terminal_speaks(state: Path) -> None:
    """It says so in its head; a machine set to Latin-1 ended with many lines of a program."""
    wanted = ["report", "--state-dir", str(state), "--until", LAST_DAY.isoformat()]
    pages = [CliRunner(charset=each).invoke(main, wanted) for each in ("utf-8", "iso-8859-1")]
    assert [page.exit_code for page in pages] == [0, 0]
    dash = "\N{EN DASH}"
    assert dash in pages[0].stdout
    assert dash in pages[1].stdout_bytes.decode("utf-8")


def test_command_says_that_the_page_cannot_be_written(state: Path, tmp_path: Path) -> None:
    """A folder that is not there is told in a sentence, after the counting as well."""
    for target in (tmp_path / "nowhere" / "report.html", tmp_path):
        result = run("--state-dir", str(state), "--output", str(target))
        assert result.exit_code == 2
        assert f"--output {target}: the file cannot be written" in result.output
