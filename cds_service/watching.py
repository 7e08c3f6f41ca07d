"""Who looks on while the service works, put together: nothing here changes an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from flask import Flask
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from cds_service.fhir.gateway import Gateway
from cds_service.fhir.metrics import PullMetrics, PullRecord
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.database import LedgerLostError
from cds_service.ledger.keeping import Ledger
from cds_service.ledger.place import AT_LEISURE, ledger_place
from cds_service.ledger.records import CallRecord, milliseconds
from cds_service.reporting.explaining import ExplainedCall, explained
from cds_service.reporting.watching import Watch
from cds_service.settings import Settings
from cds_service.trust.config import ConfigSource
from cds_service.web.access import FrontDesk
from cds_service.web.figures import (
    ExplainParts,
    MetricsParts,
    register_explain,
    register_metrics,
)
from cds_service.web.metrics import Metrics, Numbers, States
from cds_service.web.observing import ObservedCalls, ObservedFeedback
from cds_service.web.shared_metrics import METRICS_FOLDER, SharedMetrics
from cds_service.web.tracing import tracing_to


class Watching:
    """The metrics, the traces, the alarms and the explanations of one worker process."""

    def __init__(
        self, settings: Settings, config: ConfigSource, knowledge: Knowledge, ledger: Ledger
    ) -> None:
        self._config = config
        self._knowledge = knowledge
        self._ledger = ledger
        self._is_open = settings.is_dev or config.current().service.is_demo
        self._place = ledger_place(
            config.current().ledger, settings.state_dir, settings.ledger_password
        )
        self.counts = Metrics(knowledge.cards)
        self.shared = SharedMetrics(self.counts.registry, settings.state_dir / METRICS_FOLDER)
        self._pulls = PullMetrics()
        endpoint = config.current().figures.otlp_endpoint
        self._tracing = None if endpoint is None else tracing_to(endpoint)
        self.gateway = Gateway(knowledge, ledger.monotonic, observer=self._observe_pull)
        self.calls = ObservedCalls(ledger.calls, self._observe_call)
        self.feedback = ObservedFeedback(ledger.feedback, self.counts)

    def register(self, app: Flask, desk: FrontDesk, clock: Callable[[], datetime]) -> None:
        """Add the addresses for those who watch to *app*."""
        config = self._config
        states = States(
            pulls=self._pulls.totals,
            paused_servers=self.gateway.paused_servers,
            ledger=lambda: self._ledger.status,
            is_replay_store_lost=lambda: desk.is_replay_store_lost,
        )
        self.counts.registry.register(Numbers(states.numbers))
        alarms = Watch(self._reading)
        register_metrics(
            app,
            MetricsParts(
                counts=self.counts,
                shared=self.shared.numbers,
                knowledge=self._knowledge,
                alarms=lambda: () if self._is_new else alarms.alarms(milliseconds(clock())),
                token=lambda: config.current().figures.metrics_token,
                port=config.current().figures.metrics_port,
                is_open=self._is_open,
            ),
        )
        register_explain(
            app,
            ExplainParts(
                calls=self._explained,
                token=lambda: config.current().figures.explain_token,
                is_open=self._is_open,
            ),
        )

    def _observe_call(self, call: CallRecord) -> None:
        self.counts.observe_call(call)
        if self._tracing is not None:
            self._tracing.observe_call(call)

    def _observe_pull(self, pull: PullRecord) -> None:
        self._pulls.observe(pull)
        if self._tracing is not None:
            self._tracing.observe_pull(pull)

    def _explained(self, hook_instance: str) -> tuple[ExplainedCall, ...]:
        if self._is_new:
            return ()
        with self._reading() as connection:
            return explained(connection, hook_instance, self._knowledge)

    @property
    def _is_new(self) -> bool:
        """Whether nothing was recorded yet; reading would make an empty file."""
        return self._place.file is not None and not self._place.file.is_file()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Open the ledger for one reading; a file that was replaced meanwhile is noticed so.

        Raises:
            LedgerLostError: It cannot be read.
        """
        self._ledger.calls.require_reading()
        engine = self._place.reader(AT_LEISURE)
        try:
            with engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise LedgerLostError from error
        finally:
            engine.dispose()
