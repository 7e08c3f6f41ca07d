"""Numbness is judged by what was found last, and on which side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from cds_service.chart.facts import Chart, ConditionFact, ObservationFact
from cds_service.chart.supply import Key, State, Supply
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Finding, Verdict
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate, Side
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, Answered, chart_of
from tests.changing import replace

LATE = 400
OPERATED: Facts = {"day": LATE, "operation": "discectomy"}
SCANNED: Facts = {
    "day": 120,
    "operation": "discectomy",
    "leg": {-14: 8, 115: 7},
    "done": {"MRI": 60},
}
YES, NO, ABSENT, NORMAL = "answer-present", "answer-no", "answer-absent", "answer-normal"


def on(day: int, now: int = LATE) -> date:
    """Return the calendar day of *day* days since surgery."""
    return AS_OF + timedelta(days=day - now)


def examined(
    day: int, answer: str = YES, side: Side | None = None, now: int = LATE
) -> ObservationFact:
    """Return one examination for numbness of the leg."""
    return ObservationFact(
        reference=f"Observation/{day}-{answer}",
        concepts=frozenset({"sensory-deficit"}),
        effective=FhirDate.on(on(day, now)),
        choice=frozenset({answer}),
        side=side,
    )


def listed(day: int, side: Side | None = None, now: int = LATE) -> ConditionFact:
    """Return numbness on the problem list, recorded on *day*."""
    when = FhirDate.on(on(day, now))
    return ConditionFact(
        reference=f"Condition/{day}",
        concepts=frozenset({"sensory-deficit"}),
        is_active=True,
        onset=None,
        recorded=when,
        when=when,
        side=side,
    )


def chart(
    knowledge: Knowledge,
    facts: Facts,
    *entries: ObservationFact | ConditionFact,
    gaps: Sequence[str] = (),
) -> Chart:
    """Return the chart of *facts* with *entries* besides."""
    found = chart_of(facts, knowledge)
    observations = tuple(e for e in entries if isinstance(e, ObservationFact))
    conditions = tuple(e for e in entries if isinstance(e, ConditionFact))
    part = Supply(state=State.PARTIAL, reason="only some pages could be read")
    return replace(
        found,
        observations=(*found.observations, *observations),
        conditions=(*found.conditions, *conditions),
        supply={**found.supply, **dict.fromkeys(gaps, part)},
    )


def row(knowledge: Knowledge, found: Chart, card: str = "NEURO-PERM") -> Finding:
    """Return the answer of one row."""
    findings = assess(found, knowledge, AS_OF).findings
    return next(finding for finding in findings if finding.card == card)


@pytest.mark.parametrize("answer", [NO, ABSENT, NORMAL])
def test_numbness_that_the_last_examination_denies_is_not_called_lasting(
    knowledge: Knowledge, answer: str
) -> None:
    """Numb on days 50 and 370, not any more on day 380: no card on day 400."""
    seen = chart(knowledge, OPERATED, examined(50), examined(370), examined(380, answer))
    assert row(knowledge, seen).verdict is Verdict.NOT_MET


def test_numbness_denied_in_between_is_new_when_it_comes_back(knowledge: Knowledge) -> None:
    """Numb on day 50, not on day 200, numb again on day 370: it began on day 370."""
    seen = chart(knowledge, OPERATED, examined(50), examined(200, NO), examined(370))
    assert row(knowledge, seen).verdict is Verdict.NOT_MET


def test_numbness_of_the_problem_list_that_an_examination_finds_late_is_confirmed(
    knowledge: Knowledge,
) -> None:
    """On the problem list since day 50 and found on day 390: nobody has to confirm it first."""
    found = row(knowledge, chart(knowledge, OPERATED, listed(50), examined(390)))
    assert (found.verdict, found.variant) == (Verdict.MET, "default")
    assert {entry.reference for entry in found.evidence} == {
        "Condition/50",
        "Observation/390-answer-present",
    }


@pytest.mark.parametrize(("recorded", "variant"), [(366, "default"), (365, "problem-list")])
def test_numbness_written_down_late_with_its_early_onset_is_confirmed(
    knowledge: Knowledge, recorded: int, variant: str
) -> None:
    """Since day 50, says an entry of after the first year: nobody has to confirm it first."""
    since = FhirDate.on(on(50))
    entry = replace(listed(recorded), onset=since, when=since)
    assert row(knowledge, chart(knowledge, OPERATED, entry)).variant == variant


def test_numbness_seen_early_and_put_on_the_problem_list_late_is_lasting(
    knowledge: Knowledge,
) -> None:
    """Found on day 50, recorded as a problem on day 380: early, and still active."""
    found = row(knowledge, chart(knowledge, OPERATED, examined(50), listed(380)))
    assert (found.verdict, found.variant) == (Verdict.MET, "default")
    denied = chart(knowledge, OPERATED, examined(50), examined(150, NO), listed(380))
    assert row(knowledge, denied).verdict is Verdict.NOT_MET


def test_examination_that_denies_the_problem_list_is_said_on_the_card(
    knowledge: Knowledge,
) -> None:
    """The entry of day 50 still stands; that nothing was found on day 390 is not kept quiet."""
    seen = chart(knowledge, OPERATED, listed(50), examined(390, ABSENT))
    assert row(knowledge, seen).variant == "problem-list"
    card = Answered(assess(seen, knowledge, AS_OF), knowledge).card("NEURO-PERM")
    assert "on problem list" in str(card["summary"])
    assert f"examination of {on(390)} found none" in str(card["detail"])


def test_examination_that_denies_an_entry_of_last_month_unconfirms_it(
    knowledge: Knowledge,
) -> None:
    """Recorded on day 380, not found on day 390: to be confirmed; recorded again after it: not."""
    denied = (listed(50), listed(380), examined(390, NO))
    assert row(knowledge, chart(knowledge, OPERATED, *denied)).variant == "problem-list"
    again = row(knowledge, chart(knowledge, OPERATED, *denied, listed(395)))
    assert again.variant == "default"
    assert again.notes == ()


def test_problem_recorded_after_an_examination_denied_it_stands(knowledge: Knowledge) -> None:
    """With onset on day 50 and recorded on day 380, an examination of day 380 denies nothing."""
    problem = replace(listed(50), onset=listed(50).recorded, recorded=listed(380).recorded)
    same_day = row(knowledge, chart(knowledge, OPERATED, problem, examined(380, NO)))
    later = row(knowledge, chart(knowledge, OPERATED, problem, examined(381, NO)))
    assert [note.key for note in same_day.notes] == []
    assert [note.key for note in later.notes] == ["denied"]


def test_one_leg_without_numbness_says_nothing_of_the_other(knowledge: Knowledge) -> None:
    """The right leg is numb on days 50 and 370; the left one is not on day 380."""
    right = (examined(50, side=Side.RIGHT), examined(370, side=Side.RIGHT))
    left = examined(380, NO, side=Side.LEFT)
    assert row(knowledge, chart(knowledge, OPERATED, *right, left)).is_met
    both = examined(381, NO, side=Side.BOTH)
    assert not row(knowledge, chart(knowledge, OPERATED, *right, both)).is_met


def test_early_numbness_of_one_leg_is_not_lasting_because_the_other_is_numb(
    knowledge: Knowledge,
) -> None:
    """The left leg was numb on day 50, the right one is on day 370."""
    seen = (examined(50, side=Side.LEFT), examined(370, side=Side.RIGHT))
    assert row(knowledge, chart(knowledge, OPERATED, *seen)).verdict is Verdict.NOT_MET


def test_numbness_whose_side_is_not_said_may_be_that_of_either_leg(knowledge: Knowledge) -> None:
    """The left leg was numb on day 50; on day 370 numbness is found, nobody wrote where."""
    early, late = examined(50, side=Side.LEFT), examined(370)
    found = row(knowledge, chart(knowledge, OPERATED, early, late))
    assert found.is_met
    assert [entry.reference for entry in found.evidence] == [early.reference, late.reference]
    assert row(knowledge, chart(knowledge, OPERATED, late)).verdict is Verdict.NOT_MET


def test_entry_recorded_on_the_day_of_a_denial_is_not_denied(knowledge: Knowledge) -> None:
    """Nobody knows which came first that day; from the next day on the examination counts."""
    for day, notes in ((390, 0), (391, 1)):
        seen = chart(knowledge, OPERATED, listed(50), listed(390), examined(day, NO))
        assert len(row(knowledge, seen).notes) == notes


def test_denial_of_the_same_day_or_of_an_unknown_day_ends_nothing(knowledge: Knowledge) -> None:
    """Of two answers of one day the finding counts, and a denial without a day is not the last."""
    seen = (examined(50), examined(380))
    month = FhirDate(earliest=on(370), latest=on(399))
    for denial in (
        examined(380, NO),
        replace(examined(390, NO), effective=None),
        replace(examined(390, NO), effective=month),
    ):
        assert row(knowledge, chart(knowledge, OPERATED, *seen, denial)).is_met


def test_whether_numbness_lasts_cannot_be_told_from_some_of_the_findings(
    knowledge: Knowledge,
) -> None:
    """A later denial may be among what was not read; a problem-list entry stands by itself."""
    part = [Key.FINDINGS]
    seen = chart(knowledge, OPERATED, examined(50), examined(370), gaps=part)
    assert row(knowledge, seen).verdict is Verdict.CANNOT_TELL
    assert row(knowledge, chart(knowledge, OPERATED, listed(50), gaps=part)).is_met


def test_emg_for_numbness_needs_numbness_that_the_last_examination_found(
    knowledge: Knowledge,
) -> None:
    """Leg pain with an MRI and numbness on day 100: EMG; not when it was gone on day 110."""
    numb, gone = examined(100, now=120), examined(110, ABSENT, now=120)
    assert row(knowledge, chart(knowledge, SCANNED, numb), "EMG-RAD").is_met
    ended = chart(knowledge, SCANNED, numb, gone)
    assert row(knowledge, ended, "EMG-RAD").verdict is Verdict.NOT_MET


def test_emg_card_says_that_an_examination_denies_the_problem_list(knowledge: Knowledge) -> None:
    """Numbness on the problem list since day 100, none found on day 110."""
    entries = (listed(100, now=120), examined(110, NO, now=120))
    seen = chart(knowledge, SCANNED, *entries)
    card = Answered(assess(seen, knowledge, AS_OF), knowledge).card("EMG-RAD")
    assert f"examination of {on(110, 120)} found none" in str(card["detail"])
    again = chart(knowledge, SCANNED, *entries, listed(115, now=120))
    card = Answered(assess(again, knowledge, AS_OF), knowledge).card("EMG-RAD")
    assert "found none" not in str(card["detail"])
