"""
HEAD, on every path that GET has: the head of that answer, without its body (RFC 9110, 9.3.2).

The routes know of GET alone. Nothing of a stream is made, for it is left when its head has gone out.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WAS_HEAD = "imagemill.head"


class _HeadIsSent(Exception):
    """Ends what would make the body."""


class Heads:
    """A layer of the application, which asks the layers below for GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] != "http.response.start":
                return
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            raise _HeadIsSent

        as_get = {**scope, "method": "GET", _WAS_HEAD: True}  # The code that sends the answer must still know of HEAD.
        try:
            await self._app(as_get, receive, send_head)
        except _HeadIsSent:
            pass
        finally:
            scope.update({**as_get, "method": "HEAD"})  # The layers above look at what was routed.


def wants_head(request: Request) -> bool:
    """Whether the body of the answer is not asked for: where it costs something, leave it out."""
    return _WAS_HEAD in request.scope
