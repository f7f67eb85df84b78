"""
OpenAI's error object, for every error of a route.

Its client tries again by itself after 408, 409, 429 and 5xx, unless the answer says `x-should-retry: false`: a job that
has failed would only fail again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from jobs.errors import ErrorCode, ImagemillError, JobFailed, ModelNotAvailable, WaitTimeout
from producer.api.http.errors import Problem, json_response, log_kept_back, problem_of, validation_problem
from producer.api.keys.admission import end
from producer.api.keys.open_requests import OpenRequest
from producer.keys.errors import KeyRefused
from storage.errors import StorageError

# By the first name behind /v1. Both APIs have batches and models: ours have moved away, and the form of
# the list of models does for both; a single model is OpenAI's.
_OPENAIS = re.compile(
    r"/v1/(?:models/|(?:assistants|audio|chat|completions|containers|conversations|edits|embeddings|engines|evals|files"
    r"|fine_tuning|images|moderations|organization|realtime|responses|threads|uploads|vector_stores|videos)(?:/|$))"
)
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_JOBS = {
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.INVALID_INPUT: 400,
    ErrorCode.MODEL_NOT_AVAILABLE: 404,
    ErrorCode.STORAGE_UNAVAILABLE: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
    ErrorCode.QUOTA_EXCEEDED: 429,
    "canceled": 409,
}
_NEVER_AGAIN = {"x-should-retry": "false"}
_STOPPING = Problem(
    status=503,
    code="stopping",
    message="this server is about to stop; try again",
    headers={"Retry-After": "2"},
)
_BUG = Problem(
    status=500,
    code="internal_error",
    message="this is a bug of the server, which has noted it",
    headers=_NEVER_AGAIN,
)


def openai_problem_of(exc: Exception) -> Problem | None:
    """What to answer, by the statuses that OpenAI's clients know; None for an error that is a bug."""
    if isinstance(exc, JobFailed):
        return Problem(status=_JOBS.get(exc.code, 500), code=exc.code, message=exc.reason, headers=_NEVER_AGAIN)
    if isinstance(exc, RequestValidationError):
        return _with_openai_status(validation_problem(exc), exc)
    if isinstance(exc, WaitTimeout):  # There is no other limit than that of the process.
        return _STOPPING
    problem = problem_of(exc)
    return problem and _with_openai_status(problem, exc)


def logged_problem_of(exc: Exception) -> Problem | None:
    """The same; the log gets the reason that the answer does not contain."""
    problem = openai_problem_of(exc)
    if not isinstance(exc, JobFailed | WaitTimeout | RequestValidationError):
        log_kept_back(exc, problem)
    return problem


def _with_openai_status(problem: Problem, exc: Exception) -> Problem:
    if isinstance(exc, ModelNotAvailable):
        return dataclasses.replace(problem, status=404, code="model_not_found")
    if problem.status == 409:
        return dataclasses.replace(problem, headers=_NEVER_AGAIN)
    return dataclasses.replace(problem, status=400) if problem.status == 422 else problem


def error_object(problem: Problem) -> dict[str, Any]:
    """As OpenAI's clients read it."""
    kind = "server_error" if problem.status >= 500 else _TYPES.get(problem.status, "invalid_request_error")
    return {"message": problem.message, "type": kind, "param": problem.field, "code": problem.code}


def error_response(problem: Problem) -> Response:
    """The answer."""
    return json_response({"error": error_object(problem)}, problem.status, problem.headers)


def is_openais(path: str) -> bool:
    """Whether OpenAI's API has a path, and this one nothing of its own there."""
    return _OPENAIS.match(path) is not None


def respond(request: Request, problem: Problem) -> Response:
    """Answer an error in the form that clients of this path can read."""
    return error_response(problem) if is_openais(request.scope["path"]) else problem.response()


def _last_event(problem: Problem) -> tuple[str, dict[str, Any]]:
    return "error", {"type": "error", "error": error_object(problem)}


class OpenAIRoute(APIRoute):
    """
    A route that answers its errors with OpenAI's object: those of its dependencies and its bugs, too.

    `request.state.job_id` is sent as `X-Request-Id`, which OpenAI's client shows.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's, which then has no error of ours left to answer."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                response = await inner(request)
            except (ImagemillError, StorageError, RequestValidationError) as exc:
                problem = logged_problem_of(exc)
                if problem is None:
                    raise
                response = error_response(problem)
            if job_id := getattr(request.state, "job_id", None):
                response.headers["X-Request-Id"] = job_id
            return response

        return handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        As FastAPI does, which answers another method outside of the handler; a bug goes on, to be noted.

        A request whose key is revoked meanwhile ends by the same object.
        """
        open_request: OpenRequest = scope["state"]["open_request"]
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            with open_request.ended_by_refusal():
                await super().handle(scope, receive, noting)
        except KeyRefused as exc:
            problem = openai_problem_of(exc) or _BUG
            await end(open_request, *_last_event(problem), error_response(problem), scope, receive, send)
        except HTTPException:  # The application answers it.
            raise
        except Exception:
            if not has_begun:
                await error_response(_BUG)(scope, receive, send)
            raise
