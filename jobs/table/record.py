"""What the job table knows of one job. What was asked for, and what came of it, it keeps and does not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from jobs import names
from jobs.errors import RecordUnreadable
from jobs.newer import word
from jobs.table.states import Status, has_ended

log = structlog.get_logger()

Found = TypeVar("Found")


class Artifact(BaseModel):
    """
    One stored object that a job made. What else its kind says of it (a picture's size and seed) stands beside these.

    Attributes:
        key: In the store.
        bytes: Size of the object.
        thumbnail_key: Of a small picture of it, if one was asked for.
        name: Of its kind's choice; empty where it has but one sort of artifacts.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    key: str
    content_type: str
    bytes: int
    sha256: str
    thumbnail_key: str | None = None
    name: str = ""

    @property
    def meta(self) -> dict[str, Any]:
        """What its kind says of it."""
        return dict(self.model_extra or {})


class JobError(BaseModel):
    """Why a job ended without images: `code` for a machine, `message` for a person."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """
    A job at one moment, as far as this version knows what stands there.

    Attributes:
        kind: Name of its kind, which knows what `payload` means.
        status: A word that only a newer version knows is shown as it is.
        payload: What was settled at submission, without what is at its default; None where the job was refused before
            it became one. `request` then holds what came.
        stage: Of its kind.
        created_at, started_at, ended_at: Unix time, seconds, by Redis' clock.
        not_before: Likewise; when it may begin, of one that was to wait.
        attempts: How often it began, and was not taken back.
        artifacts: What it made, in its kind's order.
        data: What it made that needs no object of its own: a text, a number.
        warnings: What its caller should know though it went well, a sentence each.
        timings: Seconds for each stage, and in all.
        batch, custom_id: The batch that it is part of, and its own name in there.
        deletion, deleted_at: "deleting", or "gone", since somebody has deleted its result, and when that was.
        deleted_images: How many images there were then.
        notified: Names of the protocols that had notified of its end by then: nothing that follows it is sent again.
        is_partial: Something in the record is of a newer version, and not in here.
    """

    id: str
    kind: str = names.FIRST_KIND
    status: Status | str
    queue: str
    caller: str
    payload: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    stage: str | None = None
    step: int = 0
    steps: int = 0
    attempts: int = 0
    created_at: float
    not_before: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error: JobError | None = None
    artifacts: tuple[Artifact, ...] = ()
    data: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    batch: str | None = None
    custom_id: str | None = None
    deletion: str | None = None
    deleted_at: float | None = None
    deleted_images: int | None = None
    notified: tuple[str, ...] = ()
    is_partial: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
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

    def at_its_end(self, fields: Mapping[str, str]) -> JobRecord:
        """
        The same job when it has ended.

        Args:
            fields: What its record says of its way and its end.
        """
        return replace(self, **_read_way(fields))


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
    way = _read_way(fields)
    is_newer = _number(fields, "schema") > names.SCHEMA_VERSION
    return {
        **way,
        "is_partial": way["is_partial"] or is_newer,
        "kind": fields.get("kind") or names.FIRST_KIND,
        "queue": fields["queue"],
        "caller": fields["caller"],
        "payload": _json(fields, "spec", dict),
        "request": _json(fields, "request", dict),
        "created_at": _time(fields, "created_at"),
        "not_before": _time(fields, "not_before") if fields.get("not_before") else None,
        "started_at": _time(fields, "started_at") if fields.get("started_at") else None,
        "batch": fields.get("batch"),
        "custom_id": fields.get("custom_id"),
        **_read_deletion(fields),
    }


def _read_deletion(fields: Mapping[str, str]) -> dict[str, Any]:
    if not fields.get("deletion"):
        return {}
    return {
        "deletion": fields["deletion"],
        "deleted_at": _time(fields, "deleted_at"),
        "deleted_images": _number(fields, "made"),
        "notified": tuple(fields.get("told", "").split()),
    }


def _read_way(fields: Mapping[str, str]) -> dict[str, Any]:
    """What changes while the job runs."""
    artifacts, is_whole = _artifacts(fields)
    return {
        "status": word(Status, fields["status"]),
        "stage": fields.get("stage") or None,
        "step": _number(fields, "step"),
        "steps": _number(fields, "steps"),
        "attempts": _number(fields, "attempts"),
        "ended_at": _time(fields, "ended_at") if fields.get("ended_at") else None,
        "error": _error(fields),
        "artifacts": artifacts,
        "data": _json(fields, "data", dict),
        "warnings": tuple(map(str, _json(fields, "warnings", list) or ())),
        "timings": _timings(fields),
        "is_partial": not is_whole,
    }


def _artifacts(fields: Mapping[str, str]) -> tuple[tuple[Artifact, ...], bool]:
    """Those that are understood, and whether all are."""
    found = _json(fields, "images", list) or []  # Their name since the first version, which made nothing else.
    read = [_artifact(each) for each in found]
    artifacts = tuple(each for each in read if each is not None)
    return artifacts, len(artifacts) == len(found)


def _artifact(fields: Any) -> Artifact | None:
    try:
        return Artifact.model_validate(fields)
    except ValidationError:
        return None


def _error(fields: Mapping[str, str]) -> JobError | None:
    found = _json(fields, "error", dict)
    if not found:
        return None
    return JobError(code=str(found.get("code", "unknown")), message=str(found.get("message", "")))


def _timings(fields: Mapping[str, str]) -> dict[str, float]:
    found = _json(fields, "timings", dict) or {}
    return {stage: float(took_s) for stage, took_s in found.items() if isinstance(took_s, int | float)}


def _json(fields: Mapping[str, str], name: str, kind: type[Found]) -> Found | None:
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
