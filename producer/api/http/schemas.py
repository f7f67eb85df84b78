"""What answers of all subjects have in common, for the OpenAPI document: refusals, headers, events."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from jobs.table.events import EVENT_ID


class ProblemDetail(BaseModel):
    """Why a request was refused."""

    code: str = Field(description="Error code, for programs.", examples=["invalid_request"])
    message: str = Field(description="Error message, for people.", examples=["n: should be greater than or equal to 1"])
    field: str | None = Field(description="The field or header of the request that is wrong.", examples=["n"])


class ProblemBody(BaseModel):
    """An error."""

    error: ProblemDetail


def text_header(description: str) -> dict[str, Any]:
    """A header of an answer."""
    return {"description": description, "schema": {"type": "string"}}


RETRY_AFTER = {
    "Retry-After": {"description": "Seconds until the next try.", "schema": {"type": "string", "pattern": r"^\d+$"}}
}
WWW_AUTHENTICATE = {"WWW-Authenticate": text_header("How to send a key.")}


def sent_events(description: str, *types: str) -> dict[str, Any]:
    """
    An answer of server-sent events, whose data is JSON; described as FastAPI does its own, by OpenAPI 3.2's keyword.

    Args:
        types: Of the events.
    """
    properties = {
        "event": {"type": "string", "enum": types},
        "id": {"type": "string", "pattern": EVENT_ID},
        "data": {"type": "string", "contentMediaType": "application/json"},
    }
    item = {"type": "object", "properties": properties, "required": ["event", "data"]}
    return {"description": description, "content": {"text/event-stream": {"itemSchema": item}}}


def problem(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer that refuses."""
    return {"model": ProblemBody, "description": description, **({"headers": headers} if headers else {})}


REFUSALS: dict[int | str, dict[str, Any]] = {
    401: problem("No key, or one that is not valid.", WWW_AUTHENTICATE),
    422: problem("A field, a parameter or a header is wrong; `field` says which."),
    429: problem(
        "The key was used too often or has too much open, or the system is full. `Retry-After` says when to try again.",
        RETRY_AFTER,
    ),
    503: problem(
        "For now the job table or the image store cannot be reached, no worker serves the model, or the disk is full.",
        RETRY_AFTER,
    ),
}
BODY_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: problem("The body is no JSON."),
    403: problem("The key may not use this model, or is for models alone."),
    408: problem("The body did not come in time."),
    409: problem("The idempotency key belongs to a job with other parameters."),
    413: problem("The body is too large."),
    415: problem("The body is not of the type that is asked for."),
}
