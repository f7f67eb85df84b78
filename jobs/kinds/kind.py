"""What there is to know of a kind of job: what can be asked for, what becomes of it, and where it passes through."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from jobs.catalogue.entry import Model
from jobs.envelope import Envelope
from jobs.errors import InvalidRequest
from jobs.fields import parse
from jobs.kinds.inputs import Input, InputMark, by_path, inputs_said
from jobs.names import FIRST_KIND, queue_of, queue_of_kind

# What the files of every kind go through, behind its own stages. A kind that has them among these is shown in them.
POSTPROCESS, UPLOAD = "postprocess", "upload"


class PerRow:
    """Marks a field of a specification that each row of a forward pass has for itself: it decides no company."""


PER_ROW = PerRow()


class Request(Envelope):
    """
    A job as a caller writes it. What is None takes the model's default.

    Attributes:
        kind: Name of its kind.
    """

    kind: ClassVar[str]

    # What the first version hashed of a request that is all at its defaults, for a kind that it knew. Its digests live
    # on in Redis beside idempotency keys, so this stays as it is, whatever fields or defaults come later.
    digested_at_first: ClassVar[Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        """A job that is over before it may begin is refused, by the name of what ends it."""
        for name in ("start_deadline", "deadline"):
            ends_s = getattr(self, name)
            if self.start_after is not None and ends_s is not None and ends_s <= self.start_after:
                raise ValueError(f"{name}: must be more than start_after, which is {self.start_after:g} s")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """With the name of the kind, which is no field: it says whose fields the others are."""
        made = handler.resolve_ref_schema(handler(core))
        kind_schema = {"type": "string", "const": cls.kind, "description": "Kind of job."}
        is_first = cls.kind == FIRST_KIND
        made["properties"] = {"kind": kind_schema | ({"default": cls.kind} if is_first else {}), **made["properties"]}
        made["required"] = [*([] if is_first else ["kind"]), *made.get("required", [])]
        return made

    def digest(self) -> str:
        """
        SHA-256 over the parameters, to distinguish a repeated submission from another one with the same key.

        What is at its default is not in it, so a field that comes with a later version changes no digest. Of a file its
        bytes are, and not its id: what is sent along again is another file where the first has gone.
        """
        chosen = self.model_dump(mode="json", exclude_defaults=True, exclude={"idempotency_key"})
        chosen |= inputs_said(self, Input.said_by_bytes)
        within = {
            name: first | (chosen.get(name) or {})
            for name, first in self.digested_at_first.items()
            if isinstance(first, dict)
        }
        parameters = {**self.digested_at_first, **chosen, **within}
        if not self.digested_at_first:  # Kinds may have the same fields.
            parameters["kind"] = self.kind
        return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


def input_fields(request: type[Request]) -> dict[str, InputMark]:
    """Fields of requests of a kind that name objects, with their marks."""
    marked = ((name, mark) for name, field in request.model_fields.items() for mark in field.metadata)
    return {name: mark for name, mark in marked if isinstance(mark, InputMark)}


class Spec(Envelope):
    """
    A job with every parameter settled, so that it can be run again to the same end.

    Attributes:
        kind: Name of its kind.
        model: Name in the catalogue, of a kind that needs one.
    """

    # A stored job may have fields of a newer version: readers pass over them, `Kind.spec_to_run` refuses them.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    kind: ClassVar[str]

    def share(self) -> Hashable:
        """
        What a job has in common with others that run with it, value for value.

        Every parameter that is not marked `PER_ROW`: one that was forgotten costs company, and never runs with another
        job's value.
        """
        fields = self.__class__.model_fields
        shared = {
            name
            for name, field in fields.items()
            if name not in Envelope.model_fields and not any(isinstance(each, PerRow) for each in field.metadata)
        }
        return tuple((name, _frozen(getattr(self, name))) for name in sorted(shared))


RequestT = TypeVar("RequestT", bound=Request)
SpecT = TypeVar("SpecT", bound=Spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[RequestT, SpecT]):
    """
    A kind of job. It is registered in `jobs.kinds.registry`, and how it runs in `workers.runners`.

    Attributes:
        name: As requests say it.
        request, spec: What a caller writes, and what that settles to.
        settle: Makes the one of the other, for a model of the catalogue; None for a kind that needs no model. Raises
            `InvalidRequest` for what that model cannot do.
        summary: A line for people.
        stages: Through which a job goes, in order, each with its weight in the job's progress.
        needs_model: Whether a model of the catalogue runs it.
        cost: What a job takes of the device, where one with its model's defaults takes 1: turns are paid with it. A
            kind that has no passes leaves it at 1.
    """

    name: str
    request: type[RequestT]
    spec: type[SpecT]
    settle: Callable[[RequestT, Model | None], SpecT]
    summary: Callable[[SpecT], str]
    stages: Mapping[str, float]
    needs_model: bool = True
    cost: Callable[[SpecT, Model | None], float] = lambda _spec, _model: 1.0

    @property
    def input_fields(self) -> dict[str, InputMark]:
        """Fields of its requests that name objects, with their marks."""
        return input_fields(self.request)

    def inputs(self, spec: SpecT) -> dict[str, Input]:
        """The objects that a job needs, each by the field that names it; in a list, by its place (`references.0`)."""
        return by_path({name: getattr(spec, name) for name in self.input_fields})

    def files(self, spec: SpecT) -> tuple[str, ...]:
        """Ids of the uploaded files among them."""
        named = (each.file for each in self.inputs(spec).values())
        return tuple(dict.fromkeys(file_id for file_id in named if file_id is not None))

    def queue(self, spec: SpecT) -> str:
        """The Celery queue of a job: its model's, or the kind's own."""
        return queue_of(str(getattr(spec, "model", ""))) if self.needs_model else queue_of_kind(self.name)

    def spec_to_run(self, stored: Mapping[str, Any]) -> SpecT:
        """
        A stored specification, for a worker: understood whole, or not at all.

        Raises:
            InvalidRequest: Names what this version does not understand.
        """
        if unknown := sorted(set(stored) - set(self.spec.model_fields)):
            raise InvalidRequest(unknown[0], "unknown field")
        return parse(self.spec, dict(stored))

    def progress(self, stage: str | None, step: int, steps: int) -> float:
        """Share of the work that is done, 0–1, at a step of a stage; 0 for a stage that it does not have."""
        done = 0.0
        for name, weight in self.stages.items():
            if name == stage:
                share = min(step / steps, 1.0) if steps else 0.0
                return round((done + weight * share) / sum(self.stages.values()), 4)
            done += weight
        return 0.0


def _frozen(value: Any) -> Hashable:
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict | list) else value
