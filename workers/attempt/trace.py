"""The spans of one attempt at a job: its wait before, its claim, its stages, and its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jobs.process.traces import Attributes, Traces
from jobs.table.claim import Claim
from jobs.table.record import JobRecord


class AttemptTrace:
    """Times are this machine's, but for the wait before, which has Redis'."""

    def __init__(self, traces: Traces, claim: Claim, began_s: float) -> None:
        self._traces = traces
        record = claim.record
        self._attempt = traces.begin(
            "attempt",
            parent=claim.traceparent,
            started_s=began_s,
            attributes={
                "imagemill.job_id": claim.job_id,
                "imagemill.kind": record.kind,
                "imagemill.model": getattr(claim.spec, "model", ""),
                "imagemill.epoch": claim.epoch,
                "imagemill.attempts_before": record.attempts,
            },
        )
        self._parent = self._attempt.traceparent
        if record.started_at is not None:
            wait = {"started_s": record.created_at, "ended_s": record.started_at}
            attributes: Attributes = {"imagemill.job_id": claim.job_id, "imagemill.queue": record.queue}
            traces.record("queue", parent=claim.traceparent or self._parent, attributes=attributes, **wait)
        traces.record("claim", parent=self._parent, started_s=began_s, ended_s=time.time())

    def stages(self, seconds: Mapping[str, float], attributes: Attributes | None = None) -> None:
        """Stages that follow each other, of which the last ends now."""
        ended_s = time.time()
        for stage, took_s in reversed(list(seconds.items())):
            self._traces.record(
                stage, parent=self._parent, started_s=ended_s - took_s, ended_s=ended_s, attributes=attributes
            )
            ended_s -= took_s

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """The end is being written down."""
        started_s = time.time()
        yield
        self._traces.record("finish", parent=self._parent, started_s=started_s, ended_s=time.time())

    def end(self, outcome: JobRecord | BaseException) -> None:
        """The attempt is over."""
        if isinstance(outcome, JobRecord):
            error = outcome.error.code if outcome.error else None
            self._attempt.end(time.time(), error=error, attributes={"imagemill.status": str(outcome.status)})
        else:
            self._attempt.end(time.time(), error=type(outcome).__name__)
