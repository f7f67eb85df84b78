"""What a field of a request may hold, and how a refusal of one reads."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from jobs.errors import InvalidRequest

MAX_PROMPT_CHARS = 32_000  # of any model; each has its own bound: jobs/catalogue/families.py
MAX_SIDE_PX = 8_192
MAX_SEED = 2**63 - 1
MAX_S = 30 * 24 * 3600.0

_EXACT = 2.0**53  # Up to here every whole number is a float of its own (IEEE 754, binary64).
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _refuse_control_characters(text: str) -> str:
    # They mean nothing to a model, and escaped they are six times as long: too much for an image's metadata.
    if found := _CONTROL.search(text):
        raise ValueError(f"has a control character (U+{ord(found[0]):04X})")
    return text


Text = Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARS), AfterValidator(_refuse_control_characters)]
Prompt = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT_CHARS),
    AfterValidator(_refuse_control_characters),
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Side = Annotated[int, Field(ge=8, le=MAX_SIDE_PX)]
Seconds = Annotated[float, Field(gt=0, le=MAX_S, allow_inf_nan=False)]
FileMetadata = Literal["full", "mark"]

Parsed = TypeVar("Parsed", bound="Strict")


class Strict(BaseModel):
    """Frozen; a field that is not there is an error; a string is no number; 1.0 is an integer, as in JSON Schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _take_whole_numbers(cls, value: Any) -> Any:
        """JSON has one kind of number (JSON Schema, validation 6.1.1), and many languages write 1 as 1.0."""
        is_whole = type(value) is float and value.is_integer() and abs(value) <= _EXACT
        return int(value) if is_whole else value


def parse(kind: type[Parsed], fields: dict[str, Any]) -> Parsed:
    """
    Validate what a caller sent.

    Raises:
        InvalidRequest: Names the first field that is wrong, and says why.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as exc:
        raise explain(exc) from exc


def explain(exc: ValidationError) -> InvalidRequest:
    """What is wrong with the first field of a request that pydantic refuses, as a sentence for a person."""
    # An unknown name is most often a misspelt one, which also leaves a field missing: name it first.
    first = min(exc.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden")
    path = [str(part) for part in first["loc"]]
    reason = reason_of(first)
    if first["type"] == "value_error" and ": " in reason:
        field, reason = reason.split(": ", 1)
        path.append(field)
    return InvalidRequest(".".join(path) or "request", reason)


def reason_of(error: ErrorDetails) -> str:
    """Why pydantic refuses a field, as the end of a sentence that begins with its name."""
    known = {"extra_forbidden": "unknown field", "missing": "is missing"}.get(error["type"])
    said = error["msg"].removeprefix("Value error, ")
    return known or said.replace("Input should", "should").replace("String should", "should")
