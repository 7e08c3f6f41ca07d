"""The report as CSV and as JSON: the same numbers as on the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from cds_service.reporting.page import moment_text
from cds_service.reporting.reading import day_of
from cds_service.reporting.report import Report
from cds_service.reporting.table import Table, Value

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_HEADINGS = ("table", "id", "title", "number", "now", "before", "meaning")


def as_csv(report: Report) -> str:
    """Return one line for each number: table, subject, number, now, before.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_HEADINGS)
    for row in _rows(report):
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _rows(report: Report) -> Iterator[tuple[Value, ...]]:
    for name, value in _about(report).items():
        yield "report", name, "", "", value, None, ""
    for table in report.tables:
        for line in table.lines:
            for column in table.columns:
                now, before = line.now.get(column.id), line.before.get(column.id)
                yield table.id, line.id, line.title, column.id, now, before, column.meaning
    for theme, comments in report.comments.themes.items():
        yield "comments", theme, "", "count", len(comments), None, "comments under this theme"
    for lasting in report.alarms:
        alarm = lasting.alarm
        yield (
            "alarms",
            f"{alarm.client}/{alarm.watched.value}/{alarm.subject}",
            alarm.sentence,
            alarm.direction.value,
            alarm.seen,
            round(alarm.expected, 2),
            alarm.check,
        )


def _cell(value: Value) -> Value:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def as_json(report: Report, *, with_comments: bool) -> str:
    """Return the whole report; the comments themselves only *with_comments*."""
    document: dict[str, Any] = {
        **_about(report),
        "knowledge": [
            {"version": version, "digest": digest, "calls": count}
            for version, digest, count in report.knowledge
        ],
        "tables": {table.id: _table(table) for table in report.tables},
        "alarms": [
            {
                "client": lasting.alarm.client,
                "watched": lasting.alarm.watched.value,
                "subject": lasting.alarm.subject,
                "direction": lasting.alarm.direction.value,
                "seen": lasting.alarm.seen,
                "expected": round(lasting.alarm.expected, 2),
                "calls": lasting.alarm.calls,
                "firstDay": lasting.first_day.isoformat(),
                "lastDay": lasting.last_day.isoformat(),
                "sentence": lasting.alarm.sentence,
                "check": lasting.alarm.check,
            }
            for lasting in report.alarms
        ],
        "days": [
            {
                "day": day.day.isoformat(),
                "opens": day.opens,
                "errors": day.errors,
                "incomplete": day.incomplete,
                "shown": dict(day.shown),
                "cards": dict(day.cards),
            }
            for day in report.days
        ],
        "comments": {
            theme: [{"card": each.card, "comment": each.comment} for each in comments]
            if with_comments
            else len(comments)
            for theme, comments in report.comments.themes.items()
        },
    }
    return json.dumps(document, indent=2)


def _about(report: Report) -> dict[str, str]:
    return {
        "since": day_of(report.period.since).isoformat(),
        "until": day_of(report.period.until - 1).isoformat(),
        "client": report.client or "all",
        "madeAt": moment_text(report.made_at),
        "comparedWithTheirPast": ", ".join(report.compared) or "none",
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "note": table.note,
        "lines": [
            {
                "id": line.id,
                "title": line.title,
                "now": dict(line.now),
                "before": dict(line.before),
            }
            for line in table.lines
        ],
    }
