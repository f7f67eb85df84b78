"""An OpenTelemetry collector in a few lines: takes OTLP over HTTP, as protobuf, and keeps the spans."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenSpan:
    """One span; times are Unix seconds."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    started_s: float
    ended_s: float
    attributes: dict[str, Any]
    error: str | None


class Collector:
    """Owns the spans that came."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.spans: list[TakenSpan] = []

    def of_job(self, job_id: str) -> list[TakenSpan]:
        """All spans of a job's trace, by their beginning."""
        traces = {each.trace_id for each in self.spans if each.attributes.get("imagemill.job_id") == job_id}
        return sorted((each for each in self.spans if each.trace_id in traces), key=lambda each: each.started_s)

    def take(self, body: bytes) -> None:
        """One request's spans."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            self.spans += [_span(each, service) for scope in resource.scope_spans for each in scope.spans]


def _span(span: Any, service: str) -> TakenSpan:
    return TakenSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        name=span.name,
        started_s=span.start_time_unix_nano / 1e9,
        ended_s=span.end_time_unix_nano / 1e9,
        attributes=_plain(span.attributes),
        error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_known = (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            if is_known:
                collector.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200 if is_known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
