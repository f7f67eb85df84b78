"""Which web pages may ask the API from a browser: CORS (WHATWG Fetch, 3.3). Off, browsers keep its answers from all."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware

from producer.api.http.errors import PageRefused
from producer.api.settings import ANY_PAGE

_SHOWN_CHARS = 100
_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
# What a page may read beside the body; a few it may read always.
_READ = ("Location", "Retry-After", "Preference-Applied", "WWW-Authenticate", "X-Request-Id", "Content-Disposition")


def let_pages_ask(app: FastAPI, origins: Collection[str]) -> None:
    """
    Let pages of these origins ask with any header, a key's among them; "*" are all pages.

    What a browser adds by itself (cookies, a proxy's password) it may add for named origins alone.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=("*",),
        allow_credentials=ANY_PAGE not in origins,
        expose_headers=_READ,
    )


def refuse_other_pages(request: Request, origins: Collection[str]) -> None:
    """
    For a body that browsers send to anybody without asking first, as they do not with JSON: a form.

    Args:
        origins: Of pages that may.

    Raises:
        PageRefused: A page of another origin has had a browser send this.
    """
    origin = request.headers.get("origin")
    if origin is None or origin in origins or ANY_PAGE in origins:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise PageRefused(
            f"pages of {origin[:_SHOWN_CHARS]} may not send this: IMAGEMILL_API_CORS_ORIGINS names others"
        )
