"""
Threads that everything hangs on: without renewed leases a worker's jobs run twice, without reports nobody sees them.

Such a thread survives whatever goes wrong in it. Where the same goes wrong again and again the worker stops in order,
and its parent starts another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

_PAUSE_S = 0.5
_MOST_BUGS = 20  # in a row; 10 s
_GOOD_RUN_S = 30.0  # after which a bug counts as the first one again


def run_vital(name: str, loop: Callable[[], None], stopping: threading.Event, give_up: Callable[[], None]) -> None:
    """
    Run a loop until it returns; after an exception that it does not expect, again.

    Args:
        give_up: Has the worker stop in order; called once, when the exceptions do not end.
    """
    bugs = 0
    while not stopping.is_set():
        began = time.monotonic()
        try:
            loop()
        except Exception:
            log.exception("bug in a vital thread; it continues", thread=name)
        else:
            return
        bugs = 1 if time.monotonic() - began > _GOOD_RUN_S else bugs + 1
        if bugs == _MOST_BUGS:
            log.error("stopping: a vital thread does not recover", thread=name)
            give_up()
        stopping.wait(_PAUSE_S)
