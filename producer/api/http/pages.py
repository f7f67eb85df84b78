"""Which web pages may ask the API from a browser: CORS (WHATWG Fetch, 3.3). Off, browsers keep its answers from all."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from producer.api.settings import ANY_PAGE

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
