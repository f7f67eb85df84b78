"""Results of jobs deleted over HTTP: what was made and what was asked for."""

from __future__ import annotations

from fastapi import Request, Response

from jobs import names
from jobs.errors import JobNotFound
from producer.api.context import CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS, problem
from producer.api.jobs.schemas import NOT_FOUND, JobBody
from producer.api.keys.callers import CurrentCaller
from producer.client.async_job import AsyncJob

router = Router(prefix="/v1", tags=["jobs"], responses=REFUSALS)


@router.delete(
    "/jobs/{job_id}/result",
    status_code=202,
    summary="Delete the result of a job",
    responses={
        200: {"model": JobBody, "description": "All of it is gone."},
        202: {"model": JobBody, "description": "Nobody gets it any more, and what is stored of it is being deleted."},
        **NOT_FOUND,
        409: problem("The job has not ended: cancel it first."),
    },
)
async def delete_result(request: Request, job_id: str, caller: CurrentCaller, context: CurrentContext) -> Response:
    """
    Delete what an ended job made (images, thumbnails, data) and what it was asked for (prompt, parameters, metadata).
    Its status, ids, times and the number of its images stay. What would have shown the result answers 410 `gone` from
    now on; the stored files are deleted in a moment, or when the image store is back. Repeating it changes nothing.
    """
    if not names.is_job_id(job_id):
        raise JobNotFound(job_id[:128])
    deleted = await AsyncJob(job_id, context.loop).delete_result(caller=caller.scope)
    context.deleter.wake()
    return json_response(context.views.job(deleted, request), 200 if deleted.result == "gone" else 202)
