"""One form for every log line of a process that runs for long, its libraries' included: for people, or as JSON."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

from jobs.process.visible import visible, visible_json, visible_line

_OF_MANY_LINES = ("exception", "stack")

LogFormat = Literal["text", "json"]


def configure_logging(level: int = logging.INFO, form: LogFormat = "text") -> None:
    """
    Send structlog's and the standard library's lines to stderr, one line each, in which nothing acts on a terminal.

    What a thread does inside `structlog.contextvars.bound_contextvars(job_id=…)` has that id in every line,
    from any logger.

    Args:
        form: "json" has an object a line: `timestamp` (ISO 8601, UTC), `level`, `event`, and the fields of the line.
    """
    is_json = form == "json"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if is_json else "%H:%M:%S", utc=is_json),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(form)],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


def _renderers(form: LogFormat) -> list[structlog.typing.Processor]:
    if form == "json":
        as_json = structlog.processors.JSONRenderer(ensure_ascii=False)
        return [structlog.processors.format_exc_info, as_json, lambda _logger, _method, line: visible_json(str(line))]
    return [
        structlog.processors.format_exc_info,
        _make_visible,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _make_visible(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Before colours are added. A traceback alone has several lines; what is no text is shown as Python writes it."""
    return {visible_line(name): _shown(name, value) for name, value in event.items()}


def _shown(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return visible(value) if name in _OF_MANY_LINES else visible_line(value)
