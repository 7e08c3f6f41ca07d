"""Who looks on while calls and feedback are kept: the metrics and the traces.

They look on after the ledger has kept a call, and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cds_service.hooks.feedback import FeedbackItem
from cds_service.ledger.records import CallRecord, KeptFeedback
from cds_service.ledger.snoozes import Snooze
from cds_service.trust.profile import ClientProfile
from cds_service.web.evaluation import CallLedger
from cds_service.web.metrics import Metrics
from cds_service.web.routes import FeedbackStore


@dataclass(frozen=True, slots=True)
class ObservedCalls:
    """A ledger of calls whose observer is told of each call."""

    ledger: CallLedger
    observe: Callable[[CallRecord], None]

    def keep(self, call: CallRecord, ended_snoozes: tuple[int, ...] = ()) -> None:
        """Keep *call* and tell the observer."""
        self.ledger.keep(call, ended_snoozes)
        self.observe(call)

    def snoozes(self, patient: str) -> tuple[Snooze, ...]:
        """Return what may hold cards of *patient* (a hash) back."""
        return self.ledger.snoozes(patient)

    def was_shown(self, card_uuid: str, since: datetime, before: datetime) -> bool:
        """Return whether this card was shown from *since* on and before *before*."""
        return self.ledger.was_shown(card_uuid, since, before)


@dataclass(frozen=True, slots=True)
class ObservedFeedback:
    """A store of feedback that is counted when it is safe."""

    store: FeedbackStore
    metrics: Metrics

    def keep(self, client: ClientProfile, items: tuple[FeedbackItem, ...]) -> KeptFeedback:
        """Keep *items* of one client, then count those that are new.

        Raises:
            OverloadedError: They could not be kept.
        """
        kept = self.store.keep(client, items)
        self.metrics.observe_feedback(client.id, kept.new)
        return kept
