"""Sends the Celery messages of released jobs. A message means only: look at this job."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery

from jobs import names
from jobs.celery_app import PRIORITY_OF
from jobs.redis.connection import map_errors
from jobs.settings import Settings
from jobs.table import JobTable


class _NoResult:
    """In the place of Celery's, which makes a result backend, and takes longer."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id


class Dispatcher:
    """Publishes through one Celery app; safe to use from many threads."""

    def __init__(self, app: Celery, table: JobTable, settings: Settings) -> None:
        self._app = app
        self._table = table
        self._settings = settings

    def send(self, job_ids: Sequence[str]) -> None:
        """
        Send the messages of released jobs.

        Raises:
            RedisUnavailable: Some may not have been sent; they stay released, for the reconciler to send.
        """
        if not job_ids:
            return
        records = self._table.get_many(job_ids)
        with map_errors(self._settings), self._app.producer_or_acquire() as producer:
            for record in records:
                if record.spec is not None:
                    self._app.send_task(
                        names.RUN_TASK,
                        task_id=record.id,
                        queue=record.queue,
                        priority=PRIORITY_OF[record.spec.priority],
                        argsrepr=record.spec.summary(),
                        kwargsrepr="",
                        producer=producer,
                        ignore_result=True,
                        add_to_parent=False,  # Whoever awaits the task that this is sent from has no part in this job.
                        result_cls=_NoResult,  # type: ignore[arg-type]
                    )
