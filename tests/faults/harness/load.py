"""Jobs that keep coming while a test hurts what runs them."""

from __future__ import annotations

import time

from producer import Job
from tests.faults.harness.system import System
from tests.faults.harness.waiting import until


class Load:
    """
    Keeps so many jobs under way that a random moment finds some in each stage.

    Attributes:
        jobs: All that were submitted.
    """

    def __init__(self, system: System, in_flight: int) -> None:
        self._system = system
        self._in_flight = in_flight
        self.jobs: list[Job] = []

    def top_up(self) -> bool:
        """Submit what is missing; true, for conditions that are waited for meanwhile."""
        counts = self._system.counts_of_queue() if self.jobs else None
        under_way = counts.waiting + counts.released + counts.running if counts else 0
        self.jobs += self._system.submit(max(0, self._in_flight - under_way), steps=10)
        self._system.watch(self.jobs)  # What is lost is looked for by stage.
        return True

    def keep_up_until(self, moment: float) -> None:
        """Until a moment of `time.monotonic`."""
        until("the moment has come", lambda: self.top_up() and time.monotonic() >= moment)
