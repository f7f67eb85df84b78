"""What the job table knows of one job, as everybody who asks sees it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from jobs.spec import JobSpec
from jobs.states import Stage, Status


class ImageRecord(BaseModel):
    """
    One stored image.

    Attributes:
        key: Object key in the bucket.
        bytes: Size of the file.
        thumbnail_key: Object key of the thumbnail, if one was asked for.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    content_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    seed: int
    thumbnail_key: str | None = None


class JobError(BaseModel):
    """Why a job ended without images: `code` for a machine, `message` for a person."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class JobRecord(BaseModel):
    """
    A job at one moment.

    Attributes:
        spec: None where the job was refused before it became one; `request` then holds what came.
        progress: 0–1 over all stages.
        created_at, started_at, ended_at: Unix time, seconds, by Redis' clock.
        attempts: How often it entered `encode`.
        timings: Seconds for each stage, and in all.
        batch, custom_id: The batch that it is part of, and its own name in there.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    status: Status
    queue: str
    caller: str
    spec: JobSpec | None = None
    request: dict[str, Any] | None = None
    stage: Stage | None = None
    step: int = 0
    steps: int = 0
    progress: float = 0.0
    attempts: int = 0
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    error: JobError | None = None
    images: tuple[ImageRecord, ...] = ()
    timings: dict[str, float] = {}
    batch: str | None = None
    custom_id: str | None = None

    @classmethod
    def from_hash(cls, job_id: str, fields: dict[str, str]) -> JobRecord:
        """Read the hash that the scripts write."""
        status = Status(fields["status"])
        stage = Stage(fields["stage"]) if fields.get("stage") else None
        step, steps = int(fields.get("step") or 0), int(fields.get("steps") or 0)
        return cls.model_validate(
            {
                "id": job_id,
                "status": status,
                "queue": fields["queue"],
                "caller": fields["caller"],
                "spec": json.loads(fields["spec"]) if fields.get("spec") else None,
                "request": json.loads(fields["request"]) if fields.get("request") else None,
                "stage": stage,
                "step": step,
                "steps": steps,
                "progress": progress_of(status, stage, step, steps),
                "attempts": int(fields.get("attempts") or 0),
                "created_at": float(fields["created_at"]),
                "started_at": float(fields["started_at"]) if fields.get("started_at") else None,
                "ended_at": float(fields["ended_at"]) if fields.get("ended_at") else None,
                "error": json.loads(fields["error"]) if fields.get("error") else None,
                "images": json.loads(fields.get("images") or "[]"),
                "timings": json.loads(fields.get("timings") or "{}"),
                "batch": fields.get("batch"),
                "custom_id": fields.get("custom_id"),
            }
        )


def progress_of(status: Status, stage: Stage | None, step: int, steps: int) -> float:
    """Share of the work that is done, 0–1; denoising is nearly all of it."""
    if status is Status.SUCCEEDED:
        return 1.0
    match stage:
        case Stage.GENERATE:
            return round(0.02 + 0.9 * step / max(steps, 1), 4)
        case Stage.POSTPROCESS:
            return 0.93
        case Stage.UPLOAD:
            return 0.96
        case _:
            return 0.0
