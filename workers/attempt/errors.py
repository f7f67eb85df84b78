"""
What ends an attempt, beside what goes wrong in the engine (`workers/engine/errors.py`): reasons for a job to leave it.

    RunEnded
    ├── JobLeft    somebody wants it to end: canceled, or its deadline passed
    └── Draining   nothing is wrong with the job; this worker stops, and gives it back
        └── ModelGone   its model has made room for another one here
"""

from __future__ import annotations

from jobs.table.states import Status
from workers.engine.errors import RunEnded


class JobLeft(RunEnded):
    """The job is to end as `status`, canceled or expired."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = status


class Draining(RunEnded):
    """The worker stops before the job is done."""


class ModelGone(Draining):
    """The model of the job does not lie on this worker's device any more."""
