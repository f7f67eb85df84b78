"""The first span of a job's trace: its submission."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from jobs.envelope import Envelope
from jobs.process.settings import Settings
from jobs.process.traces import Span, open_traces, valid_traceparent
from jobs.table.submission import Submission, Submitted

_MOST_OPEN = 10_000  # Of many that are prepared at once, the first lose their span; their jobs keep its trace.


class SubmitTraces:
    """Spans of submissions that are prepared and not yet written. Does next to nothing where traces are off."""

    def __init__(self, settings: Settings) -> None:
        self._traces = open_traces(settings, "imagemill-producer")
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Span] = OrderedDict()

    def begin(self, submission: Submission, traceparent: str | None) -> Submission:
        """
        The submission, as part of a trace.

        Args:
            traceparent: Of the caller, whose trace it is then part of; ignored where it is malformed.
        """
        parent = valid_traceparent(traceparent)
        if self._traces is None:
            return replace(submission, traceparent=parent) if parent else submission
        spec = submission.spec
        span = self._traces.begin(
            "submit",
            parent=parent,
            started_s=time.time(),
            attributes={
                "imagemill.job_id": submission.job_id,
                "imagemill.kind": submission.kind,
                "imagemill.model": submission.model or "",
                "imagemill.priority": spec.priority,
                **_numbers(spec),
            },
        )
        with self._lock:
            self._open[submission.job_id] = span
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return replace(submission, traceparent=span.traceparent)

    def end(self, job_ids: Iterable[str], results: Iterable[Submitted]) -> None:
        """These were written, or refused."""
        if self._traces is None:
            return
        ended_s = time.time()
        for job_id, result in zip(job_ids, results, strict=True):
            with self._lock:
                span = self._open.pop(job_id, None)
            if span is not None:
                error = type(result.refused).__name__ if result.refused else None
                span.end(ended_s, error=error, attributes={"imagemill.job_id": result.job_id})

    def close(self) -> None:
        """Send what is left."""
        if self._traces is not None:
            self._traces.close()


def _numbers(spec: Envelope) -> dict[str, int | float]:
    """Every parameter that is a number. Texts are nobody's business who looks at traces."""
    found = {name: getattr(spec, name) for name in type(spec).model_fields}
    return {f"imagemill.{name}": value for name, value in found.items() if type(value) in (int, float)}
