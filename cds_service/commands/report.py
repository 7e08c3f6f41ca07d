"""``cds-service report``: the numbers a committee steers by."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from pathlib import Path

import click

from cds_service.app import system_now
from cds_service.commands.ledger_reading import ledger_to_read, place_options
from cds_service.commands.manners import clear_errors, examples
from cds_service.errors import SettingsError
from cds_service.ledger.records import milliseconds
from cds_service.reporting.page import as_page
from cds_service.reporting.reading import period_of_days
from cds_service.reporting.report import Asked, Report, make_report
from cds_service.reporting.writing import as_csv, as_json

_USUAL_DAYS = 14
_QUIET_SECONDS = 2.0
_DAY = click.DateTime(["%Y-%m-%d"])
_FIRST_YEAR, _LAST_YEAR = 2000, 2999
"""No ledger is older; days beyond are slips of the hand, and would count empty days for hours."""


@click.command(
    short_help="Numbers for the CDS committee.",
    epilog=examples(
        "cds-service report --config clients.toml --output report.html",
        "cds-service report --since 2026-11-01 --until 2026-11-30 --format csv > november.csv",
        "cds-service report --client ehr-a --gate --output gate.html",
    ),
)
@place_options
@click.option("--since", type=_DAY, metavar="YYYY-MM-DD", help="First day.  [default: a fortnight]")
@click.option("--until", type=_DAY, metavar="YYYY-MM-DD", help="Last day.  [default: yesterday]")
@click.option("--client", help="Only this client.  [default: all]")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["html", "csv", "json"]),
    default="html",
    show_default=True,
    help="How to write it.",
)
@click.option("--output", type=click.Path(path_type=Path), help="File to write.  [default: screen]")
@click.option("--gate", "is_gate", is_flag=True, help="Only silent mode against live use (html).")
@click.option(
    "--with-comments", is_flag=True, help="Print users' comments; they may name patients."
)
@clear_errors
def report(  # noqa: PLR0913 - one parameter for each option
    since: datetime | None,
    until: datetime | None,
    client: str | None,
    output_format: str,
    output: Path | None,
    *,
    is_gate: bool,
    with_comments: bool,
    **place: str | None,
) -> None:
    """Write what the service showed and what users did, for a committee.

    Days are calendar days in UTC, both included; the period of the same length before them is
    compared. The same numbers stand in all formats.
    """
    now = system_now()
    _refuse_odd_year("--since", since)
    _refuse_odd_year("--until", until)
    last = until.date() if until else now.date() - timedelta(days=1)
    first = since.date() if since else last - timedelta(days=_USUAL_DAYS - 1)
    _refuse_backwards(first, last)
    if is_gate and output_format != "html":
        raise SettingsError(
            f"--gate with --format {output_format}: this part is a page. Leave one of them out; "
            "the other formats hold its numbers in the table 'gate'."
        )
    with ledger_to_read(place) as ledger:
        asked = Asked(
            period=period_of_days(first, last),
            client=client,
            made_at=milliseconds(now),
            titles={card.id: card.title for card in ledger.knowledge.cards.values()},
        )
        made = make_report(ledger.engine, asked, _Progress().tell)
    if not made.knowledge:
        whose = "" if client is None else f" of the client {client!r}"
        click.echo(f"The ledger holds no call{whose} in this period.", err=True)
    text = _written(made, output_format, is_gate=is_gate, with_comments=with_comments)
    if output is None:
        click.echo(text.encode())
        return
    _write(output, text)
    click.echo(f"Wrote {output}.", err=True)


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise SettingsError(
            f"--output {output}: the file cannot be written ({error.strerror}). Name one in a "
            "folder that is there and that you may write."
        ) from None


def _refuse_odd_year(option: str, day: datetime | None) -> None:
    if day is not None and not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise SettingsError(
            f"{option} {day.date()}: the year is not one from {_FIRST_YEAR} to {_LAST_YEAR}. "
            "Correct it."
        )


def _refuse_backwards(first: date, last: date) -> None:
    if first > last:
        raise SettingsError(
            f"--since {first}, --until {last}: the first day is after the last. Swap them."
        )


def _written(made: Report, output_format: str, *, is_gate: bool, with_comments: bool) -> str:
    match output_format:
        case "csv":
            return as_csv(made)
        case "json":
            return as_json(made, with_comments=with_comments)
        case _:
            return as_page(made, with_comments=with_comments, is_gate=is_gate)


class _Progress:
    """Says how far the counting is, every two seconds, on standard error."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def tell(self, done: int, total: int) -> None:
        """Say it, if it was not said just now."""
        if time.monotonic() - self._said_at >= _QUIET_SECONDS:
            self._said_at = time.monotonic()
            click.echo(f"Counted {done:,} of {total:,} calls ...", err=True)
