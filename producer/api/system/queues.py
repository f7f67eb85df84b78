"""How much is waiting."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field

from jobs.names import model_of
from jobs.table.table import QueueCounts
from producer.api.context import CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS
from producer.api.keys.callers import CurrentCaller

router = Router(prefix="/v1", tags=["models and queues"], responses=REFUSALS)


class QueueBody(BaseModel):
    """How many jobs a queue holds, of all callers."""

    queue: str
    model: str | None
    waiting: int
    running: int
    later: int = Field(description="Jobs that may not start yet (`start_after`).")
    paused: bool


class QueuesBody(BaseModel):
    """All queues of models that the caller may use."""

    object: Literal["list"]
    data: list[QueueBody]


@router.get("/queues", summary="List the queues", responses={200: {"model": QueuesBody}})
async def queues(caller: CurrentCaller, context: CurrentContext) -> Response:
    """The number of jobs in the queues of this caller's models, of all callers. A queue exists after its first job."""
    found = await context.loop.run(context.parts.table.queues)
    shown = [_show(each) for each in found if caller.may_use(model_of(each.queue) or "")]
    return json_response({"object": "list", "data": shown})


def _show(counts: QueueCounts) -> dict[str, Any]:
    return {
        "queue": counts.queue,
        "model": model_of(counts.queue),
        "waiting": counts.waiting + counts.released,
        "running": counts.running,
        "later": counts.later,
        "paused": counts.is_paused,
    }
