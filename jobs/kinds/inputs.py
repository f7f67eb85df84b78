"""What a job starts from beside its fields: objects, as callers name them, and as they were found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self, TypeAlias

from pydantic import (
    BaseModel,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from jobs.fields import Strict, explain

MAX_URL_CHARS = 2_048
MAX_KEY_CHARS = 1_024  # Amazon S3, of an object's key

FileId = Annotated[str, StringConstraints(pattern=r"^file-[A-Za-z0-9]{24}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Index = Annotated[int, Field(ge=0, le=10_000)]
ObjectKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY_CHARS)]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BY_TEXT = "give a file id (file-…), a data URL, an https URL, or an object with job and index"
_WAYS = ("file", "data", "url", "job", "object")


class _Sparse(Strict):
    """Written without what it has not."""

    @model_serializer(mode="wrap")
    def _said(self, handler: Any) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Reference(_Sparse):
    """
    An object, as a caller names it: by one of these fields, or by a text that is a file's id or a URL.

    Attributes:
        file: Id of an uploaded file.
        data: A data URL (RFC 2397), base64: the object itself.
        url: An https URL, where the operator lists its host.
        job, index: A picture that an earlier job made.
        object: Key of an object in the store, where the operator lets jobs have it.
    """

    file: FileId | None = None
    data: Annotated[str, StringConstraints(pattern=r"^data:")] | None = None
    url: Annotated[str, StringConstraints(pattern=r"^https://", max_length=MAX_URL_CHARS)] | None = None
    job: JobId | None = None
    index: Index | None = None
    object: ObjectKey | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.startswith("file-"):
            return {"file": value}
        scheme = _SCHEME.match(value)
        if scheme is None or scheme[1] not in ("data", "https"):
            raise ValueError(_BY_TEXT)
        return {"url" if scheme[1] == "https" else "data": value}

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(getattr(self, name) is not None for name in _WAYS) != 1:
            raise ValueError(_BY_TEXT)
        if self.index is not None and self.job is None:
            raise ValueError("index: goes with job")
        return self


class Input(_Sparse):
    """
    An object that was found: what a specification keeps of it, and a worker fetches.

    Attributes:
        file, object: As of `Reference`; what was sent or fetched became a file.
        job, index: Likewise.
        bytes: Its size.
        sha256: Of its bytes, where it was read.
        width, height: In pixels, as the picture is shown.
    """

    file: FileId | None = None
    job: JobId | None = None
    index: Index | None = None
    object: ObjectKey | None = None
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]

    def said_by_bytes(self) -> dict[str, Any]:
        """What distinguishes it from another one: of a file whose bytes are known, these."""
        return self.model_dump(mode="json", exclude={"file"} if self.file and self.sha256 else None)


class InputMark:
    """
    Marks a field of a request or specification that names an object, or a list of them.

    Attributes:
        most: How many a list may have; None where the field is no list.
    """

    def __init__(self, *, most: int | None = None) -> None:
        self.most = most


def by_path(named: Mapping[str, Any]) -> dict[str, Any]:
    """What fields name, by field, or by place in its list (`references.0`); one that is None names nothing."""
    found: dict[str, Any] = {}
    for field, value in named.items():
        if isinstance(value, list):
            found |= {f"{field}.{place}": each for place, each in enumerate(value)}
        elif value is not None:
            found[field] = value
    return found


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """What a field names, each of it changed."""
    if isinstance(value, list):
        return [change(each) for each in value]
    return None if value is None else change(value)


def inputs_said(fields: BaseModel, say: Callable[[Input], dict[str, Any]]) -> dict[str, Any]:
    """What is said of inputs that were found, by field; a list's, one by one."""
    said: dict[str, Any] = {}
    for field, value in fields:
        if isinstance(value, Input):
            said[field] = say(value)
        elif isinstance(value, list) and value and all(isinstance(each, Input) for each in value):
            said[field] = [say(each) for each in value]
    return said


class ReferenceRefused(ValueError):
    """
    This names no object. Its text is a sentence for a person.

    Attributes:
        path: Of what is wrong within the field; empty where it is all of it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def read_reference(value: Any) -> Reference:
    """
    What a caller wrote.

    Raises:
        ReferenceRefused: It names nothing, or several objects.
    """
    if not isinstance(value, str | dict):
        raise ReferenceRefused("", _BY_TEXT)
    try:
        return Reference.model_validate(value)
    except ValidationError as exc:
        refusal = explain(exc)
        path = "" if refusal.field == "request" else refusal.field
        raise ReferenceRefused(path, str(refusal).removeprefix(f"{refusal.field}: ")) from exc


def _read(value: Any) -> Input | Reference:
    """Only what was found here is an `Input`: what a caller writes is looked for, whatever he says of it."""
    if isinstance(value, Input):
        return value
    try:
        return read_reference(value)
    except ReferenceRefused as exc:
        raise ValueError(f"{exc.path}: {exc}" if exc.path else str(exc)) from exc


def _read_optional(value: Any) -> Input | Reference | None:
    return None if value is None else _read(value)


def _write(value: Input | Reference | None) -> dict[str, Any] | None:
    return None if value is None else value.model_dump(mode="json")


# Of a request; a specification has `Annotated[Input, InputMark(), PER_ROW]`.
RequestedInput: TypeAlias = Annotated[
    Input | Reference,
    PlainValidator(_read, json_schema_input_type=str | Reference),
    PlainSerializer(_write),
    InputMark(),
]
OptionalInput: TypeAlias = Annotated[
    Input | Reference | None,
    PlainValidator(_read_optional, json_schema_input_type=str | Reference | None),
    PlainSerializer(_write),
    InputMark(),
]
