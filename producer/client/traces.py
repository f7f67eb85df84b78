"""The first span of a job's trace: its submission."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace

from cachetools import FIFOCache

from jobs.envelope import Envelope
from jobs.process.settings import Settings
from jobs.process.traces import Attributes, Span, open_traces, valid_traceparent
from jobs.table.submission import Submission, Submitted

_MOST_OPEN = 10_000  # Of many that are prepared at once, the first lose their span; their jobs keep its trace.


class SubmitTraces:
    """Spans of submissions that are prepared and not yet written. Keeps none where traces are off."""

    def __init__(self, settings: Settings) -> None:
        self._traces = open_traces(settings, "imagemill-producer")
        self._lock = threading.Lock()
        self._open: FIFOCache[str, Span] = FIFOCache(_MOST_OPEN)

    def begin(self, submission: Submission, traceparent: str | None) -> Submission:
        """
        The submission, as part of a trace.

        Args:
            traceparent: Of the caller, whose trace it is then part of; ignored where it is malformed.
        """
        span = self._traces.begin("submit", parent=valid_traceparent(traceparent), started_s=time.time())
        if span.is_kept:
            span.set_attributes(_attributes(submission))
            with self._lock:
                self._open[submission.job_id] = span
        return replace(submission, traceparent=span.traceparent) if span.traceparent else submission

    def end(self, job_ids: Iterable[str], results: Iterable[Submitted]) -> None:
        """These were written, or refused."""
        ended_s = time.time()
        for job_id, result in zip(job_ids, results, strict=True):
            with self._lock:
                span = self._open.pop(job_id, None)
            if span is not None:
                error = type(result.refused).__name__ if result.refused else None
                span.end(ended_s, error=error, attributes={"imagemill.job_id": result.job_id})

    def close(self) -> None:
        """Send what is left."""
        self._traces.close()


def _attributes(submission: Submission) -> Attributes:
    return {
        "imagemill.job_id": submission.job_id,
        "imagemill.kind": submission.kind,
        "imagemill.model": submission.model or "",
        "imagemill.priority": submission.spec.priority,
        **_numbers(submission.spec),
    }


def _numbers(spec: Envelope) -> dict[str, int | float]:
    """Every parameter that is a number. Texts are nobody's business who looks at traces."""
    found = {name: getattr(spec, name) for name in type(spec).model_fields}
    return {f"imagemill.{name}": value for name, value in found.items() if type(value) in (int, float)}
