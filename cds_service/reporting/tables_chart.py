"""The tables about what was read and how: missing parts, codes, errors, time."""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.reporting.table import (
    Line,
    Table,
    Value,
    columns,
    counted_lines,
    percentile,
    share,
)
from cds_service.reporting.tally import Tally

_MOST_CODES = 40
"""Rows of the table of codes nobody mapped."""


def unread(now: Tally, before: Tally) -> Table:
    """Return which parts of charts could not be read."""

    def numbers(tally: Tally, key: str) -> dict[str, Value]:
        whys = [(-n, why) for (each, why), n in tally.unread_why.items() if each == key]
        return {
            "count": tally.unread[key],
            "share": share(tally.unread[key], tally.opens),
            "why": min(whys)[1] if whys else None,
        }

    keys = {*now.unread, *before.unread}
    return Table(
        id="unread",
        title="Parts of charts that could not be read",
        subject="Part (prefetch key)",
        note="Chart opens in which the part was missing or cut short; shares in 100 chart opens.",
        columns=columns(
            ("count", "Chart opens", "chart opens without the whole part"),
            ("share", "in 100", "in 100 chart opens"),
            ("why", "Most frequent reason", ""),
        ),
        lines=counted_lines(keys, now, before, numbers, lambda tally, key: tally.unread[key]),
    )


def set_aside(now: Tally, before: Tally) -> Table:
    """Return why entries of charts were not used."""

    def numbers(tally: Tally, reason: str) -> dict[str, Value]:
        count = tally.set_aside[reason]
        return {"count": count, "rate": share(count, tally.opens)}

    return Table(
        id="set-aside",
        title="Entries of charts that were not used",
        subject="Reason",
        note="Single entries (a score, a report) that were set aside; rates per 100 chart opens.",
        columns=columns(
            ("count", "Entries", "entries not used"),
            ("rate", "per 100 opens", "entries in 100 chart opens"),
        ),
        lines=counted_lines(
            {*now.set_aside, *before.set_aside},
            now,
            before,
            numbers,
            lambda tally, reason: tally.set_aside[reason],
        ),
    )


def unmapped(now: Tally, before: Tally) -> Table:
    """Return the codes no value set knows."""

    def numbers(tally: Tally, code: str) -> dict[str, Value]:
        count = tally.unmapped[code]
        return {"count": count, "share": share(count, tally.opens)}

    frequent = dict(now.unmapped.most_common(_MOST_CODES))
    return Table(
        id="unmapped",
        title="Codes that mean nothing to the service",
        subject="Code system and code",
        note=f"Chart opens in which the code came; the {_MOST_CODES} most frequent. "
        "A local code of the site here may need a place in its own value sets.",
        columns=columns(
            ("count", "Chart opens", "chart opens with this code"),
            ("share", "in 100", "in 100 chart opens"),
        ),
        lines=counted_lines(
            frequent, now, before, numbers, lambda tally, code: tally.unmapped[code]
        ),
    )


def errors(now: Tally, before: Tally) -> Table:
    """Return the errors by kind."""

    def numbers(tally: Tally, kind: str) -> dict[str, Value]:
        count = tally.errors[kind] + tally.faulty_rules[kind]
        return {"count": count, "share": share(count, tally.calls)}

    kinds = {*now.errors, *before.errors, *now.faulty_rules, *before.faulty_rules}
    return Table(
        id="errors",
        title="Errors",
        subject="Kind, or rule that failed",
        note="Calls that ended in an error, and rules that failed in an answered call; in 100 "
        "calls. Refused tokens and overload are counted in the metrics only.",
        columns=columns(
            ("count", "Calls", "calls with this error"),
            ("share", "in 100", "in 100 calls"),
        ),
        lines=counted_lines(
            kinds,
            now,
            before,
            numbers,
            lambda tally, kind: tally.errors[kind] + tally.faulty_rules[kind],
        ),
    )


_PERCENTS = (50, 90, 95, 99)


def speed(now: Tally, before: Tally) -> Table:
    """Return how long calls and their steps took."""

    def numbers(values: Sequence[float]) -> dict[str, Value]:
        found: dict[str, Value] = {f"p{each}": percentile(values, each) for each in _PERCENTS}
        return {**found, "most": round(max(values), 2) if values else None}

    def line(name: str, title: str, values: Sequence[float], older: Sequence[float]) -> Line:
        return Line(id=name, title=title, now=numbers(values), before=numbers(older))

    steps = [*now.steps_ms, *(step for step in before.steps_ms if step not in now.steps_ms)]
    return Table(
        id="speed",
        title="Milliseconds a call took",
        subject="Step",
        note="95 of 100 calls took no longer than the column 95 says.",
        columns=columns(
            *((f"p{each}", f"{each} in 100", "milliseconds") for each in _PERCENTS),
            ("most", "longest", "milliseconds"),
        ),
        lines=(
            line("total", "The whole call", now.total_ms, before.total_ms),
            *(
                line(step, step, now.steps_ms.get(step, ()), before.steps_ms.get(step, ()))
                for step in steps
            ),
        ),
    )
