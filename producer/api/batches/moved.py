"""
Where batches were before: /v1/batches is OpenAI's, whose batches are others.

The answer is a 308, for the URLs that older versions gave out must go on to work, and its body is an error as any
other, for clients that follow nowhere. Both are safe: no route here ever had a body, and 308 keeps the method. Nobody
may keep it (RFC 9111, 5.2.2.5), for these paths will have another meaning.
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request, Response

from producer.api.context import Context, CurrentContext
from producer.api.http.errors import Problem
from producer.api.http.openapi import Router
from producer.api.keys.callers import CurrentCaller

router = Router(prefix="/v1", include_in_schema=False)


@router.api_route("/batches/{batch_id}", methods=["GET", "DELETE"])
async def batch(request: Request, batch_id: str, _: CurrentCaller, context: CurrentContext) -> Response:
    """A batch, to ask for or to cancel."""
    return _pointer(f"/v1/jobs/batches/{quote(batch_id, safe='')}", request, context)


@router.get("/batches/{batch_id}/results")
async def results(request: Request, batch_id: str, _: CurrentCaller, context: CurrentContext) -> Response:
    """What became of its jobs."""
    return _pointer(f"/v1/jobs/batches/{quote(batch_id, safe='')}/results", request, context)


def _pointer(path: str, request: Request, context: Context) -> Response:
    headers = {"Location": f"{context.views.base_url(request)}{path}", "Cache-Control": "no-store"}
    message = f"batches have moved: ask {path}, which the header Location names"
    return Problem(status=308, code="moved", message=message, headers=headers).response()
