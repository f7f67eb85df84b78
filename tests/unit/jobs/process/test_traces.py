"""Where traces are off a caller's context goes on with the job, and there is no other."""

from __future__ import annotations

from jobs.process.settings import Settings
from jobs.process.traces import open_traces

CALLERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_caller_s_context_goes_on_where_traces_are_off() -> None:
    traces = open_traces(Settings(), "a test")
    span = traces.begin("submit", parent=CALLERS, started_s=1.0)
    assert (span.traceparent, span.is_kept) == (CALLERS, False)
    span.end(2.0, error="canceled", attributes={"imagemill.status": "canceled"})
    traces.close()


def test_no_context_begins_where_traces_are_off() -> None:
    span = open_traces(Settings(), "a test").begin("submit", parent=None, started_s=1.0)
    assert (span.traceparent, span.is_kept) == (None, False)
