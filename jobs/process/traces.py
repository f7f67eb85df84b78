"""
One trace for each job, from its submission to its upload, sent to an OpenTelemetry collector (OTLP over HTTP).

Off unless `IMAGEMILL_TRACES_ENDPOINT` says where to. Who submits and who runs a job are different processes: the job's
record carries the context from one to the other, as a W3C `traceparent` (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from opentelemetry.trace import NoOpTracerProvider, Status, StatusCode, TracerProvider
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jobs.errors import InvalidConfiguration
from jobs.process.settings import Settings

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_EXPORT_TIMEOUT_S = 5.0
_NS = 1_000_000_000

Attributes = Mapping[str, str | int | float | bool]


def valid_traceparent(text: str | None) -> str | None:
    """The same, if it is one; what is none is to be ignored, says the standard."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


class Span:
    """
    Something that takes time.

    Attributes:
        traceparent: For those that are to be part of it. Where traces are off it is its parent's, and None without one.
        is_kept: Whether anybody will see it: not where traces are off, or it was left out of a sample.
    """

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        context = span.get_span_context()
        text = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        self.traceparent = text if context.is_valid else None
        self.is_kept = span.is_recording()

    def set_attributes(self, attributes: Attributes) -> None:
        """What else is known of it, in OpenTelemetry's terms."""
        self._span.set_attributes(dict(attributes))

    def end(self, ended_s: float, *, error: str | None = None, attributes: Attributes | None = None) -> None:
        """It is over, at this Unix time; with the code of an error where it went wrong."""
        self.set_attributes(attributes or {})
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(int(ended_s * _NS))


class Traces:
    """
    Begins spans. Those of OpenTelemetry's no-op tracer, which go nowhere, unless it is given another.

    Args:
        close: Sends what is left.
    """

    def __init__(self, provider: TracerProvider | None = None, close: Callable[[], None] = lambda: None) -> None:
        self._tracer = (provider or NoOpTracerProvider()).get_tracer("imagemill")
        self._contexts = TraceContextTextMapPropagator()
        self.close = close

    def begin(self, name: str, *, parent: str | None, started_s: float, attributes: Attributes | None = None) -> Span:
        """
        A span that begins.

        Args:
            parent: The `traceparent` that it is part of; None begins a trace.
            started_s: Unix time.
        """
        context = self._contexts.extract({"traceparent": parent} if parent else {})
        started_ns = int(started_s * _NS)
        return Span(self._tracer.start_span(name, context, attributes=dict(attributes or {}), start_time=started_ns))

    def record(
        self, name: str, *, parent: str | None, started_s: float, ended_s: float, attributes: Attributes | None = None
    ) -> None:
        """A span that is over."""
        self.begin(name, parent=parent, started_s=started_s, attributes=attributes).end(ended_s)


def open_traces(settings: Settings, service: str) -> Traces:
    """
    Traces of this process; nothing of OpenTelemetry's SDK is imported where they are off.

    They are collected and sent in a thread of their own. A collector that is away costs nothing but its spans; closing
    waits for it a few seconds at most.

    Args:
        service: What its spans are listed under, unless `OTEL_SERVICE_NAME` says otherwise.

    Raises:
        InvalidConfiguration: They are on, and OpenTelemetry's SDK is not installed.
    """
    if settings.traces_endpoint is None:
        return Traces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as exc:
        raise InvalidConfiguration(
            f"IMAGEMILL_TRACES_ENDPOINT: needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http ({exc})"
        ) from exc
    exporter = OTLPSpanExporter(f"{settings.traces_endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT_S)
    provider = SdkTracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traces(provider, provider.shutdown)
