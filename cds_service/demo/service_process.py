"""The service as a child of the demo: it ends when the demo ends, however the demo ends.

The demo holds the other end of this process's standard input.  When the demo is gone, even killed
without a word, the pipe closes, and the service is stopped as by SIGTERM.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run the command ``cds-service`` with this process's arguments until the demo is gone."""
    threading.Thread(target=_stop_with_demo, name="watch-demo", daemon=True).start()
    runpy.run_module("cds_service", run_name="__main__", alter_sys=True)


def _stop_with_demo() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
