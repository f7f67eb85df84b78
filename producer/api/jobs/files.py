"""
Image files through the API, for callers who cannot reach the store: its address may be known to this network alone.

With `IMAGEMILL_API_IMAGE_LINKS=api` every answer links to these routes. They want the key that the job was asked with.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import HTTPException, Request, Response
from fastapi import Path as PathField

from jobs.view import Image
from producer.api.context import Context, CurrentContext
from producer.api.http.heads import wants_head
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS
from producer.api.jobs.routes import OwnJob
from producer.api.jobs.schemas import NOT_FOUND

router = Router(prefix="/v1", tags=["jobs"], responses={**REFUSALS, **NOT_FOUND})

_THUMBNAIL_TYPE = "image/webp"

Index = Annotated[int, PathField(ge=0, le=10_000, description="0 for the first of the job.")]


_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}
_OBJECT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The object.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/jobs/{job_id}/images/{index}", summary="Fetch an image", response_class=Response, responses=_FILE)
async def image(request: Request, record: OwnJob, index: Index, context: CurrentContext) -> Response:
    """The file as it is stored."""
    found = _image(record.images, index)
    return await _file(request, context, found.key, found.content_type)


@router.get(
    "/jobs/{job_id}/images/{index}/thumbnail", summary="Fetch a thumbnail", response_class=Response, responses=_FILE
)
async def thumbnail(request: Request, record: OwnJob, index: Index, context: CurrentContext) -> Response:
    """The file as it is stored, if the job asked for one."""
    key = _image(record.images, index).thumbnail_key
    if key is None:
        raise HTTPException(404, "this job asked for no thumbnails")
    return await _file(request, context, key, _THUMBNAIL_TYPE)


@router.get(
    "/jobs/{job_id}/artifacts/{index}", summary="Fetch another object", response_class=Response, responses=_OBJECT
)
async def artifact(request: Request, record: OwnJob, index: Index, context: CurrentContext) -> Response:
    """What a job made that is no image, as it is stored."""
    if index >= len(record.artifacts):
        raise HTTPException(404, f"this job has {len(record.artifacts)} artifacts, and none is number {index}")
    found = record.artifacts[index]
    answer = await _file(request, context, found.key, found.content_type)
    answer.headers["Content-Disposition"] = "attachment"  # Of any type: no page of this origin is to be made of it.
    return answer


def _image(images: tuple[Image, ...], index: int) -> Image:
    if index >= len(images):
        raise HTTPException(404, f"this job has {len(images)} images, and none is number {index}")
    return images[index]


async def _file(request: Request, context: Context, key: str, content_type: str) -> Response:
    # What a finished job published never changes; it is nobody else's to keep, though.
    headers = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
    if wants_head(request):
        headers["Content-Length"] = str(await context.loop.size(key))
        return Response(headers=headers, media_type=content_type)
    return Response(await context.loop.read(key), headers=headers, media_type=content_type)
