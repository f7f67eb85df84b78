"""What requests and answers about jobs look like, for the OpenAPI document. The routes do without, to save time."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from jobs.envelope import Change
from jobs.kinds.registry import KINDS
from jobs.table.record import Artifact
from jobs.view import JobView, Picture
from producer.api.http.openapi import ref
from producer.api.http.schemas import problem


class ImageBody(Picture):
    """An image of a finished job."""

    url: str
    """A link that works without a key and expires. Get the job again for a new one."""
    thumbnail_url: str | None
    """Likewise."""


class ArtifactBody(Artifact):
    """Another object of a finished job."""

    url: str = Field(description="A link that works without a key and expires. Get the job again for a new one.")


class JobBody(JobView):
    """A job at one moment. Times are Unix seconds."""

    images: tuple[ImageBody, ...]  # type: ignore[assignment]  # by links, in place of keys
    """Pictures that it made."""
    artifacts: tuple[ArtifactBody, ...]
    """Other objects that it made."""
    queue_position: int | None
    """Approximate position in the queue, from 1. Null in lists, after the start, and before it may start."""
    starts_in_s: float | None
    """Approximate number of seconds until it starts; null if unknown."""
    status_url: str
    events_url: str
    cancel_url: str


class SubmittedBody(JobBody):
    """A job that was just submitted."""

    warnings: tuple[str, ...]
    """Warnings about an accepted job, for example that no worker serves its model."""


class DryRunBody(BaseModel):
    """What would be queued."""

    object: Literal["dry_run"]
    kind: str
    model: str | None
    queue: str
    queue_position: int | None = Field(
        description="Approximate position if it were submitted now; null with `start_after`."
    )
    starts_in_s: float | None = Field(
        description="Approximate number of seconds until it would start; null if unknown."
    )
    parameters: dict[str, Any]
    warnings: tuple[str, ...] = Field(description="Warnings, as for a submission.")


class JobsBody(BaseModel):
    """A page of jobs, the newest first."""

    object: Literal["list"]
    data: list[JobBody]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


JOB_EXAMPLES: dict[str, dict[str, Any]] = {
    "a picture": {"value": {"prompt": "a large red circle on a blue background"}},
    "with parameters": {
        "value": {
            "prompt": "a yellow star left of a cyan ring on a black background",
            "num_inference_steps": 25,
            "guidance_scale": 3.0,
            "seed": 7,
            "n": 2,
            "output": {"format": "webp", "quality": 90},
            "metadata": {"order": "1234"},
        }
    },
}


BODIES = tuple(kind.request for kind in KINDS.values())


def body_of_job() -> dict[str, Any]:
    """Of a request that submits one job."""
    content = {"schema": ref(*BODIES), "examples": JOB_EXAMPLES}
    return {"required": True, "content": {"application/json": content}}


def body_of_change() -> dict[str, Any]:
    """Of a request that changes the place of a job."""
    examples = {"to the front": {"value": {"priority": "high", "position": "front"}}}
    return {"required": True, "content": {"application/json": {"schema": ref(Change), "examples": examples}}}


NOT_FOUND: dict[int | str, dict[str, Any]] = {404: problem("There is no such job, or not for this key.")}
GONE: dict[int | str, dict[str, Any]] = {410: problem("The result of the job was deleted.")}
CANCELED_AHEAD: dict[int | str, dict[str, Any]] = {
    404: problem("There is no such job, or not for this key. A Celery message with this id will not run.")
}
