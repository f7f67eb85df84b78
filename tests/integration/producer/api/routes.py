"""All routes of the API, from its own document: what is tried on every one of them is tried on new ones, too."""

from __future__ import annotations

import httpx2 as httpx

OPEN = {"GET /health", "GET /ready"}


def documented(api: httpx.Client) -> set[str]:
    """Every route, as METHOD and path."""
    paths = api.get("/openapi.json").json()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def filled(path: str, **names: str) -> str:
    """A path with values in place of its names; those of an image are 0, of a model shapes, and of a file none."""
    return path.format(**{"index": "0", "model": "shapes-flow", "file_id": "none", **names})
