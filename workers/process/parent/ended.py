"""
What a worker's parent says of those of its processes that failed.

One that cannot start as it is configured is started no more. It stays in the list for as long as the parent lives, so
that a device which serves nothing is seen however long ago it failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from jobs.errors import RedisUnavailable
from jobs.fleet.fleet import FAILURE_SHOWN_S, Fleet, WorkerReport
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from workers.process.parent.failures import how_it_ended, note_failure
from workers.process.parent.supervise import EX_CONFIG, Command

log = structlog.get_logger()


class EndedProcesses:
    """
    Those of one parent; from any thread.

    Args:
        reports: What is known of each process before it starts.
        every_s: How often those that will not start are listed again, in seconds.
    """

    def __init__(
        self, settings: Settings, reports: Sequence[WorkerReport], every_s: float = FAILURE_SHOWN_S / 4
    ) -> None:
        self._settings = settings
        self._reports = {each.name: each for each in reports}
        self._every_s = every_s
        self._lock = threading.Lock()
        self._failed: dict[str, WorkerReport] = {}  # That will not start; guarded.
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._list_again_and_again, name="failures", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def note(self, command: Command, code: int) -> None:
        """A process crashed, or will not start as it is configured."""
        report, why = self._reports[command.name], how_it_ended(code)
        note_failure(self._settings, report, why)
        if code == EX_CONFIG:
            with self._lock:
                self._failed[report.name] = replace(report, state="failed", failure=why, failed_at=time.time())

    def forget(self) -> None:
        """Those that would not start are listed no more: their worker was stopped."""
        try:
            with self._lock, closing(connect(self._settings)) as client:
                for name in self._failed:
                    Fleet(client, self._settings).leave(name)
                self._failed.clear()
        except RedisUnavailable as exc:
            log.warning("failed workers not signed off", reason=str(exc))

    def _list_again_and_again(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                with self._lock, closing(connect(self._settings)) as client:
                    self._list(Fleet(client, self._settings))
            except RedisUnavailable as exc:
                log.warning("failed workers not reported", reason=str(exc))

    def _list(self, fleet: Fleet) -> None:
        for name in self._failed:
            said = fleet.find(name)
            if said and said.state == "failed":  # It may have said why itself.
                self._failed[name] = said
            fleet.report(self._failed[name], FAILURE_SHOWN_S)
