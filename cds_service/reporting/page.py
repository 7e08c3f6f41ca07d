"""The report as one self-contained page for a committee: light and dark, on paper, without script.

Everything printed is escaped; nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cds_service.reporting import plots
from cds_service.reporting.comments import Triage
from cds_service.reporting.reading import day_of
from cds_service.reporting.report import Day, Report
from cds_service.reporting.table import Line, Value

_URGENCIES = ("critical", "warning", "info")
_MOST_CARDS = 40
_MOST_COMMENTS = 100
"""Comments printed of each theme; JSON has them all."""
_TILES = (
    ("opens", "", "Chart opens", None),
    ("opens-with-card-share", "%", "of chart opens showed a card", None),
    ("shown-rate", "", "cards shown per 100 chart opens", None),
    ("accepted-share", "%", "of cards were accepted", "up"),
    ("overridden-share", "%", "of cards were overridden", None),
    ("unanswered-share", "%", "of cards got no answer", None),
    ("incomplete-share", "%", "of charts could not be read wholly", "down"),
    ("errors-share", "%", "of calls ended in an error", "down"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRow:
    """One card on the page: its line of the table, and its drawings."""

    line: Line
    trend: Markup
    answers: Markup
    length: Markup
    reason: str | None


def moment_text(moment: int) -> str:
    """Return a moment in milliseconds since 1970 as people read it, in UTC."""
    return f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def day_text(day: date) -> str:
    """Return a day as people write it: "3 November 2026"."""
    return f"{day.day} {day:%B %Y}"


def number_text(value: Value, *, suffix: str = "") -> str:
    """Return a number with its thousands apart; a dash where there is none."""
    match value:
        case None:
            return "–"  # noqa: RUF001 - a dash for people
        case str():
            return value
        case int():
            return f"{value:,}{suffix}"
        case float():
            return f"{value:,.1f}{suffix}"


def as_page(report: Report, *, with_comments: bool, is_gate: bool = False) -> str:
    """Return the page; the comments themselves only *with_comments*; *is_gate*: only that part."""
    overview = {line.id: line for line in report.table("overview").lines}
    template = _environment().get_template("gate.html" if is_gate else "report.html")
    return template.render(
        report=report,
        not_compared=[
            line.id for line in report.table("clients").lines if line.id not in report.compared
        ],
        first=report.period.days[0],
        last=report.period.days[-1],
        before_first=report.period.before.days[0],
        before_last=report.period.before.days[-1],
        overview=overview,
        tiles=[(overview[name], suffix, text) for name, suffix, text, _ in _TILES],
        plots=_plots(report.days),
        cards=_card_rows(report),
        tables={table.id: table for table in report.tables},
        comments=_shown_comments(report.comments, with_comments=with_comments),
        comment_counts={theme: len(each) for theme, each in report.comments.themes.items()},
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cds_service.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number_text, day=day_text, moment=moment_text, day_of=day_of)
    return environment


def _plots(days: tuple[Day, ...]) -> Mapping[str, Markup]:
    dates = [day.day for day in days]
    return {
        "opens": plots.Columns(
            title="Chart opens",
            days=dates,
            parts={"opens": [day.opens for day in days]},
            unit="chart opens",
        ).svg(),
        "shown": plots.Columns(
            title="Cards shown per 100 chart opens",
            days=dates,
            parts={
                urgency: [_per_100(day.shown.get(urgency, 0), day.opens) for day in days]
                for urgency in _URGENCIES
            },
            unit="cards",
        ).svg(),
        "incomplete": plots.Columns(
            title="Charts that could not be read wholly, in 100 chart opens",
            days=dates,
            parts={"incomplete": [_per_100(day.incomplete, day.opens) for day in days]},
            unit="charts",
        ).svg(),
    }


def _per_100(count: int, whole: int) -> float:
    return 100 * count / whole if whole else 0.0


def _card_rows(report: Report) -> list[CardRow]:
    lines = [line for line in report.table("cards").lines if line.now["met"] or line.before["met"]]
    longest = max((_number(line.now["rate"]) for line in lines), default=0.0)
    return [_card_row(line, report, longest) for line in lines[:_MOST_CARDS]]


def _card_row(line: Line, report: Report, longest: float) -> CardRow:
    values = [_per_100(day.cards.get(line.id, 0), day.opens) for day in report.days]
    now = {name: int(_number(line.now[name])) for name in ("accepted", "overridden", "unanswered")}
    names = {"accepted": "accepted", "overridden": "overridden", "unanswered": "none"}
    parts = {names[name]: count for name, count in now.items()}
    words = (
        f"{now['accepted']:,} accepted, {now['overridden']:,} overridden, "
        f"{now['unanswered']:,} without an answer"
    )
    reasons = [
        each.title.partition(": ")[2]
        for each in report.table("override-reasons").lines
        if each.id.startswith(f"{line.id}/") and each.now["count"]
    ]
    return CardRow(
        line=line,
        trend=plots.trend(
            values, f"per 100 chart opens each day, from {min(values):.1f} to {max(values):.1f}"
        ),
        answers=plots.shares(parts, words),
        length=plots.length(_number(line.now["rate"]), longest),
        reason=reasons[0] if reasons else None,
    )


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _shown_comments(triage: Triage, *, with_comments: bool) -> Mapping[str, list[tuple[str, str]]]:
    """Return theme to card and text of each comment; none without leave."""
    if not with_comments:
        return {}
    return {
        theme: [(each.card, each.comment or "") for each in comments[:_MOST_COMMENTS]]
        for theme, comments in triage.themes.items()
        if comments
    }
