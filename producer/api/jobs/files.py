"""
Image files through the API, for callers who cannot reach the store: its address may be known to this network alone.

With `IMAGEMILL_API_IMAGE_LINKS=api` every answer links to these routes, by links that carry their own permission; who
has no such link needs the key of the job.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, Request, Response
from fastapi import Path as PathField
from pydantic import StringConstraints
from pydantic.json_schema import SkipJsonSchema

from jobs.errors import JobNotFound, RecordUnreadable
from jobs.view import Image, JobView, check_kept
from producer.api.context import Context, CurrentContext
from producer.api.http.heads import wants_head
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS
from producer.api.jobs.routes import found_job, own_job
from producer.api.jobs.schemas import GONE, NOT_FOUND
from producer.api.keys.callers import SentToken, callers_of, current_caller
from producer.api.keys.permits import PERMIT, permits
from producer.keys.errors import KeyRefused

router = Router(prefix="/v1", tags=["jobs"], responses={**REFUSALS, **NOT_FOUND, **GONE})

_THUMBNAIL_TYPE = "image/webp"

Index = Annotated[int, PathField(ge=0, le=10_000, description="Index, from 0.")]


_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}
_OBJECT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The object.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
}


async def linked_job(
    request: Request,
    job_id: str,
    token: SentToken,
    context: CurrentContext,
    permit: Annotated[
        Annotated[str, StringConstraints(pattern=PERMIT)] | SkipJsonSchema[None],
        Query(description="Signature of a link; used instead of an API key."),
    ] = None,
) -> JobView:
    """
    The job of a path, for a request with a valid link (and any key), or with the job's key.

    Raises:
        JobNotFound, KeyRefused, RateExceeded, RecordUnreadable: There is no link that holds, and a key does not do.
    """
    if permit is not None:
        with suppress(JobNotFound, RecordUnreadable):  # Without a key a client must not learn which jobs exist.
            record = await found_job(job_id, context)
            key = await callers_of(request).key_of(record.caller)
            if key is not None and permits(_path_of(request), key, permit):
                return record
        if token is None:
            raise KeyRefused(
                "this link is invalid or has expired; get the job again for a new link, or send its API key"
            )
    return await own_job(job_id, await current_caller(request, token), context)


def _path_of(request: Request) -> str:
    """As its links have it, wherever a proxy may have put it."""
    path: str = request.scope["route"].path_format
    return path.format(**request.path_params)


LinkedJob = Annotated[JobView, Depends(linked_job)]


@router.get("/jobs/{job_id}/images/{index}", summary="Download an image", response_class=Response, responses=_FILE)
async def image(request: Request, record: LinkedJob, index: Index, context: CurrentContext) -> Response:
    """The file as it is stored."""
    found = _image(record, index)
    return await _file(request, context, found.key, found.content_type)


@router.get(
    "/jobs/{job_id}/images/{index}/thumbnail", summary="Download a thumbnail", response_class=Response, responses=_FILE
)
async def thumbnail(request: Request, record: LinkedJob, index: Index, context: CurrentContext) -> Response:
    """The file as it is stored, if the job requested one."""
    key = _image(record, index).thumbnail_key
    if key is None:
        raise HTTPException(404, "this job has no thumbnails; none were requested")
    return await _file(request, context, key, _THUMBNAIL_TYPE)


@router.get(
    "/jobs/{job_id}/artifacts/{index}", summary="Download another artifact", response_class=Response, responses=_OBJECT
)
async def artifact(request: Request, record: LinkedJob, index: Index, context: CurrentContext) -> Response:
    """Another result of a job than an image, as it is stored."""
    check_kept(record)
    if index >= len(record.artifacts):
        raise HTTPException(404, f"this job has no artifact {index}; it has {len(record.artifacts)}, counted from 0")
    found = record.artifacts[index]
    answer = await _file(request, context, found.key, found.content_type)
    answer.headers["Content-Disposition"] = "attachment"  # Of any type: no page of this origin is to be made of it.
    return answer


def _image(record: JobView, index: int) -> Image:
    check_kept(record)
    images = record.images
    if index >= len(images):
        raise HTTPException(404, f"this job has no image {index}; it has {len(images)}, counted from 0")
    return images[index]


async def _file(request: Request, context: Context, key: str, content_type: str) -> Response:
    # What a finished job published never changes; it is nobody else's to keep, though.
    headers = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
    if wants_head(request):
        headers["Content-Length"] = str(await context.loop.size(key))
        return Response(headers=headers, media_type=content_type)
    return Response(await context.loop.read(key), headers=headers, media_type=content_type)
