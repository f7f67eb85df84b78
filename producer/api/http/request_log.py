"""
One log line for a request that changed something or failed, one a second for all that are refused or of nobody who is
known, and for bugs one with the place.

Neither keys, nor prompts, nor query strings are in them: a path has a job's id at most, and a bug's own text, which may
repeat what it was given, is left out. Each line of a request has its `request_id`, which the answer has in the header
`X-Request-Id`: what an answer keeps to itself is found by it.
"""

from __future__ import annotations

import secrets
import time
import traceback
from collections import Counter
from pathlib import Path

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from jobs.names import is_job_id
from producer.api.http.errors import Problem
from producer.api.metrics.metrics import ApiMetrics

log = structlog.get_logger()

_REFUSED = (401, 429)  # What anybody can have any number of, as all that fails before the caller is known.
_KNOWN = "key"  # `keys.callers` leaves it in the state of a request whose sender it has let in.
_REFUSED_EVERY_S = 1.0
_REQUEST_ID = "X-Request-Id"
_READS = ("GET", "HEAD", "OPTIONS")
_SHOWN_CHARS = 200
_SHOWN_FRAMES = 8
_BUG = Problem(status=500, code="internal_error", message="this is a bug of the server, which has noted it")


class RequestLog:
    """Sees every request but what browsers ask before one (`pages`), and counts them, too."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._refusals = _Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        with bound_contextvars(request_id=request_id):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started, status = time.monotonic(), 0
        began_after_s: float | None = None

        async def noting(message: Message) -> None:
            nonlocal status, began_after_s
            if message["type"] == "http.response.start":
                status, began_after_s = message["status"], time.monotonic() - started
                MutableHeaders(scope=message).setdefault(_REQUEST_ID, request_id)
            await send(message)

        self._metrics.active.inc()
        try:
            await self._app(scope, receive, noting)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the place
            _log_bug(scope, exc)
            if status == 0:
                await _BUG.response()(scope, receive, noting)
        finally:
            took_s = time.monotonic() - started
            self._metrics.active.dec()
            self._metrics.note(scope, status, took_s if began_after_s is None else began_after_s)
            self._log(scope, status, took_s)

    def _log(self, scope: Scope, status: int, took_s: float) -> None:
        fields = {"method": scope["method"], "path": scope["path"][:_SHOWN_CHARS], "status": status, **_job_of(scope)}
        if scope["method"] in _READS and status < 500:
            log.debug("request", **fields, ms=round(took_s * 1000, 1))
            return
        unlogged = self._refusals.unlogged(status) if _is_anybodys(scope, status) else 0
        if unlogged is not None:
            log.info("request", **fields, ms=round(took_s * 1000, 1), **({"others": unlogged} if unlogged else {}))


class _Refusals:
    """Logs one line a second for requests that were refused with the same status, however many they are."""

    def __init__(self) -> None:
        self._logged_at: dict[int, float] = {}
        self._unlogged: Counter[int] = Counter()

    def unlogged(self, status: int) -> int | None:
        """How many others a line about this one stands for; None where another line will stand for this one."""
        if time.monotonic() < self._logged_at.get(status, float("-inf")) + _REFUSED_EVERY_S:
            self._unlogged[status] += 1
            return None
        self._logged_at[status] = time.monotonic()
        return self._unlogged.pop(status, 0)


def _is_anybodys(scope: Scope, status: int) -> bool:
    """Whether somebody who has no key can have any number of such answers."""
    return status in _REFUSED or (400 <= status < 500 and _KNOWN not in scope.get("state", {}))


def _log_bug(scope: Scope, exc: Exception) -> None:
    frames = traceback.extract_tb(_innermost(exc).__traceback__)[-_SHOWN_FRAMES:]
    place = " < ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in reversed(frames))
    log.error(
        "bug in the API",
        method=scope["method"],
        path=scope["path"][:_SHOWN_CHARS],
        error=_kind(exc),
        place=place,
        **_job_of(scope),
    )


def concerns(request: Request, job_id: str) -> None:
    """Let the log line of a request name the job that it made; one in its path is there already."""
    request.state.job_id = job_id


def _job_of(scope: Scope) -> dict[str, str]:
    job_id = scope.get("path_params", {}).get("job_id") or scope.get("state", {}).get("job_id")
    return {"job_id": job_id} if job_id and is_job_id(job_id) else {}


def _innermost(exc: BaseException) -> BaseException:
    return _innermost(exc.exceptions[0]) if isinstance(exc, BaseExceptionGroup) else exc


def _kind(exc: BaseException) -> str:
    inner = f" ({', '.join(_kind(each) for each in exc.exceptions)})" if isinstance(exc, BaseExceptionGroup) else ""
    return f"{type(exc).__name__}{inner}"
