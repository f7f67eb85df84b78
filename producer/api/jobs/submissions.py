"""How the request of a caller becomes a job, on every route that takes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header, Request
from pydantic.json_schema import SkipJsonSchema

from jobs.errors import InvalidRequest
from jobs.inputs.find import names_inputs
from jobs.table.submission import Submission
from producer.api.context import Context
from producer.api.http.bodies import read_object
from producer.api.http.request_log import concerns
from producer.api.keys.callers import Caller
from producer.client.submitter import Submitter

IdempotencyKey = Annotated[
    str | SkipJsonSchema[None],
    Header(
        description="A repeated submission with the same key returns the first job.",
        json_schema_extra={"minLength": 1, "maxLength": 255},
    ),
]


async def read_fields(request: Request, context: Context) -> dict[str, Any]:
    """A body that describes one job. Raises as `read_object` does."""
    settings = context.settings
    return await read_object(request, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)


async def find_inputs(fields: Mapping[str, Any], caller: Caller, context: Context) -> Mapping[str, Any]:
    """
    A caller's job with the objects that it names found, for `prepare`.

    Raises:
        InvalidRequest: By the field's name, what is wrong with it; another caller's is not there.
        RedisUnavailable, StorageUnavailable, StorageMisconfigured
    """
    if not names_inputs(fields):
        return fields
    signed, find = caller.sign(fields), context.parts.submitter.find_inputs
    return await context.loop.find(lambda: find(signed, caller.scope, caller.max_file_mib))


def prepare(
    fields: Mapping[str, Any],
    caller: Caller,
    context: Context,
    idempotency_key: str | None = None,
    traceparent: str | None = None,
) -> Submission:
    """
    Check a caller's job, without asking Redis.

    Args:
        fields: Those of its kind's request; `jobs.kinds` has them.
        idempotency_key: From the request's header.
        traceparent: Likewise: the W3C trace context that the job is to be part of.

    Raises:
        InvalidRequest: A field is wrong.
        ModelNotAllowed, KindNotAllowed: The caller may not use this model, or a kind that needs none.
    """
    if idempotency_key is not None:
        if fields.get("idempotency_key", idempotency_key) != idempotency_key:
            raise InvalidRequest("idempotency_key", "differs from the header Idempotency-Key")
        fields = {**fields, "idempotency_key": idempotency_key}
    signed = caller.sign(fields)
    if isinstance(named := fields.get("model"), str):
        caller.check_model(named)  # Before it is looked for: a refusal of a name that there is not lists all.
    submission = context.parts.submitter.prepare(signed, caller.quota, traceparent, caller.weight, caller.max_kept_mib)
    if submission.model is not None:
        caller.check_model(submission.model)
    else:
        caller.check_kind(submission.kind)
    return submission


async def enter(submission: Submission, context: Context, request: Request) -> str:
    """Queue it, on behalf of a request; the job's id. Raises as `Submitter.enter` does."""
    submitter = context.parts.submitter
    if submission.files:
        submission = await context.loop.find(lambda: submitter.hold(submission))
    job_id = await context.loop.run(lambda: _enter(submission, context.parts.submitter))
    concerns(request, job_id)
    return job_id


def _enter(submission: Submission, submitter: Submitter) -> str:
    job_id = submitter.enter(submission)
    submitter.log_warnings([submitter.warning(submission)])
    return job_id
