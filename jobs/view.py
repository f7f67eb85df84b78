"""
A job as it is shown: by the command line, as Celery's result, to Python and over HTTP.

The table keeps what was asked for and does not read it; here the job's kind does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.envelope import Envelope
from jobs.errors import InvalidRequest, ResultDeleted
from jobs.kinds.kind import Spec
from jobs.kinds.registry import KINDS, kind_of
from jobs.newer import read_known
from jobs.table.record import Artifact, JobError, JobRecord
from jobs.table.states import Status, has_ended

_NOT_PARAMETERS = frozenset({"caller", "metadata", "idempotency_key"})  # Shown beside them, or nobody's business.


class Picture(BaseModel):
    """What can be said of an image, wherever it lies."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    content_type: str
    width: int
    height: int
    bytes: int
    """Size of the file."""
    sha256: str
    seed: int


class Image(Picture):
    """One stored image."""

    key: str
    """Object key in the store."""
    thumbnail_key: str | None = None
    """Object key of the thumbnail, if one was asked for."""


class JobView(BaseModel):
    """A job at one moment, as far as this version understands it. Times are Unix seconds, by Redis' clock."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    object: Literal["job"] = "job"
    kind: str
    """What sort of job it is."""
    status: Annotated[Status | str, Field(union_mode="left_to_right", examples=list(Status))]
    """One of queued, processing, succeeded, failed, canceled, expired; or what a newer version calls it."""
    stage: str | None = None
    """What is done at the moment; each kind of job has its own."""
    progress: float = 0.0
    """0 to 1, over all stages."""
    step: int = 0
    steps: int = 0
    queue: str
    model: str | None = None
    parameters: dict[str, Any] | None = None
    """Every parameter settled, the seed too."""
    metadata: dict[str, str] = {}
    caller: str
    attempts: int = 0
    """How often it began."""
    created_at: float
    not_before: float | None = None
    """Before which it does not begin; null where it may at any time."""
    started_at: float | None = None
    ended_at: float | None = None
    timings: dict[str, float] = {}
    """Seconds of each stage, and in all."""
    error: JobError | None = None
    images: tuple[Image, ...] = ()
    """Pictures that it made."""
    artifacts: tuple[Artifact, ...] = ()
    """Other objects that it made."""
    data: dict[str, Any] | None = None
    """What it made that needs no object of its own."""
    warnings: tuple[str, ...] = ()
    """What there is to know though it went well, a sentence each: for example that its prompt was cut."""
    request: dict[str, Any] | None = None
    """What came, where the job was refused before it became one, or where too little of it is understood."""
    batch: str | None = None
    """The batch that it is part of."""
    custom_id: str | None = None
    """Its own name in there."""
    result: Annotated[str | None, Field(examples=["deleting", "gone"])] = None
    """Null, unless somebody has deleted what it made and was asked for: `deleting`, and `gone` when all of it is."""
    deleted_at: float | None = None
    """When that was asked for."""
    deleted_images: int | None = None
    """How many images it had."""
    spec: Annotated[Any, Field(exclude=True, repr=False)] = None
    """The same as its kind has it, to be asked by name; None where too little is understood."""
    unread: Annotated[dict[str, Any] | None, Field(exclude=True, repr=False)] = None
    is_partial: Annotated[bool, Field(exclude=True, repr=False)] = False

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return has_ended(self.status, self.ended_at)


def check_kept(view: JobView) -> None:
    """Raises `ResultDeleted` where there is nothing left to be had of what it made."""
    if view.result is not None:
        raise ResultDeleted(view.id)


def view_of(record: JobRecord) -> JobView:
    """A record, read by its kind. What only a newer version understands of it is shown as it is, or left out."""
    kind, stored = KINDS.get(record.kind), record.payload
    spec, aside = read_known(kind.spec, stored) if kind and stored is not None else (None, frozenset[str]())
    unread = {name: stored[name] for name in aside if spec is not None and stored and name in type(spec).model_fields}
    read = [(each, _image(each)) for each in record.artifacts]
    images = [image for _, image in read if image is not None]
    return JobView(
        id=record.id,
        kind=record.kind,
        status=record.status,
        stage=record.stage,
        progress=_progress(record),
        step=record.step,
        steps=record.steps,
        queue=record.queue,
        model=getattr(spec, "model", None),
        parameters=parameters_of(spec, unread) if spec else None,
        metadata=spec.metadata if spec else {},
        caller=record.caller,
        attempts=record.attempts,
        created_at=record.created_at,
        not_before=record.not_before,
        started_at=record.started_at,
        ended_at=record.ended_at,
        timings=dict(record.timings),
        error=record.error,
        images=tuple(images),
        artifacts=tuple(each for each, image in read if image is None),
        data=record.data,
        warnings=record.warnings,
        request=record.request if spec or stored is None else stored,
        batch=record.batch,
        custom_id=record.custom_id,
        result=record.deletion,
        deleted_at=record.deleted_at,
        deleted_images=record.deleted_images,
        spec=spec,
        unread=unread or None,
        is_partial=record.is_partial or bool(aside),
    )


def spec_to_run(record: JobRecord) -> Spec:
    """
    What a record asks for, for a worker: understood whole, or not at all.

    Raises:
        InvalidRequest: Names what this version does not understand.
    """
    kind = kind_of(record.kind)
    if record.payload is None:
        raise InvalidRequest("spec", "is missing")
    spec: Spec = kind.spec_to_run(record.payload)
    return spec


def parameters_of(spec: Envelope, unread: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every parameter of a job, settled; those whose values only a newer version understands, as they are."""
    shown = {name: value for name, value in (unread or {}).items() if name not in _NOT_PARAMETERS}
    settled: dict[str, Any] = spec.model_dump(mode="json", exclude=set(_NOT_PARAMETERS), exclude_none=True)
    return settled | shown


def progress_of(kind: str, status: str, stage: str | None, step: int = 0, steps: int = 0) -> float:
    """Share of the work that is done, 0–1."""
    if status == Status.SUCCEEDED:
        return 1.0
    known = KINDS.get(kind)
    return known.progress(stage, step, steps) if known else 0.0


def summary_of(record: JobRecord) -> str | None:
    """A line for people; None for a job that is not understood."""
    kind = KINDS.get(record.kind)
    spec = read_known(kind.spec, record.payload)[0] if kind and record.payload is not None else None
    return kind.summary(spec) if kind and spec else None


def _progress(record: JobRecord) -> float:
    return progress_of(record.kind, record.status, record.stage, record.step, record.steps)


def _image(artifact: Artifact) -> Image | None:
    """The picture that it is; None for anything else, and for a picture of which its kind says something else."""
    if not artifact.content_type.startswith("image/"):
        return None
    try:
        return Image.model_validate(artifact.model_dump())
    except ValidationError:
        return None
