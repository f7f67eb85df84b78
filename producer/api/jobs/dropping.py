"""Ended jobs dropped over HTTP, many in one request."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from jobs.table.reader import CURSOR
from jobs.table.states import Status
from producer.api.context import CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS
from producer.api.keys.callers import CurrentCaller

router = Router(prefix="/v1", tags=["jobs"], responses=REFUSALS)

_MOST_AGE_S = 10 * 365 * 86_400

Ended = Literal[Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED]


class DroppedBody(BaseModel):
    """What one request dropped."""

    object: Literal["dropped"]
    dropped: int = Field(description="Number of deleted jobs.", ge=0)
    next_cursor: str | None = Field(description="Send it to continue; null when there is nothing left.")


@router.delete("/jobs", summary="Delete ended jobs", responses={200: {"model": DroppedBody}})
async def drop(
    caller: CurrentCaller,
    context: CurrentContext,
    status: Annotated[list[Ended], Query(description="Only jobs with this status; may be repeated.", min_length=1)],
    older_than_s: Annotated[
        int, Query(description="Only jobs that ended more than this many seconds ago.", ge=0, le=_MOST_AGE_S)
    ] = 0,
    cursor: Annotated[
        str | SkipJsonSchema[None],
        Query(
            description="`next_cursor` of the previous answer; leave it out for the first.",
            json_schema_extra={"pattern": CURSOR},
        ),
    ] = None,
) -> Response:
    """
    Delete the records, events and idempotency keys of the caller's ended jobs. Other jobs stay. A request reads at
    most 5,000 jobs; send `next_cursor` to continue. Images stay in the store until its own rules delete
    them; delete results first to have them go.
    """
    ended_before = time.time() - older_than_s if older_than_s else None
    table = context.parts.table
    done = await context.loop.run(lambda: table.drop_ended(caller.scope, status, ended_before, cursor))
    return json_response({"object": "dropped", "dropped": done.count, "next_cursor": done.cursor})
