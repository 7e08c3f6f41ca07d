"""The whole evaluation of one chart on one day."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta

from msgspec.structs import replace

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key
from cds_service.evaluation.age import is_aged
from cds_service.evaluation.answers import Answer
from cds_service.evaluation.assessment import (
    Assessment,
    Finding,
    Indicator,
    Note,
    Outcome,
    Term,
    Verdict,
    Word,
)
from cds_service.evaluation.case import Case, build_case
from cds_service.evaluation.episode import Episode, Operation, find_episode
from cds_service.evaluation.limits import Limits, limits_on
from cds_service.evaluation.phenotypes import explain
from cds_service.evaluation.rules.catalog import (
    CARDS,
    DATA_DATE,
    DATA_PAIN,
    DATA_READ,
    RED_FLAGS,
    WORK_UP,
    Rule,
)
from cds_service.evaluation.rules.undated import (
    date_asked,
    disputed_findings,
    undated_findings,
)
from cds_service.evaluation.rules.weighing import is_met
from cds_service.evaluation.selection import is_red_flag, select
from cds_service.knowledge.model import Knowledge

AGE_UNKNOWN = "the full date of birth is not recorded"
_MILDER = {
    "RF-CES": ("RF-MOTOR", "RF-EDH", "RF-POUR"),
    "RF-MOTOR": ("RF-EDH",),
    "RF-INF": ("RF-INF-W",),
}
"""A red flag that one end of an interval gives, and the cards of its family that claim less."""
_RECENT = (
    "haematoma-day",
    "early-retention-until",
    "infection-sign-day",
    "csf-leak-day",
    "infection-day",
)
"""Up to which day after surgery a red flag may appear."""
_LONG_AGO = date(1900, 1, 1)
"""A stand-in for an unknown day of operation, before anything a chart records."""


def assess(chart: Chart, knowledge: Knowledge, as_of: date) -> Assessment:
    """Evaluate *chart* as of the end of the local calendar day *as_of*.

    Time:
        *as_of* itself counts; later entries must not be in the chart.

    Missing data:
        See each rule.  Whatever could not be read is named in ``unread``.
    """
    limits = limits_on(as_of, knowledge)
    unread = {
        key: chart.supply[key].reason or chart.supply[key].state.value
        for key in sorted(chart.failed_keys)
    }
    adult = is_aged(chart, limits, "age-adult")
    if chart.patient.is_deceased or adult.is_no:
        return Assessment(outcome=Outcome.NOT_APPLICABLE, as_of=as_of, unread=unread)
    episode = find_episode(chart, limits)
    if not episode.operations and not episode.is_date_unknown:
        return _without_operation(knowledge, as_of, chart, unread)
    if episode.is_date_unknown:
        return _with_unknown_date(chart, limits, episode, adult, unread)
    return _with_operation(chart, limits, episode, adult, unread)


def _without_operation(
    knowledge: Knowledge, as_of: date, chart: Chart, unread: Mapping[str, str]
) -> Assessment:
    """Return the answer for a chart without a lumbar operation.

    Missing data:
        Procedures not completely supplied: the operation may be among those not read.
    """
    findings: tuple[Finding, ...] = ()
    if not chart.supply_of(Key.PROCEDURES).is_complete:
        gap = _data_read(knowledge, unread)
        findings = select([gap], is_in_hospice=False, has_gaps=True)
    return Assessment(outcome=Outcome.NO_OPERATION, as_of=as_of, findings=findings, unread=unread)


def _with_unknown_date(
    chart: Chart,
    limits: Limits,
    episode: Episode,
    adult: Answer,
    unread: Mapping[str, str],
) -> Assessment:
    knowledge = limits.knowledge
    case = _undated_case(chart, limits, episode)
    findings = _by_age(undated_findings(case, episode), adult)
    if episode.possible:
        cases = _cases(chart, limits, episode.possible)
        findings |= _red_flags_of_possible_days(case, episode, cases, adult, shown=findings)
        case = replace(cases[0], is_date_unknown=True)
    for card in CARDS:
        if card not in findings and card != DATA_READ:
            findings[card] = Finding(
                card=card,
                row=knowledge.cards[card].row,
                verdict=Verdict.CANNOT_TELL,
                reasons=("the day of the operation is not known",),
            )
    unread = _with_age(unread, findings)
    return Assessment(
        outcome=Outcome.DATE_UNKNOWN,
        as_of=limits.as_of,
        findings=_selected(findings, case, unread),
        case=case,
        is_in_hospice=case.is_in_hospice,
        unread=unread,
    )


def _red_flags_of_possible_days(
    case: Case,
    episode: Episode,
    cases: Sequence[Case],
    adult: Answer,
    *,
    shown: Mapping[str, Finding],
) -> dict[str, Finding]:
    """Return the red flags where nobody knows which of several operations was the last.

    They appear as for one operation dated to a month or year: which was the last is never a reason
    to be silent about them.  What is *shown* whatever the day takes the place of what claims less.
    """
    tables = [_table(one, adult) for one in cases]
    merged = _agreed(*tables)
    severe = [card for card in _MILDER if is_met(shown, card)]
    outdone = {card for one in severe for card in _MILDER[one]}
    outdone.discard("RF-MOTOR")  # new weakness is told beside cauda equina syndrome
    flags = {card: merged[card] for card in RED_FLAGS if is_met(merged, card)}
    flags = {card: flag for card, flag in flags.items() if card not in outdone}
    disputed = _disputed(merged, [*tables, *_red_flags_between(cases, adult)])
    if disputed:
        flags |= _by_age(disputed_findings(case, episode, disputed), adult)
    return flags


def _undated_case(chart: Chart, limits: Limits, episode: Episode) -> Case:
    """Return the case of an operation whose day nobody knows."""
    stand_in = Operation(
        day=_LONG_AGO,
        first_day=_LONG_AGO,
        types=frozenset(),
        levels=frozenset(),
        sides=frozenset(),
        level_count=None,
        surgery_count=1,
        references=episode.history_references,
        stages=(),
    )
    case = build_case(chart, limits.knowledge, limits.as_of, stand_in, None)
    return replace(case, is_date_unknown=True)


def _with_operation(
    chart: Chart,
    limits: Limits,
    episode: Episode,
    adult: Answer,
    unread: Mapping[str, str],
) -> Assessment:
    cases = _cases(chart, limits, episode.operations)
    tables = [_table(case, adult) for case in cases]
    findings = tables[0]
    if len(tables) > 1:
        findings = _agreed(*tables)
        disputed = _disputed(findings, [*tables, *_red_flags_between(cases, adult)])
        undated = _undated_case(chart, limits, episode)
        if disputed:
            findings |= _by_age(disputed_findings(undated, episode, disputed), adult)
        elif not any(row.is_met for row in findings.values()):
            findings[DATA_DATE] = _day_wanted(findings[DATA_DATE], tables, undated, episode)
    case = cases[0]
    unread = _with_age(unread, findings)
    return Assessment(
        outcome=Outcome.EVALUATED,
        as_of=limits.as_of,
        findings=_selected(findings, case, unread),
        is_in_hospice=case.is_in_hospice,
        explanations=explain(case, findings),
        case=case,
        unread=unread,
    )


def _cases(chart: Chart, limits: Limits, operations: Sequence[Operation]) -> list[Case]:
    """Return the case of each possible day of the operation, the latest first."""
    days = [operation.dss(limits.as_of) for operation in operations]
    return [
        build_case(chart, limits.knowledge, limits.as_of, operation, other)
        for operation, other in zip(operations, [*days[1:], None], strict=True)
    ]


def _red_flags_between(cases: Sequence[Case], adult: Answer) -> Iterator[dict[str, Finding]]:
    """Yield the red flags of days between both ends on which one may appear that no end gives.

    A red flag asks for a sign after the operation, which an early day favours, and some ask for a
    recent operation: the days to look at are the first ones that are recent enough for each.
    """
    latest, earliest = cases
    limits = latest.limits
    for dss in sorted({limits.last_day(threshold) for threshold in _RECENT}):
        if latest.dss < dss < earliest.dss:
            day = limits.as_of - timedelta(days=dss)
            operation = replace(latest.operation, day=day, first_day=day)
            case = build_case(latest.chart, limits.knowledge, limits.as_of, operation, None)
            yield _findings(RED_FLAGS, case, adult)


def _findings(rules: Mapping[str, Rule], case: Case, adult: Answer) -> dict[str, Finding]:
    """Return the finding of each of *rules*, by card id."""
    findings: dict[str, Finding] = {}
    for card, rule in rules.items():
        finding = _evaluated(card, rule, case, findings)
        findings[card] = _of_age(finding, adult) if adult.is_unknown else finding
    return findings


def _table(case: Case, adult: Answer) -> dict[str, Finding]:
    """Return the finding of every row that needs an operation, by card id."""
    findings = _findings({**RED_FLAGS, **WORK_UP}, case, adult)
    findings[DATA_DATE] = Finding(
        card=DATA_DATE,
        row=case.limits.knowledge.cards[DATA_DATE].row,
        verdict=Verdict.NOT_MET,
        reasons=("the day of the operation is unknown",),
    )
    return findings


def _by_age(findings: Mapping[str, Finding], adult: Answer) -> dict[str, Finding]:
    return {card: _of_age(finding, adult) for card, finding in findings.items()}


def _of_age(finding: Finding, adult: Answer) -> Finding:
    """Return *finding* as it stands for a patient who may be a child.

    A red flag, and the question for the day on which one hangs, says that the age is not known; the
    rest cannot be told.
    """
    if not adult.is_unknown:
        return finding
    if is_red_flag(finding):
        if not finding.is_met:
            return finding
        return replace(finding, notes=(*finding.notes, Note(key="age-not-recorded")))
    return Finding(
        card=finding.card,
        row=finding.row,
        verdict=Verdict.CANNOT_TELL,
        reasons=(AGE_UNKNOWN,),
        unread=frozenset({Key.PATIENT}),
    )


def _with_age(unread: Mapping[str, str], findings: Mapping[str, Finding]) -> Mapping[str, str]:
    """Return *unread* with the patient, if a row cannot be told because of the age."""
    if any(Key.PATIENT in finding.unread for finding in findings.values()):
        return {**unread, Key.PATIENT: AGE_UNKNOWN}
    return unread


def _evaluated(card: str, rule: Rule, case: Case, findings: Mapping[str, Finding]) -> Finding:
    """Return the finding of one row; a rule with a fault loses only its own card."""
    try:
        return rule(case, findings)
    except Exception as fault:  # noqa: BLE001 - one faulty rule must not silence the others
        return Finding(
            card=card,
            row=case.limits.knowledge.cards[card].row,
            verdict=Verdict.CANNOT_TELL,
            reasons=(f"this rule has a fault ({type(fault).__name__}); please report it",),
            is_faulty=True,
        )


def _agreed(latest: Mapping[str, Finding], earliest: Mapping[str, Finding]) -> dict[str, Finding]:
    """Merge the tables of both ends of the operation's date: a row is met only if both agree."""
    merged = {}
    for card, finding in latest.items():
        other = earliest[card]
        if finding.verdict is other.verdict:
            merged[card] = replace(finding, words=_span(finding.words, other.words))
            continue
        merged[card] = Finding(
            card=card,
            row=finding.row,
            verdict=Verdict.CANNOT_TELL,
            reasons=("the operation is dated only to a month or year, and its days disagree",),
            unread=finding.unread | other.unread,
        )
    for severe, family in _MILDER.items():
        if not is_met(merged, severe):
            merged |= _milder(latest, earliest, severe, family)
    return merged


def _milder(
    latest: Mapping[str, Finding],
    earliest: Mapping[str, Finding],
    severe: str,
    family: Iterable[str],
) -> dict[str, Finding]:
    """Return the cards of *family* that one end gives where the other end gives *severe*."""
    milder = {}
    for table, counterpart in ((latest, earliest), (earliest, latest)):
        for card in family:
            if is_met(table, severe) and is_met(counterpart, card):
                finding = counterpart[card]
                days = {"dss": table[severe].words.get("dss", "")}
                milder[card] = replace(finding, words=_span(finding.words, days))
    return milder


def _disputed(
    merged: Mapping[str, Finding], tables: Collection[Mapping[str, Finding]]
) -> list[str]:
    """Return the red flags that only some days give, and for which no milder card is shown."""
    return [
        card
        for card in RED_FLAGS
        if any(is_met(table, card) for table in tables)
        and not any(is_met(merged, shown) for shown in (card, *_MILDER.get(card, ())))
    ]


def _day_wanted(
    unasked: Finding, tables: Iterable[Mapping[str, Finding]], case: Case, episode: Episode
) -> Finding:
    """Return whether the day decides if any card is shown at all; a reminder is no reason to ask.

    Missing data:
        A row that cannot be told might be shown for one end: cannot tell.
    """
    rows = [table[card] for table in tables for card in WORK_UP if card != DATA_PAIN]
    wanted = dict.fromkeys(row.card for row in rows if row.is_met)
    if wanted:
        return date_asked(case, episode, tuple(wanted))
    unread = frozenset[str]().union(*(row.unread for row in rows))
    return replace(unasked, verdict=Verdict.CANNOT_TELL, unread=unread) if unread else unasked


def _span(words: Mapping[str, Word], other: Mapping[str, Word]) -> dict[str, Word]:
    """Return words in which a number or day that differs between both ends becomes a span."""
    return {name: _between(word, other.get(name, word)) for name, word in words.items()}


def _between(word: Word, other: Word) -> Word:
    """Return two numbers, or two days, as one span from the lower to the higher."""
    if isinstance(word, int) and isinstance(other, int) and word != other:
        return f"{min(word, other)} to {max(word, other)}"
    if isinstance(word, date) and isinstance(other, date) and word != other:
        return f"{min(word, other)} to {max(word, other)}"
    return word


def _selected(
    findings: Mapping[str, Finding], case: Case, unread: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Return every row in order, marked whether it is part of the answer."""
    rows = [findings[card] for card in CARDS if card != DATA_READ]
    rows.append(_data_read(case.limits.knowledge, unread))
    return select(rows, is_in_hospice=case.is_in_hospice, has_gaps=bool(unread))


def _data_read(knowledge: Knowledge, unread: Mapping[str, str]) -> Finding:
    """Return the card that names what could not be read; the selection decides whether it shows."""
    keys = tuple(Term(kind="phrase", id=f"key-{key}") for key in unread)
    return Finding(
        card=DATA_READ,
        row=knowledge.cards[DATA_READ].row,
        verdict=Verdict.MET,
        indicator=Indicator.INFO,
        variant="default" if keys else "fault",
        words={"keys": keys} if keys else {},
        unread=frozenset(unread),
    )
