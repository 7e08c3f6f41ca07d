"""What the evaluation concluded, and why: the value that cards, trace and tests read.

Everything here is plain data; ``cds_service.evaluation.assess`` builds it, rendering turns it into
cards.  Human words for terms, orders and notes live in ``cards/``; this module carries their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from cds_service.evaluation.answers import PassedOver
from cds_service.values import Side

if TYPE_CHECKING:  # a case imports nothing from here, but its rules do
    from cds_service.evaluation.case import Case


class Verdict(Enum):
    """What a rule answers."""

    MET = "met"
    NOT_MET = "not met"
    CANNOT_TELL = "cannot tell"


class Indicator(Enum):
    """How urgent a card is, in the words of CDS Hooks."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Outcome(Enum):
    """What kind of answer the whole assessment is."""

    EVALUATED = "evaluated"
    DATE_UNKNOWN = "operation certain, date unknown"
    NO_OPERATION = "no lumbar operation on record"
    NOT_APPLICABLE = "not applicable"
    """Deceased, or not an adult."""


class Term(Struct, frozen=True, kw_only=True):
    """An idea with words in ``cards/``: kind ``value-set`` (label of that set) or ``phrase``."""

    kind: str
    id: str


Word = int | Decimal | date | str | Term | tuple[Term, ...]
"""What may fill a placeholder.  A ``str`` is always ours, never chart text."""


class Note(Struct, frozen=True, kw_only=True):
    """A sentence of the card's template, by key, with what fills it.

    ``is_for_order``: whoever gets the order reads it too; with ``orders`` only who gets one of
    those.
    """

    key: str
    words: Mapping[str, Word] = {}
    is_for_order: bool = False
    orders: tuple[str, ...] = ()


class Evidence(Struct, frozen=True, kw_only=True):
    """A chart entry the finding rests on: its reference, what it is in our words, and its day.

    Units:
        ``value`` is in the unit of its concept; ``converted_from`` is what the chart says where
        that is another unit.  ``earlier`` are values before it, where the course matters.

    Time:
        ``day`` is None where the chart gives no day; ``written`` is the month or year it gives
        instead.
    """

    reference: str
    label: str
    day: date | None
    written: str | None = None
    value: Decimal | None = None
    converted_from: str | None = None
    earlier: tuple[tuple[date, Decimal], ...] = ()


class Proposal(Struct, frozen=True, kw_only=True):
    """One suggestion: one or more orders taken together.

    ``orders`` are ids in ``cards/orders``; ``priority`` is a FHIR request priority; ``occurrence``
    is the first useful day.  The proposals of a finding exclude each other when its
    ``is_either_or`` is true.
    """

    orders: tuple[str, ...]
    priority: str
    is_recommended: bool = False
    side: Side | None = None
    occurrence: date | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """The answer of one row of the decision table.

    ``held_by`` says in our words what held a triggered card back (already ordered, another card);
    such a finding is *not met*.  ``unread`` names the keys that could not be read and would have
    mattered; a *met* finding with ``is_order_withheld`` appears without its orders because of them.
    ``stands_alone``: a critical red flag, next to which only rows 1-9 are shown.
    ``is_shown``: part of the answer before any site option.
    """

    card: str
    row: int
    verdict: Verdict
    indicator: Indicator = Indicator.INFO
    variant: str = "default"
    words: Mapping[str, Word] = {}
    notes: tuple[Note, ...] = ()
    reasons: tuple[str, ...] = ()
    held_by: str | None = None
    unread: frozenset[str] = frozenset()
    is_order_withheld: bool = False
    stands_alone: bool = False
    is_shown: bool = False
    is_faulty: bool = False
    """Whether the rule itself failed; its card is lost, the others are not."""
    evidence: tuple[Evidence, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    """What would have held the card back, had it counted."""
    proposals: tuple[Proposal, ...] = ()
    is_either_or: bool = False
    reason_references: tuple[str, ...] = ()
    reason_code: str | None = None
    """Value set whose first code is the reason code when there is no reason reference."""

    @property
    def is_met(self) -> bool:
        """Whether the row is met."""
        return self.verdict is Verdict.MET


class Explanation(Struct, frozen=True, kw_only=True):
    """A likely explanation with its points and reasons (ids in ``cards/phenotypes``)."""

    phenotype: str
    points: int
    reasons: tuple[str, ...]
    is_only_by_exclusion: bool = False


class Assessment(Struct, frozen=True, kw_only=True):
    """The whole answer: every row of the table with its verdict, in order, and the case."""

    outcome: Outcome
    as_of: date
    findings: tuple[Finding, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    case: Case | None = None
    is_in_hospice: bool = False
    unread: Mapping[str, str] = {}
    """Keys that could not be read (wholly or in part) and why, in our words."""

    @property
    def shown(self) -> tuple[Finding, ...]:
        """Return the findings that become cards, in priority order."""
        return tuple(finding for finding in self.findings if finding.is_shown)
