"""What answers look like, for the OpenAPI document. The routes write them without these classes, to save time."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from jobs.table.events import EVENT_ID
from jobs.table.states import Stage, Status


class ProblemDetail(BaseModel):
    """Why a request was refused."""

    code: str = Field(description="For a machine.", examples=["invalid_request"])
    message: str = Field(description="For a person.", examples=["n: should be greater than or equal to 1"])
    field: str | None = Field(description="Which field of the request, or which header, is wrong.", examples=["n"])


class ProblemBody(BaseModel):
    """An error."""

    error: ProblemDetail


class JobErrorBody(BaseModel):
    """Why a job ended without images."""

    code: str
    message: str


class ImageBody(BaseModel):
    """An image of a finished job."""

    url: str = Field(
        description="A presigned link, which expires; or to this API, which wants the key. Ask again for a fresh one."
    )
    thumbnail_url: str | None
    content_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    seed: int


_WORDS = ", ".join(Status)


class JobBody(BaseModel):
    """A job at one moment. Times are Unix seconds."""

    id: str
    object: Literal["job"]
    status: str = Field(description=f"One of {_WORDS}.", examples=list(Status))
    stage: str | None = Field(
        description="What is done at the moment; other kinds of jobs may have others.", examples=list(Stage)
    )
    progress: float = Field(description="0 to 1.")
    step: int
    steps: int
    queue_position: int | None = Field(description="1: about the next to be taken. Null in lists, and once it began.")
    starts_in_s: float | None = Field(description="Seconds until then at the measured pace, about; null while unknown.")
    model: str | None
    parameters: dict[str, Any] | None = Field(description="Every parameter settled, the seed too.")
    metadata: dict[str, str]
    caller: str
    attempts: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    timings: dict[str, float] = Field(description="Seconds of each stage, and in all.")
    error: JobErrorBody | None
    images: list[ImageBody]
    status_url: str
    events_url: str
    cancel_url: str


class DryRunBody(BaseModel):
    """What would be queued."""

    object: Literal["dry_run"]
    model: str
    queue: str
    queue_position: int | None = Field(description="Where it would stand if it were submitted now, about.")
    starts_in_s: float | None = Field(description="Seconds until it would begin, about; null while unknown.")
    parameters: dict[str, Any]


class JobsBody(BaseModel):
    """A page of jobs, the last to be submitted first."""

    object: Literal["list"]
    data: list[JobBody]
    next_cursor: str | None = Field(description="For the next page; null where there is none.")


class ModelBody(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    workers: int = Field(description="How many workers serve it at the moment.")
    defaults: dict[str, Any]
    limits: dict[str, int] = Field(description="Sides and outputs in pixels; an output is an image as it is stored.")
    metadata: str = Field(
        description="`mark`: no file of this model holds prompt or parameters; `full`: each job says."
    )
    schedulers: list[str]


class ModelsBody(BaseModel):
    """All models that the caller may use."""

    object: Literal["list"]
    data: list[ModelBody]


class QueueBody(BaseModel):
    """How many jobs a queue holds, of all callers."""

    queue: str
    model: str | None
    waiting: int
    running: int
    paused: bool


class QueuesBody(BaseModel):
    """All queues of models that the caller may use."""

    object: Literal["list"]
    data: list[QueueBody]


class HealthBody(BaseModel):
    """This process is alive."""

    status: Literal["ok"]


class ReadyBody(BaseModel):
    """Whether requests can be served, and what is known of the rest."""

    status: Literal["ready", "not_ready"]
    redis: str = Field(description='"ok", or what is wrong. Required.')
    storage: str = Field(description='"ok", or what is wrong. Reported only: jobs are taken without it.')
    workers: dict[str, int] | None = Field(description="How many serve each model. Reported only.")


def text_header(description: str) -> dict[str, Any]:
    """A header of an answer."""
    return {"description": description, "schema": {"type": "string"}}


RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": r"^\d+$"}}}
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


def _problem(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"model": ProblemBody, "description": description, **({"headers": headers} if headers else {})}


REFUSALS: dict[int | str, dict[str, Any]] = {
    401: _problem("No key, or one that is not valid.", WWW_AUTHENTICATE),
    422: _problem("A field, a parameter or a header is wrong; `field` says which."),
    429: _problem(
        "The key was used too often, or the system is full. `Retry-After` says when to come again.", RETRY_AFTER
    ),
    503: _problem("The job table or the image store cannot be reached for now.", RETRY_AFTER),
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: _problem("There is no such job, or not for this key.")}
BODY_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _problem("The body is no JSON."),
    403: _problem("The key may not use this model."),
    408: _problem("The body did not come in time."),
    409: _problem("The idempotency key belongs to a job with other parameters."),
    413: _problem("The body is too large."),
    415: _problem("The body is not of the type that is asked for."),
}
