"""
Whether jobs, and messages of others, still come into this worker.

Celery's remote `cancel_consumer`, which is a button of Flower's, has its consumer read a queue no more: for good, for a
lost connection does not bring it back. The worker lives on, and would look idle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from workers.delivery.adoption import Adoption
from workers.process.residency.lines import ReadLines

_STANDS_STILL_S = 60.0  # longer than a Redis that hangs keeps a look waiting


class Intake:
    """
    Of one worker.

    Args:
        queues: Whose jobs it takes, unless they are detached.
        lines: Knows of which an operator wants no jobs here.
    """

    def __init__(self, queues: Sequence[str], adoption: Adoption, lines: ReadLines) -> None:
        self._queues = queues
        self._adoption = adoption
        self._lines = lines

    def detached(self) -> tuple[str, ...]:
        """Queues whose lines an operator has had Celery's consumer leave out."""
        return tuple(filter(self._lines.is_left_out, self._queues))

    def adopts(self) -> bool:
        """Whether others' messages are still looked for."""
        return time.monotonic() - self._adoption.looked_at < _STANDS_STILL_S
