"""Sends the Celery messages of released jobs. A message means only: look at this job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery

from jobs import names
from jobs.broker.lines import Lines
from jobs.errors import ImagemillError
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.ranks import FIRST, LINE
from jobs.table.table import JobTable
from jobs.view import summary_of

log = structlog.get_logger()

_AT_A_TIME = 250  # Records of which Redis is asked at once.


class _NoResult:
    """In the place of Celery's, which makes a result backend, and takes longer."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id


class Dispatcher:
    """
    Publishes through one Celery app; safe to use from many threads.

    Attributes:
        lines: Where to.
        sent_events: Reports sent messages to Flower, instead of Celery's own, which does so one by one.
    """

    def __init__(self, app: Celery, table: JobTable, settings: Settings) -> None:
        self._app = app
        self._table = table
        self._settings = settings
        self.lines = Lines(table.fleet)
        self.sent_events: Any = None

    def offer(self, job_ids: Sequence[str]) -> None:
        """
        Send the messages of jobs that were released by something that is written by now.

        Never raises: a caller that gets an error would take what was written for undone and repeat it. What is released
        stays released, and the reconciler sends what is missing.
        """
        try:
            self.send(job_ids, are_new=True)
        except ImagemillError as exc:
            log.warning("released jobs have no message yet", job_ids=list(job_ids), reason=str(exc))
        except Exception:  # A bug of ours, or of kombu's, undoes as little of it.
            log.exception("bug: released jobs have no message yet", job_ids=list(job_ids))

    def send(self, job_ids: Sequence[str], *, are_new: bool = False) -> None:
        """
        Send the messages of released jobs; `are_new` where they were released just now, by this process.

        Raises:
            RedisUnavailable, RedisFull: Some may not have been sent; they stay released, for the reconciler to send.
        """
        for at in range(0, len(job_ids), _AT_A_TIME):
            self._send(job_ids[at : at + _AT_A_TIME], are_new)

    def _send(self, job_ids: Sequence[str], are_new: bool) -> None:
        noted = self._table.take_noted(job_ids)
        requested = [each for each in job_ids if not are_new or each not in noted]
        outgoing = [(record, False) for record in noted.values()] if are_new else []
        outgoing += self._table.outgoing(requested) if requested else []
        with map_errors(self._settings), self._app.producer_or_acquire() as producer:
            for record, is_called in outgoing:
                if summary := summary_of(record):
                    self._app.send_task(
                        names.RUN_TASK,
                        task_id=record.id,
                        queue=self.lines.of(record.queue),
                        priority=FIRST if is_called else LINE,
                        argsrepr=summary,
                        kwargsrepr="",
                        producer=producer,
                        event_dispatcher=self.sent_events,
                        ignore_result=True,
                        add_to_parent=False,  # The task that this is sent from has no part in this job.
                        result_cls=_NoResult,  # type: ignore[arg-type]
                    )
