"""Files: upload one, list them, fetch one, delete one."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Path as PathField
from fastapi import Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from jobs.inputs.files import Order
from producer.api.context import CurrentContext
from producer.api.files.receiving import receive
from producer.api.files.schemas import UPLOAD_BODY, FileBody, FileDeletedBody, FilesBody, shown
from producer.api.http.errors import json_response
from producer.api.http.heads import wants_head
from producer.api.http.openapi import Router
from producer.api.http.pages import refuse_other_pages
from producer.api.keys.callers import CurrentCaller, UploadCaller
from producer.api.openai.errors import OpenAIRoute
from producer.api.openai.schemas import refusals
from producer.files.intake import Purpose

router = Router(prefix="/v1", tags=["files"], route_class=OpenAIRoute)

_LISTED = 1_000

FileId = Annotated[str, PathField(description="The file's id.")]
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.post(
    "/files",
    summary="Upload a file (OpenAI's API)",
    responses={200: {"model": FileBody}, **refusals(400, 401, 403, 408, 409, 413, 415, 422, 429, 503)},
    openapi_extra={"requestBody": UPLOAD_BODY},
)
async def upload(request: Request, caller: UploadCaller, context: CurrentContext) -> Response:
    """
    Store a picture for jobs to use. The same picture sent again for the same purpose is the same file, and is kept as
    long as the later upload says. A file is deleted when it expires and no job needs it.
    """
    if caller.key is None:
        refuse_other_pages(request, context.settings.cors_origins)
    return json_response(shown(await receive(request, caller, context)))


@router.get(
    "/files",
    summary="List files (OpenAI's API)",
    responses={200: {"model": FilesBody}, **refusals(400, 401, 404, 422, 429, 503)},
)
async def list_files(
    caller: CurrentCaller,
    context: CurrentContext,
    limit: Annotated[
        int, Query(description=f"Maximum number of files; a page has at most {_LISTED:,}.", ge=1, le=10_000)
    ] = _LISTED,
    after: Annotated[
        str | SkipJsonSchema[None], Query(description="`last_id` of the previous page; leave it out for the first.")
    ] = None,
    order: Annotated[Order, Query(description="By time of upload.")] = "desc",
    purpose: Annotated[Purpose | SkipJsonSchema[None], Query(description="Only files for this purpose.")] = None,
) -> Response:
    """The caller's files, the newest first."""
    files, most = context.parts.files, min(limit, _LISTED)
    found = await context.loop.run(
        lambda: files.list(caller.scope, limit=most + 1, after=after, purpose=purpose, order=order)
    )
    page = [shown(each) for each in found[:most]]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return json_response({"object": "list", "data": page, **ends, "has_more": len(found) > most})


@router.get(
    "/files/{file_id}",
    summary="Get a file (OpenAI's API)",
    responses={200: {"model": FileBody}, **refusals(401, 404, 422, 429, 503)},
)
async def retrieve(file_id: FileId, caller: CurrentCaller, context: CurrentContext) -> Response:
    """What is known of a file."""
    files = context.parts.files
    return json_response(shown(await context.loop.run(lambda: files.get(file_id, caller.scope))))


@router.delete(
    "/files/{file_id}",
    summary="Delete a file (OpenAI's API)",
    responses={200: {"model": FileDeletedBody}, **refusals(401, 404, 409, 422, 429, 503)},
)
async def delete(file_id: FileId, caller: CurrentCaller, context: CurrentContext) -> Response:
    """Delete a file. A file that a job needs that has not ended is not deleted."""
    parts = context.parts

    def remove() -> None:
        parts.files.delete(file_id, caller.scope)
        parts.inputs.delete([file_id])
        parts.files.forget(file_id)

    await context.loop.write(remove)
    return json_response({"id": file_id, "object": "file", "deleted": True})


@router.get(
    "/files/{file_id}/content",
    summary="Download a file (OpenAI's API)",
    response_class=Response,
    responses={**_CONTENT, **refusals(401, 404, 422, 429, 503)},
)
async def content(request: Request, file_id: FileId, caller: CurrentCaller, context: CurrentContext) -> Response:
    """The file as it was sent."""
    parts = context.parts
    file = await context.loop.run(lambda: parts.files.get(file_id, caller.scope))
    headers = {
        "Cache-Control": "private, max-age=86400, immutable",
        "X-Content-Type-Options": "nosniff",
        # Of callers, whatever they hold: no page of this origin is to be made of it.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
    }
    if wants_head(request):
        headers["Content-Length"] = str(file.size_bytes)
        return Response(headers=headers, media_type=file.content_type)
    body = await context.loop.read(parts.inputs.key(file_id))
    return Response(body, headers=headers, media_type=file.content_type)
