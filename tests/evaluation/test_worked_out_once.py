"""What rows ask for is worked out at most once, and only when a row needs it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec import Struct

from cds_service.evaluation.answers import NO, YES, Answer
from cds_service.evaluation.assessment import Verdict
from cds_service.evaluation.case import Case, build_case
from cds_service.evaluation.episode import find_episode
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.pain import Driver, read_pain
from cds_service.evaluation.rules.weighing import Named, weigh
from cds_service.knowledge.model import Knowledge
from cds_service.values import lazy
from cds_service.vignettes.running import AS_OF, chart_of
from tests.changing import replace

UNKNOWN = Answer(None, frozenset({"scores"}))


class _Walk(Struct, frozen=True, dict=True):
    steps: int
    counted: list[int]

    @lazy
    def metres(self) -> int | None:
        """Return nothing for a walk of no steps."""
        self.counted.append(self.steps)
        return self.steps or None


@pytest.fixture
def case(knowledge: Knowledge) -> Case:
    """Return a patient ten days after a discectomy."""
    chart = chart_of({"day": 10, "operation": "discectomy"}, knowledge)
    operation = find_episode(chart, Limits(knowledge, AS_OF)).operations[0]
    return build_case(chart, knowledge, AS_OF, operation, None)


@pytest.mark.parametrize("steps", [7, 0])
def test_fact_is_worked_out_once_even_if_it_is_nothing(steps: int) -> None:
    """A fact that many rows ask for is found once; a copy of the case finds its own."""
    walk = _Walk(steps, [])
    assert [walk.metres, walk.metres] == [steps or None] * 2
    assert walk.counted == [steps]
    assert replace(walk, steps=3).metres == 3


@pytest.mark.parametrize(("requires", "is_asked"), [(YES, True), (UNKNOWN, True), (NO, False)])
def test_row_that_is_denied_asks_for_nothing_that_would_hold_it_back(
    case: Case, *, requires: Answer, is_asked: bool
) -> None:
    """A patient who does not have the problem of a card is not searched for orders against it."""
    asked = []

    def holds() -> list[Named]:
        asked.append("orders")
        return [("already ordered", NO)]

    weigh("SMOKE", case, [("current smoker", requires), ("pain", YES)], holds)
    assert bool(asked) is is_asked


@pytest.mark.parametrize(
    ("requires", "hold", "verdict", "reasons"),
    [
        (YES, NO, Verdict.MET, ("current smoker",)),
        (YES, UNKNOWN, Verdict.MET, ("current smoker", "could not check: already ordered")),
        (YES, YES, Verdict.NOT_MET, ("current smoker",)),
        (UNKNOWN, YES, Verdict.NOT_MET, ("held back: already ordered",)),
        (UNKNOWN, NO, Verdict.CANNOT_TELL, ("current smoker",)),
        (NO, YES, Verdict.NOT_MET, ("current smoker",)),
    ],
)
def test_row_says_what_decided_it(
    case: Case, *, requires: Answer, hold: Answer, verdict: Verdict, reasons: tuple[str, ...]
) -> None:
    """What denies a row, what holds it back and what could not be checked are told apart."""
    finding = weigh(
        "SMOKE", case, [("current smoker", requires)], lambda: [("already ordered", hold)]
    )
    assert (finding.verdict, finding.reasons) == (verdict, reasons)
    assert finding.held_by == ("already ordered" if requires.is_yes and hold.is_yes else None)
    assert finding.is_order_withheld == (requires.is_yes and hold.is_unknown)


@pytest.mark.parametrize("days", [200, 800])
def test_score_of_a_diary_is_compared_a_few_times_however_long_the_diary(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Pain low for half of a diary, then back: nine thousand scores took six seconds."""
    half = days // 2
    leg = {-25: 8} | dict.fromkeys(range(1, half), 2) | dict.fromkeys(range(half, days), 7)
    chart = chart_of({"day": days, "operation": "discectomy", "leg": leg}, knowledge)
    limits, compared = Limits(knowledge, AS_OF), []
    operation = find_episode(chart, limits).operations[0]
    met = Limits.met

    def counted(self: Limits, threshold: str, value: Decimal | int) -> bool:
        compared.append(threshold)
        return met(self, threshold, value)

    monkeypatch.setattr(Limits, "met", counted)
    assert read_pain(chart, operation, limits).sites[Driver.LEG].onset == half
    assert len(compared) < 20 * days
