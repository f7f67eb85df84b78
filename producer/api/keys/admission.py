"""Admits requests, within their callers' limits and turns; ends those whose key was revoked, and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from producer.api.http.errors import problem_of
from producer.api.keys.callers import presumed_caller
from producer.api.keys.open_requests import LONG_TYPES, OpenRequest, OpenRequests
from producer.keys.errors import KeyRefused

REFUSED = "refused"  # The type of the last event of a stream whose key was revoked.
_EVENTS, _LINES = LONG_TYPES


class Admission:
    """A middleware, outside all layers that know callers."""

    def __init__(
        self, app: ASGIApp, open_requests: OpenRequests, presume: Callable[[Scope], str] = presumed_caller
    ) -> None:
        """`presume`: Whose a request seems to be, before anybody is asked."""
        self._app = app
        self._open_requests = open_requests
        self._presume = presume

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._open_requests.track(scope.setdefault("state", {}), self._presume(scope)) as open_request:
            send = open_request.noting(send)
            try:
                with open_request.ended_by_refusal():
                    await open_request.turn.begin()
                    await self._app(scope, open_request.reading(receive) if _has_body(scope) else receive, send)
            except KeyRefused as exc:
                problem = problem_of(exc)
                assert problem is not None  # noqa: S101 - the table of errors has it
                await end(open_request, REFUSED, problem.content(), problem.response(), scope, receive, send)


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


async def end(
    open_request: OpenRequest,
    event: str,
    content: dict[str, Any],
    response: Response,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """
    End a request that is no more let in: by `response`, or what it has begun to answer by one more part.

    Args:
        event: The type of that part, where the answer has events.
        content: What it says.
    """
    if open_request.answered_as is None:
        await response(scope, receive, send)
        return
    data = orjson.dumps(content)
    part = (
        format_sse_event(event=event, data_str=data.decode())
        if open_request.answered_as == _EVENTS
        else b"\n%s\n" % data
    )
    await send({"type": "http.response.body", "body": part, "more_body": False})
