"""What the job table knows of one job, as everybody who asks sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field

from jobs import names
from jobs.errors import InvalidRequest, RecordUnreadable
from jobs.kinds.spec import JobSpec, parse
from jobs.table.newer import read_known, word
from jobs.table.states import Stage, Status, has_ended

log = structlog.get_logger()

Kind = TypeVar("Kind")

_AS_WRITTEN = Field(union_mode="left_to_right")


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
    A job at one moment, as far as this version knows what stands there.

    Attributes:
        status, stage: Words that only a newer version knows are shown as they are.
        spec: None where the job was refused before it became one, or where too little of it is understood; `request`
            then holds what came.
        unread: Fields of the specification whose values are not understood, as they are; `spec` has their defaults.
        progress: 0–1 over all stages.
        created_at, started_at, ended_at: Unix time, seconds, by Redis' clock.
        attempts: How often it began, and was not taken back.
        timings: Seconds for each stage, and in all.
        batch, custom_id: The batch that it is part of, and its own name in there.
        is_partial: Something in the record is of a newer version, and not in here.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    status: Annotated[Status | str, _AS_WRITTEN]
    queue: str
    caller: str
    spec: JobSpec | None = None
    unread: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    stage: Annotated[Stage | str, _AS_WRITTEN] | None = None
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
    is_partial: bool = Field(False, exclude=True, repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether it goes on no more."""
        return has_ended(self.status, self.ended_at)

    @classmethod
    def from_hash(cls, job_id: str, fields: Mapping[str, str]) -> JobRecord:
        """
        Read the hash that the scripts write.

        Raises:
            RecordUnreadable: It is damaged, or lacks what every record has.
        """
        try:
            return cls(id=job_id, **_read(fields))
        except (ValueError, OverflowError) as exc:  # `_NotUnderstood` is one; and numbers that no number holds.
            log.warning("a job's record cannot be read", job_id=job_id, field=str(exc))
            raise RecordUnreadable(job_id, str(exc), fields.get("caller")) from exc


def spec_to_run(fields: Mapping[str, str]) -> JobSpec:
    """
    The specification of a record, for a worker: understood whole, or not at all.

    Raises:
        InvalidRequest: Names what this version does not understand.
    """
    try:
        found = _json(fields, "spec", dict)
    except _NotUnderstood as exc:
        raise InvalidRequest("spec", "is no JSON") from exc
    if found is None:
        raise InvalidRequest("spec", "is missing")
    if unknown := sorted(set(found) - set(JobSpec.model_fields)):
        raise InvalidRequest(unknown[0], "there is no such field")
    return parse(JobSpec, found)


def deadlines_of(job_id: str, spec: str | None) -> dict[str, float]:
    """
    The `start_deadline` and `deadline` (s) of a job, as far as its specification has them, in whatever version.

    Raises:
        RecordUnreadable: That is no JSON.
    """
    try:
        found = _json({"spec": spec or ""}, "spec", dict) or {}
    except _NotUnderstood as exc:
        raise RecordUnreadable(job_id, str(exc), None) from exc
    return {name: found[name] for name in ("start_deadline", "deadline") if type(found.get(name)) in (int, float)}


class _NotUnderstood(ValueError):
    """A field without which there is no record; its name is the text."""


def _read(fields: Mapping[str, str]) -> dict[str, Any]:
    for name in ("status", "queue", "caller"):
        if name not in fields:
            raise _NotUnderstood(name)
    status, stage = word(Status, fields["status"]), word(Stage, fields["stage"]) if fields.get("stage") else None
    step, steps = _number(fields, "step"), _number(fields, "steps")
    images, is_whole = _images(fields)
    spec = _spec(fields)
    return {
        "status": status,
        "queue": fields["queue"],
        "caller": fields["caller"],
        "request": _json(fields, "request", dict),
        "stage": stage,
        "step": step,
        "steps": steps,
        "progress": progress_of(status, stage, step, steps),
        "attempts": _number(fields, "attempts"),
        "created_at": _time(fields, "created_at"),
        "started_at": _time(fields, "started_at") if fields.get("started_at") else None,
        "ended_at": _time(fields, "ended_at") if fields.get("ended_at") else None,
        "error": _error(fields),
        "images": images,
        "timings": _timings(fields),
        "batch": fields.get("batch"),
        "custom_id": fields.get("custom_id"),
        "is_partial": not is_whole or "unread" in spec or _number(fields, "schema") > names.SCHEMA_VERSION,
        **spec,
    }


def _spec(fields: Mapping[str, str]) -> dict[str, Any]:
    found = _json(fields, "spec", dict)
    if found is None:
        return {}
    spec, aside = read_known(JobSpec, found)
    if spec is None:
        return {"request": found, "unread": None}
    unread = {name: found[name] for name in JobSpec.model_fields if name in aside}
    return {"spec": spec, **({"unread": unread or None} if aside else {})}


def _images(fields: Mapping[str, str]) -> tuple[tuple[ImageRecord, ...], bool]:
    """Those that are understood, and whether all are."""
    found = _json(fields, "images", list) or []
    read = [read_known(ImageRecord, each)[0] if isinstance(each, dict) else None for each in found]
    images = tuple(each for each in read if each is not None)
    return images, len(images) == len(found)


def _error(fields: Mapping[str, str]) -> JobError | None:
    found = _json(fields, "error", dict)
    if not found:
        return None
    return JobError(code=str(found.get("code", "unknown")), message=str(found.get("message", "")))


def _timings(fields: Mapping[str, str]) -> dict[str, float]:
    found = _json(fields, "timings", dict) or {}
    return {stage: float(took_s) for stage, took_s in found.items() if isinstance(took_s, int | float)}


def _json(fields: Mapping[str, str], name: str, kind: type[Kind]) -> Kind | None:
    """What a field holds; None where it is empty, or holds something else than it does in this version."""
    try:
        found = json.loads(fields[name]) if fields.get(name) else None
    except (ValueError, RecursionError) as exc:
        raise _NotUnderstood(name) from exc
    return found if isinstance(found, kind) else None


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name) or ""
    return int(text) if text.isdecimal() else 0


def _time(fields: Mapping[str, str], name: str) -> float:
    try:
        return float(fields[name])
    except (KeyError, ValueError) as exc:
        raise _NotUnderstood(name) from exc


def progress_of(status: str, stage: str | None, step: int, steps: int) -> float:
    """Share of the work that is done, 0–1; denoising is nearly all of it."""
    if status == Status.SUCCEEDED:
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
