"""
How HTTP answers an error: a status, and one object with a code for a program and a sentence for a person.

    Permanent
    ├── AnswerTooLong     413, of a batch
    ├── BodyTooLarge      413
    ├── BodyMalformed     400, no JSON, or nested too deep; or no form
    ├── BodyOfOtherType   415
    └── PageRefused       403, from a web page of another origin
    Retryable
    ├── BodyTooSlow       408
    └── SpoolFull         503, no room on the disk
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, overload

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from jobs.errors import (
    BatchCanceled,
    BatchNotFound,
    FileInUse,
    FileNotFound,
    FilesTooLarge,
    FileTooLarge,
    IdempotencyConflict,
    ImagemillError,
    InvalidConfiguration,
    InvalidRequest,
    JobFailed,
    JobNotEnded,
    JobNotFound,
    JobNotQueued,
    Permanent,
    RecordUnreadable,
    RedisUnavailable,
    ResultDeleted,
    Retryable,
)
from producer.api.http.refusals import refusal_of
from storage.errors import ObjectNotFound, StorageError, StorageUnavailable

log = structlog.get_logger()

_AWAY_RETRY_S = "2"
_MESSAGE_CHARS, _FIELD_CHARS = 600, 120  # An error may repeat what it was sent, which may be long.

# Code and message, where no route has said what is meant.
_OF_STATUS = {
    404: ("not_found", "there is nothing at this path; /docs lists all paths"),
    405: ("method_not_allowed", "this path does not take {method}; the header Allow lists the methods"),
}


class BodyTooLarge(Permanent):
    """The request's body is larger than it may be."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body of this request may have at most {max_bytes} bytes")


class AnswerTooLong(Permanent):
    """The answer to a batch would be longer than one may be."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"the answer to this batch may have at most {max_bytes} bytes: this line and all after it are not queued. "
            "Send the rest as another batch"
        )


class SpoolFull(Retryable):
    """This process has no disk space for the answer to a batch; every queued job is in the answer."""

    def __init__(self) -> None:
        super().__init__(
            "this server has no disk space for the answer to a batch: this line and all after it are not queued. "
            "Send it again later"
        )


class BodyMalformed(Permanent):
    """The request's body is not valid JSON, or no valid form. The text repeats nothing of it."""


class BodyOfOtherType(Permanent):
    """The request's body is of another type, or compressed. `field` is the header that says so."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class PageRefused(Permanent):
    """A web page of another origin has had a browser send this, which may not."""


class BodyTooSlow(Retryable):
    """The request's body did not come in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    An error as HTTP answers it.

    Attributes:
        status: Of the answer.
        code: For a machine.
        message: A sentence for a person.
        field: Of the request, where one is wrong: a dotted path, or a header's name.
        headers: That go with it.
    """

    status: int
    code: str
    message: str
    field: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """What the answer says."""
        return {"error": {"code": self.code, "message": self.message, "field": self.field}}

    def response(self) -> Response:
        """The answer."""
        return json_response(self.content(), self.status, self.headers)


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON, without looking again at what is known to be right."""
    return Response(orjson.dumps(content), status, headers, "application/json")


# The first that fits. Where there is a message, the error's own has addresses of this system.
_ANSWERS: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    (FileTooLarge, 413, "file_too_large", None),
    (InvalidRequest, 422, "invalid_request", None),
    (IdempotencyConflict, 409, "idempotency_conflict", None),
    (JobNotFound, 404, "job_not_found", None),
    (JobNotQueued, 409, "job_not_queued", None),
    (JobNotEnded, 409, "job_not_ended", None),
    (ResultDeleted, 410, "gone", None),
    (RecordUnreadable, 500, "record_unreadable", None),
    (BatchNotFound, 404, "batch_not_found", None),
    (FileNotFound, 404, "file_not_found", None),
    (FileInUse, 409, "file_in_use", None),
    (FilesTooLarge, 409, "file_quota_exceeded", None),
    (PageRefused, 403, "page_refused", None),
    (BatchCanceled, 409, "batch_canceled", None),
    (JobFailed, 409, "job_failed", None),
    (BodyTooLarge, 413, "body_too_large", None),
    (AnswerTooLong, 413, "answer_too_long", None),
    (SpoolFull, 503, "disk_full", None),
    (BodyMalformed, 400, "malformed_body", None),
    (BodyOfOtherType, 415, "unsupported_media_type", None),
    (BodyTooSlow, 408, "body_too_slow", None),
    (RedisUnavailable, 503, "redis_unavailable", "the job table cannot be reached; try again later"),
    (StorageUnavailable, 503, "storage_unavailable", "the image store cannot be reached; try again later"),
    (ObjectNotFound, 404, "image_not_found", "the image is no longer in the store"),
    (StorageError, 500, "misconfigured", "the image store of this server is not configured correctly"),
    (InvalidConfiguration, 500, "misconfigured", "this server is not configured correctly"),
)
_HEADERS = {
    408: {"Connection": "close"},
    415: {"Accept-Encoding": "identity"},  # RFC 9110, 12.5.3: what is taken.
    503: {"Retry-After": _AWAY_RETRY_S},
}


def problem_of(exc: Exception) -> Problem | None:
    """What to answer; None for an error that is a bug. An error that is listed nowhere is one."""
    field, said = _cut(getattr(exc, "field", None), _FIELD_CHARS), _cut(str(exc), _MESSAGE_CHARS)
    if isinstance(exc, ImagemillError) and (refusal := refusal_of(exc)):
        said = refusal.message or said
        return Problem(status=refusal.status, code=refusal.code, message=said, field=field, headers=refusal.headers)
    for kind, status, code, message in _ANSWERS:
        if isinstance(exc, kind):
            own_code = str(getattr(exc, "code", code))
            headers = _HEADERS.get(status, {})
            return Problem(status=status, code=own_code, message=message or said, field=field, headers=headers)
    return None


@overload
def _cut(text: None, most: int) -> None: ...
@overload
def _cut(text: str, most: int) -> str: ...
def _cut(text: str | None, most: int) -> str | None:
    return text if text is None or len(text) <= most else f"{text[: most - 1]}…"


def log_kept_back(exc: Exception, problem: Problem | None) -> None:
    """Log the reason that an answer does not contain; the line has the request's id, as the answer does."""
    if problem is not None and problem.message != _cut(str(exc), _MESSAGE_CHARS):
        log.warning("the reason of an error answer", code=problem.code, reason=str(exc))


Respond = Callable[[Request, Problem], Response]


def handle_errors(app: FastAPI, respond: Respond) -> None:
    """
    Have an app answer its errors; bugs pass, for `producer.api.http.request_log` to log.

    Args:
        respond: Answers an unknown path or method; routes answer all other errors themselves, by a `Problem`.
    """

    async def answer_http(request: Request, exc: Exception) -> Response:
        if not isinstance(exc, HTTPException):
            raise exc
        headers = dict(exc.headers or {})
        if exc.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(request, headers.get("Allow", "")))
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        code, message = _OF_STATUS.get(exc.status_code, ("http_error", ""))
        is_own = exc.detail != HTTPStatus(exc.status_code).phrase  # Else nobody has said what is meant.
        said = exc.detail if is_own else message.format(method=request.method) or exc.detail
        return respond(request, Problem(status=exc.status_code, code=code, message=said, headers=headers))

    for kind in (ImagemillError, StorageError):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, answer_http)


async def _answer(_: Request, exc: Exception) -> Response:
    problem = problem_of(exc)
    if problem is None:
        raise exc
    log_kept_back(exc, problem)
    return problem.response()


async def _answer_validation(_: Request, exc: Exception) -> Response:
    return validation_problem(exc).response()


def validation_problem(exc: Exception) -> Problem:
    """A parameter of the path, the query or a header is wrong; bodies are not FastAPI's to read."""
    first: dict[str, Any] = exc.errors()[0] if isinstance(exc, RequestValidationError) else {}
    name = str(first["loc"][1])  # Behind it may come which of a union's types it is not.
    reason = str(first["msg"]).replace("Input should", "should")
    return Problem(status=422, code="invalid_request", message=f"{name}: {reason}", field=name)


def _allowed(request: Request, allow: str) -> list[str]:
    """All methods of a path: each route of it knows its own, and reported them."""
    path = getattr(request.scope.get("route"), "path_format", "")
    documented = [method.upper() for method in request.app.openapi()["paths"].get(path, {})]
    methods = documented or [each.strip() for each in allow.split(",") if each.strip() not in ("", "HEAD")]
    return [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
