"""Batches over HTTP: up to 100,000 jobs in one request, asked for and canceled as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic.json_schema import SkipJsonSchema

from jobs import names
from jobs.errors import BatchNotFound
from jobs.table.batches import BatchRecord
from producer.api.batches.bulk import KEY_CHARS, Bulk
from producer.api.batches.intake import Intake
from producer.api.batches.results import results_of
from producer.api.batches.schemas import (
    ITEMS,
    JSON,
    JSONL,
    LINES_TYPES,
    NOT_FOUND,
    BatchBody,
    BatchLineBody,
    BatchResultBody,
    body_of_batch,
    lines_of,
)
from producer.api.context import Context, CurrentContext
from producer.api.http.bodies import check_type
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.schemas import BODY_REFUSALS, REFUSALS, text_header
from producer.api.keys.callers import BatchCaller, CurrentCaller
from producer.api.spool import Spool

# Two, for where each stands among the others: see `producer.api.app`.
router = Router(prefix="/v1", tags=["batches"], responses=REFUSALS, models=[*ITEMS, BatchLineBody])
of_one = Router(prefix="/v1", tags=["batches"], responses=REFUSALS, models=[BatchResultBody])

_READ_BYTES = 65_536


async def own_batch(batch_id: str, caller: CurrentCaller, context: CurrentContext) -> BatchRecord:
    """
    The batch of a path.

    Raises:
        BatchNotFound: There is none, or it is another caller's.
    """
    if not names.is_job_id(batch_id):
        raise BatchNotFound(batch_id[:128])
    record = await context.loop.run(lambda: context.parts.batches.get(batch_id))
    if caller.scope not in (None, record.caller):
        raise BatchNotFound(batch_id)
    return record


OwnBatch = Annotated[BatchRecord, Depends(own_batch)]


async def _spool(_: BatchCaller, context: CurrentContext) -> AsyncIterator[Spool]:
    """For the answers of this request, until they are sent. Raises `SpoolFull`."""
    spool = await context.loop.run(context.spools.open)
    try:
        yield spool
    finally:
        spool.close()


OwnSpool = Annotated[Spool, Depends(_spool)]


@router.post(
    "/jobs/batch",
    summary="Submit many jobs",
    response_class=Response,
    responses={
        200: {
            **lines_of(BatchLineBody, "What became of each line, in order."),
            "headers": {"Location": text_header("The batch.")},
        },
        **BODY_REFUSALS,
    },
    openapi_extra={"requestBody": body_of_batch()},
)
async def submit(
    request: Request,
    caller: BatchCaller,
    context: CurrentContext,
    spool: OwnSpool,
    idempotency_key: Annotated[
        str | SkipJsonSchema[None],
        Header(
            description="If the same lines are sent again with the same key, no job is queued twice.",
            json_schema_extra={"minLength": 1, "maxLength": KEY_CHARS},
        ),
    ] = None,
) -> Response:
    """
    Submit up to 100,000 jobs: JSON lines, or one array, each a job with an optional `custom_id`. An invalid line does
    not stop the others; its answer has the reason. The answer begins when the request has been read.
    """
    check_type(request, *LINES_TYPES, JSON)
    bulk = Bulk(context, caller, idempotency_key, request.headers.get("traceparent"))
    await Intake(request, context, bulk, spool).take()
    headers = {"Location": _urls(bulk.batch_id, context, request)["status_url"]}
    return StreamingResponse(_sent(spool, context), headers=headers, media_type=JSONL)


@of_one.get("/jobs/batches/{batch_id}", summary="Get a batch", responses={200: {"model": BatchBody}, **NOT_FOUND})
async def status(request: Request, record: OwnBatch, context: CurrentContext) -> Response:
    """The number of its jobs with each status."""
    return json_response(_shown(record, context, request))


@of_one.get(
    "/jobs/batches/{batch_id}/results",
    summary="Get the results of a batch",
    response_class=Response,
    responses={200: lines_of(BatchResultBody, "The current state of its jobs, by line."), **NOT_FOUND},
)
async def results(request: Request, _: BatchCaller, record: OwnBatch, context: CurrentContext) -> Response:
    """The current state of its jobs, one per line, with new links to their images; without lines that were refused."""
    return StreamingResponse(await results_of(record.id, context, request), media_type=JSONL)


@of_one.delete("/jobs/batches/{batch_id}", summary="Cancel a batch", responses={200: {"model": BatchBody}, **NOT_FOUND})
async def cancel(request: Request, record: OwnBatch, context: CurrentContext) -> Response:
    """
    Cancel all its jobs that have not ended, and accept no more. Jobs that have ended do not change. In a batch with
    more than 1,000 jobs the last ones end at once, the others soon after; until then `status` is `canceling`.
    """
    canceled = await context.loop.run(lambda: context.parts.batches.cancel(record.id))
    return json_response(_shown(canceled, context, request))


async def _sent(spool: Spool, context: Context) -> AsyncIterator[bytes]:
    behind = 0
    while chunk := await context.loop.run(partial(spool.read, behind, _READ_BYTES)):
        behind += len(chunk)
        yield chunk


def _shown(record: BatchRecord, context: Context, request: Request) -> dict[str, Any]:
    counts = {status.value: count for status, count in record.counts.items()}
    return {
        "id": record.id,
        "object": "batch",
        "status": _status(record),
        "caller": record.caller,
        "created_at": record.created_at,
        "counts": {"total": record.total, **counts, "refused": record.refused},
        **_urls(record.id, context, request),
    }


def _status(record: BatchRecord) -> str:
    if record.is_canceled:
        return "canceled" if record.has_ended else "canceling"
    return "ended" if record.has_ended else "in_progress"


def _urls(batch_id: str, context: Context, request: Request) -> dict[str, str]:
    url = f"{context.views.base_url(request)}/v1/jobs/batches/{batch_id}"
    return {"status_url": url, "results_url": f"{url}/results", "cancel_url": url}
