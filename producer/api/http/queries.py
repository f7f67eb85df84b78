"""Query parameters: one that a route does not have is refused by its name, for it would have no effect."""

from __future__ import annotations

from collections import Counter

from fastapi import Request

from jobs.errors import InvalidRequest

_SHOWN_CHARS = 100


async def refuse_unknown(request: Request) -> None:
    """
    The dependency of every `Router`.

    Raises:
        InvalidRequest: The document has no such parameter of the route, or one that comes more than once has one value.
    """
    if not request.query_params:
        return
    documented = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
    known = {each["name"]: each["schema"] for each in documented.get("parameters", ()) if each["in"] == "query"}
    for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            there_are = f"there are {', '.join(known)}" if known else "this route has none"
            raise InvalidRequest(name[:_SHOWN_CHARS] or "query", f"unknown query parameter; {there_are}")
        if count > 1 and known[name].get("type") != "array":
            raise InvalidRequest(name, "is given more than once")
