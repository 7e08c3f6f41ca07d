"""How many requests one FHIR server gets at a time; the others wait in the order they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock

from cds_service.fhir.side_by_side import Steps


class Slots:
    """So many at a time; safe for several threads."""

    def __init__(self, count: int) -> None:
        """Begin with *count* free ones."""
        self._lock = Lock()
        self._free = count
        self._waiting: deque[Future[None]] = deque()

    def taken(self) -> Steps[Slot]:
        """Wait for a slot; whoever got it must give it back."""
        slot = Slot(self._pass_on)
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return slot
            given: Future[None] = Future()
            self._waiting.append(given)
        try:
            yield given
        except BaseException:  # the deadline fell, or it cannot be waited for
            if not given.cancel():
                slot.give_back()  # it came too late
            raise
        return slot

    def _pass_on(self) -> None:
        with self._lock:
            while self._waiting:
                given = self._waiting.popleft()
                if given.set_running_or_notify_cancel():
                    given.set_result(None)
                    return
            self._free += 1


@dataclass(slots=True)
class Slot:
    """The right to one request."""

    _pass_on: Callable[[], None]
    _is_given_back: bool = False

    def give_back(self) -> None:
        """Let the next one have it; a second time does nothing."""
        if not self._is_given_back:
            self._is_given_back = True
            self._pass_on()
