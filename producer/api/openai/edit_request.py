"""What an OpenAI client asks to have edited, in a form or in JSON, and the job that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, model_validator

from jobs.catalogue.entry import Model
from jobs.fields import Strict, parse
from jobs.kinds.edit import MAX_REFERENCES, EditParameters
from producer.api.openai.request import PicturesRequest

MOST_PICTURES = 1 + MAX_REFERENCES

_LITERALS = {"number", "integer", "boolean"}  # Types of JSON Schema whose values a form writes as JSON does.


class EditsRequest(PicturesRequest, EditParameters):
    """The fields of `POST /v1/images/edits` beside its pictures."""

    completed: ClassVar[str] = "image_edit.completed"
    names: ClassVar[Mapping[str, str]] = {**PicturesRequest.names, "references": "image"}

    input_fidelity: Literal["high", "low"] | None = None
    """No model has it: `strength` says how much may change. "low", OpenAI's default, is taken in silence."""

    @property
    def unheeded(self) -> list[str]:
        """As of `PicturesRequest`."""
        fidelity = "input_fidelity: no model has it; strength says how much may change"
        return [*super().unheeded, *([fidelity] if self.input_fidelity == "high" else [])]

    def job_fields(self, model: Model) -> dict[str, Any]:
        """As of `PicturesRequest`; of an edit."""
        own = {name: getattr(self, name) for name in EditParameters.model_fields}
        given = {name: value for name, value in own.items() if value is not None}
        return {"kind": self.kind, **super().job_fields(model), **given}


class PictureReference(Strict):
    """A picture, by one of both."""

    file_id: Annotated[str, Field(max_length=255)] | None = None
    """Id of an uploaded file."""
    image_url: str | None = None
    """A data URL, or an https URL where the operator lists its host."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.file_id is None) == (self.image_url is None):
            raise ValueError("give file_id or image_url")
        return self

    @property
    def named(self) -> str | dict[str, str]:
        """As a job names it."""
        return {"file": self.file_id} if self.file_id is not None else self.image_url or ""


class EditsBody(EditsRequest):
    """The same request in JSON."""

    names: ClassVar[Mapping[str, str]] = {**PicturesRequest.names, "image": "images", "references": "images"}

    images: Annotated[list[PictureReference], Field(min_length=1, max_length=MOST_PICTURES)]
    """The picture that is edited, and behind it those that the prompt speaks of, of models that take several."""
    mask: PictureReference | None = None
    """Transparent, or white, where it is repainted."""

    def job_fields(self, model: Model) -> dict[str, Any]:
        """As of `EditsRequest`, with its pictures."""
        named = pictures_of([each.named for each in self.images], self.mask and self.mask.named)
        return {**super().job_fields(model), **named}


def read_texts(texts: Mapping[str, str]) -> EditsRequest:
    """
    The fields of a form. An empty one is null, as OpenAI's clients write it.

    Raises:
        InvalidRequest: By the name of the field that is wrong.
    """
    given = {name: text for name, text in texts.items() if text or name not in _OPTIONAL}
    return parse(EditsRequest, {name: _value(name, text) for name, text in given.items()})


def pictures_of(images: Sequence[Any], mask: Any = None) -> dict[str, Any]:
    """Fields of a job: the first picture is edited, all others are looked at."""
    image, *references = images
    named = {"image": image, "mask": mask, "references": references or None}
    return {name: value for name, value in named.items() if value is not None}


def _value(name: str, text: str) -> Any:
    if name not in _NO_TEXTS:
        return text
    try:
        value = orjson.loads(text.lower())  # Python's own writes True.
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _names_of_no_texts() -> frozenset[str]:
    fields = EditsRequest.model_json_schema()["properties"].items()
    return frozenset(
        name for name, field in fields if _LITERALS & {each.get("type") for each in field.get("anyOf", ())}
    )


_NO_TEXTS = _names_of_no_texts()
_OPTIONAL = frozenset(name for name, field in EditsRequest.model_fields.items() if not field.is_required())
