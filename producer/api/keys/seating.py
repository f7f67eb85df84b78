"""Gives each request its seat, and a last word to those that end because their key was revoked."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from producer.api.http.errors import problem_of
from producer.api.keys.seats import LONG_TYPES, Seat, Seats
from producer.keys.errors import KeyRefused

REFUSED = "refused"  # The type of the last event of a stream whose key was revoked.
_EVENTS, _LINES = LONG_TYPES


class Seating:
    """A layer of the application: outside of all that knows callers."""

    def __init__(self, app: ASGIApp, seats: Seats) -> None:
        self._app = app
        self._seats = seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._seats.seat(scope.setdefault("state", {})) as seat:
            send = seat.noting(send)
            try:
                with seat.ended_by_refusal():
                    await self._app(scope, receive, send)
            except KeyRefused as exc:
                problem = problem_of(exc)
                assert problem is not None  # noqa: S101 - the table of errors has it
                await end(seat, REFUSED, problem.content(), problem.response(), scope, receive, send)


async def end(
    seat: Seat, event: str, content: dict[str, Any], response: Response, scope: Scope, receive: Receive, send: Send
) -> None:
    """
    End a request that is no more let in: by `response`, or what it has begun to answer by one more part.

    Args:
        event: The type of that part, where the answer has events.
        content: What it says.
    """
    if seat.answered_as is None:
        await response(scope, receive, send)
        return
    told = orjson.dumps(content)
    part = format_sse_event(event=event, data_str=told.decode()) if seat.answered_as == _EVENTS else b"\n%s\n" % told
    await send({"type": "http.response.body", "body": part, "more_body": False})
