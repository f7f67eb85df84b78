"""What an OpenAI client asks to have edited, in a form or in JSON, and the job that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, model_validator

from jobs.catalogue.entry import Model
from jobs.errors import InvalidRequest
from jobs.fields import MAX_SIDE_PX, Strict, parse
from jobs.kinds.edit import EDIT
from producer.api.openai.request import PicturesRequest

MOST_PICTURES = 16  # As OpenAI takes; which of our models takes several is another question.

_LITERALS = {"number", "integer", "boolean"}  # Types of JSON Schema whose values a form writes as JSON does.


class EditsRequest(PicturesRequest):
    """
    The fields of `POST /v1/images/edits` beside its pictures.

    Attributes:
        input_fidelity: No model has it: `strength` says how much may change. "low", OpenAI's default, is taken in
            silence.
        strength, padding_mask_crop: As in a job; not OpenAI's.
    """

    completed: ClassVar[str] = "image_edit.completed"

    input_fidelity: Literal["high", "low"] | None = None
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    padding_mask_crop: Annotated[int, Field(ge=0, le=MAX_SIDE_PX)] | None = None

    @property
    def unheeded(self) -> list[str]:
        """As of `PicturesRequest`."""
        fidelity = "input_fidelity: no model has it; strength says how much may change"
        return [*super().unheeded, *([fidelity] if self.input_fidelity == "high" else [])]

    def job_fields(self, model: Model) -> dict[str, Any]:
        """As of `PicturesRequest`; of an edit."""
        own = {"strength": self.strength, "padding_mask_crop": self.padding_mask_crop}
        given = {name: value for name, value in own.items() if value is not None}
        return {"kind": EDIT.name, **super().job_fields(model), **given}


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
    """
    The same request in JSON.

    Attributes:
        images: The picture. Several are refused until there is a model that takes them.
        mask: Transparent, or white, where it is repainted.
    """

    names: ClassVar[Mapping[str, str]] = {**PicturesRequest.names, "image": "images"}

    images: Annotated[list[PictureReference], Field(min_length=1, max_length=MOST_PICTURES)]
    mask: PictureReference | None = None

    def job_fields(self, model: Model) -> dict[str, Any]:
        """As of `EditsRequest`, with its pictures. Raises `InvalidRequest` where these are several, too."""
        check_count("images", len(self.images), model)
        named = {"image": self.images[0].named, **({"mask": self.mask.named} if self.mask else {})}
        return {**super().job_fields(model), **named}


def read_texts(texts: Mapping[str, str]) -> EditsRequest:
    """
    The fields of a form. An empty one is null, as OpenAI's clients write it.

    Raises:
        InvalidRequest: By the name of the field that is wrong.
    """
    given = {name: text for name, text in texts.items() if text or name not in _OPTIONAL}
    return parse(EditsRequest, {name: _value(name, text) for name, text in given.items()})


def check_count(field: str, count: int, model: Model) -> None:
    """Raises `InvalidRequest` where there are more pictures than the model takes, which is one."""
    if count > 1:
        raise InvalidRequest(field, f"the model {model.name} edits one picture at a time; {count} were sent")


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
