"""
A path with a slash at its end means the same without it.

A redirect, as the framework would send it, names the address that a proxy has asked, which is none for its clients.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Slashes:
    """A layer of the application, which leaves one such slash out of `path`; `raw_path` stays as it came."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/") and scope["path"] != "/":
            scope["path"] = scope["path"][:-1]
        await self._app(scope, receive, send)
