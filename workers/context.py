"""What everything in one worker process shares."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from jobs.catalogue import Catalogue
from jobs.dispatch import Dispatcher
from jobs.errors import RedisUnavailable
from jobs.table import JobTable
from storage.s3 import ImageStore
from workers.models import LoadedModel

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Made once, when the process starts."""

    catalogue: Catalogue
    table: JobTable
    dispatcher: Dispatcher
    store: ImageStore
    models: dict[str, LoadedModel]

    def pass_on(self, released: list[str]) -> None:
        """Send the messages of jobs that were released in turn. A failure is nobody's here: they stay released."""
        try:
            self.dispatcher.send(released)
        except RedisUnavailable as exc:
            log.warning("released jobs have no message yet", job_ids=released, reason=str(exc))
