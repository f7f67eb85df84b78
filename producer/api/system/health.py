"""Whether this process is alive, and whether it can serve. Open to all: neither says anything of a job."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field

from jobs.errors import ImagemillError
from jobs.redis.connection import map_errors
from producer.api.context import Context, CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.schemas import problem

router = Router(tags=["health"])

_ANSWER_S = 2.0
_NO_QUERY: dict[int | str, dict[str, Any]] = {422: problem("There are no query parameters here.")}


class HealthBody(BaseModel):
    """This process is alive."""

    status: Literal["ok"]


class ReadyBody(BaseModel):
    """Whether requests can be served, and what is known of the rest."""

    status: Literal["ready", "not_ready"]
    redis: str = Field(description='"ok", or what is wrong. Required.')
    storage: str = Field(description='"ok", or what is wrong. For information: jobs are accepted without it.')
    workers: dict[str, int] | None = Field(description="Number of workers per model. For information.")
    unread: dict[str, int] | None = Field(
        description="Messages in lists that no worker receives from, by Celery's queue: of existing models "
        "not, too, which are looked for once a minute. Reported only."
    )


@router.get("/health", summary="Liveness check", responses={200: {"model": HealthBody}, **_NO_QUERY})
async def health() -> Response:
    """Answers as long as the process runs."""
    return json_response({"status": "ok"})


@router.get(
    "/ready",
    summary="Readiness check",
    responses={
        200: {"model": ReadyBody, "description": "Redis answers."},
        503: {"model": ReadyBody, "description": "Redis does not answer."},
        **_NO_QUERY,
    },
)
async def ready(context: CurrentContext) -> Response:
    """
    Whether Redis answers. The image store and the workers are reported but not required: jobs are accepted without
    them, so that a fleet can be scaled to zero and back.
    """
    redis = await _redis(context)
    is_ready = redis == "ok"
    workers = await context.workers.get() if is_ready else None
    body = {
        "status": "ready" if is_ready else "not_ready",
        "redis": redis,
        "storage": await context.storage_state.get(),
        "workers": workers,
        "unread": await context.unread.get() if is_ready else None,
    }
    return json_response(body, 200 if is_ready else 503)


async def _redis(context: Context) -> str:
    try:
        async with asyncio.timeout(_ANSWER_S):
            with map_errors(context.parts.settings):
                await context.loop.redis.ping()
    except (ImagemillError, TimeoutError):
        return "does not answer"
    return "ok"
