"""What requests and answers about batches look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from jobs.kinds.kind import Request
from jobs.kinds.registry import KINDS
from producer.api.http.openapi import ref
from producer.api.http.schemas import ProblemDetail, problem
from producer.api.jobs.schemas import JobBody

JSON = "application/json"
JSONL = "application/jsonl"
# JSON lines have no registered type, and many names. None of them is one that a web page may send without asking first.
LINES_TYPES = (
    JSONL,
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/ndjson",
    "application/x-ndjson",
)

_LINES = r"^\s*[^\[\s]"  # What begins with a bracket is read as an array.


def _item_of(request: type[Request]) -> type[BaseModel]:
    """A job of a batch: a request, with a name."""
    name = Field(None, min_length=1, max_length=255, description="Your own id for the batch.")
    return create_model(f"Batch{request.__name__}", __base__=request, custom_id=(str | None, name))


ITEMS = tuple(_item_of(kind.request) for kind in KINDS.values())


class BatchLineBody(BaseModel):
    """What became of a line of the request."""

    line: int = Field(description="Number of the line, from 1; blank lines do not count.")
    custom_id: str | None
    id: str | None = Field(description="The job's id.")
    error: ProblemDetail | None
    warnings: tuple[str, ...] = Field((), description="Warnings about an accepted job.")


class BatchResultBody(BaseModel):
    """A job of the batch, as it stands."""

    line: int
    custom_id: str | None
    job: JobBody


class BatchCounts(BaseModel):
    """Jobs by status; `refused` lines never became jobs, and are not in the total."""

    total: int
    queued: int
    processing: int
    succeeded: int
    failed: int
    canceled: int
    expired: int
    refused: int


class BatchBody(BaseModel):
    """A batch at one moment."""

    id: str
    object: Literal["batch"]
    status: Literal["in_progress", "ended", "canceling", "canceled"]
    caller: str
    created_at: float
    counts: BatchCounts
    status_url: str
    results_url: str
    cancel_url: str


def lines_of(model: type[BaseModel], description: str) -> dict[str, Any]:
    """An answer of JSON lines."""
    schema = {"type": "array", "items": ref(model), "description": "One per line."}
    return {"description": description, "content": {JSONL: {"schema": schema}}}


def body_of_batch() -> dict[str, Any]:
    """Of a request that submits a batch."""
    prompts = ("a large red circle on a blue background", "a yellow star on a black background")
    items = [{"custom_id": f"order-{n}", "prompt": prompt} for n, prompt in enumerate(prompts, 1)]
    lines = "".join(f'{{"custom_id": "{each["custom_id"]}", "prompt": "{each["prompt"]}"}}\n' for each in items)
    array = {"type": "array", "items": ref(*ITEMS), "minItems": 1}
    return {
        "required": True,
        "description": f"JSON lines may also be called {', '.join(LINES_TYPES[1:])}.",
        "content": {
            JSON: {"schema": array, "example": items},
            JSONL: {"schema": {"type": "string", "pattern": _LINES}, "example": lines},
        },
    }


NOT_FOUND: dict[int | str, dict[str, Any]] = {404: problem("There is no such batch, or not for this key.")}
