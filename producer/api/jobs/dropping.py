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
    dropped: int = Field(description="How many jobs.", ge=0)
    next_cursor: str | None = Field(description="Send it to go on; null where nothing is left to look at.")


@router.delete("/jobs", summary="Drop jobs that have ended", responses={200: {"model": DroppedBody}})
async def drop(
    caller: CurrentCaller,
    context: CurrentContext,
    status: Annotated[list[Ended], Query(description="Jobs that ended so; may be given more than once.", min_length=1)],
    older_than_s: Annotated[
        int, Query(description="Leave alone what ended less long ago, in seconds.", ge=0, le=_MOST_AGE_S)
    ] = 0,
    cursor: Annotated[
        str | SkipJsonSchema[None],
        Query(
            description="`next_cursor` of the answer before; none for the first.", json_schema_extra={"pattern": CURSOR}
        ),
    ] = None,
) -> Response:
    """
    Forget jobs of the caller that have ended, as if their time was over: records, events, idempotency keys. Jobs that
    go on stay. A request looks at 5,000 jobs at most; `next_cursor` says where the next one goes on. Images stay in the
    store for as long as that keeps them.
    """
    ended_before = time.time() - older_than_s if older_than_s else None
    table = context.parts.table
    done = await context.loop.run(lambda: table.drop_ended(caller.scope, status, ended_before, cursor))
    return json_response({"object": "dropped", "dropped": done.count, "next_cursor": done.cursor})
