"""Where log lines go: a descriptor that may be full, gone, or read by nobody for a while.

A log must never cost an answer.  A line that cannot be written is lost, and how many were is said
before the next one that can.
"""

from __future__ import annotations

import json
import os
import select
import stat
import threading

_LONGEST_WAIT_MILLISECONDS = 100
"""For a reader that is only slow; once a line is lost nobody waits until one can be written."""


class LogOutput:
    """Text to a descriptor, as a stream; safe for several threads, and never an error."""

    def __init__(self, descriptor: int) -> None:
        """Write to *descriptor*; a pipe or a socket is told never to let a writer wait."""
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._lost = 0
        self._is_torn = False
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether somebody sits before it."""
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """Write *text*, or count it as lost."""
        with self._lock:
            if self._put((self._notice() + text).encode("utf-8", "backslashreplace")):
                self._lost, self._is_torn = 0, False
            else:
                self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: what is written is not kept back."""

    def _notice(self) -> str:
        """Return what is to be said of lines that were lost; a half line before it is ended."""
        if not self._lost:
            return ""
        told = json.dumps({"lines": self._lost, "event": "log_lines_lost", "level": "error"})
        return ("\n" if self._is_torn else "") + told + "\n"

    def _put(self, data: bytes) -> bool:
        """Write *data*; return whether all of it could be written."""
        try:
            while data:
                if not self._has_room():
                    return False
                written = os.write(self._descriptor, data)
                data = data[written:]
                self._is_torn = bool(data)
        except OSError:
            return False
        return True

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0 if self._lost else _LONGEST_WAIT_MILLISECONDS))
