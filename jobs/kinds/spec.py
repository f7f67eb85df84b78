"""What a job is: the request as a caller writes it, and the specification that a worker runs."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from jobs.errors import InvalidRequest

MAX_PROMPT_CHARS = 4_000
MAX_SIDE_PX = 8_192
MAX_SEED = 2**63 - 1

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
Seconds = Annotated[float, Field(gt=0, le=30 * 24 * 3600, allow_inf_nan=False)]
Priority = Literal["low", "normal", "high"]
FileMetadata = Literal["full", "mark"]

# What the first version hashed of a request that says nothing but its prompt. Its digests live on in Redis beside
# idempotency keys, so this stays as it is, whatever fields or defaults come later: see `JobRequest.digest`.
_DIGESTED_AT_FIRST: dict[str, Any] = {
    "negative_prompt": "",
    "n": 1,
    "output": {"format": "png", "quality": None, "resize": None, "crop": None, "thumbnail": None},
    "priority": "normal",
    "start_deadline": None,
    "deadline": None,
    "metadata": {},
    "caller": "default",
    "reproducible": False,
    "model": None,
    "width": None,
    "height": None,
    "num_inference_steps": None,
    "guidance_scale": None,
    "scheduler": None,
    "seed": None,
}


Parsed = TypeVar("Parsed", bound="Strict")


class Strict(BaseModel):
    """Frozen; a field that is not there is an error; a string is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Box(Strict):
    """A rectangle, in pixels."""

    width: Side
    height: Side


class Output(Strict):
    """
    What postprocessing does to each image, in this order: resize, crop, encode.

    Attributes:
        format: File format.
        quality: 1–100, for JPEG and WebP; PNG is lossless and takes none.
        resize: Size to scale to; the proportions change if the box has others.
        crop: Cut to this size around the center, after the resize.
        thumbnail: Longer side of an additional small WebP, in pixels.
        metadata: What the files say of themselves. "mark": that a machine made them; "full": also the prompt and all
            that makes the image again. Unset, what the model's catalogue entry says. `job.json` has all of it always.
    """

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    resize: Box | None = None
    crop: Box | None = None
    thumbnail: Annotated[int, Field(ge=16, le=1_024)] | None = None
    metadata: FileMetadata | None = None

    @model_validator(mode="after")
    def _quality_fits_format(self) -> Output:
        if self.quality is not None and self.format == "png":
            raise ValueError("quality: PNG is lossless; leave it out or choose jpeg or webp")
        return self


class _Common(Strict):
    """
    Fields that a request and a specification share.

    Attributes:
        prompt: What to draw.
        negative_prompt: What to keep away from; has effect with guidance_scale above 1.
        n: Number of images; image i has the seed `seed + i`.
        priority: Order among the caller's own jobs that wait in a queue; others' are not concerned.
        start_deadline: Seconds after submission after which it is not worth starting.
        deadline: Seconds after submission after which it is not worth having.
        idempotency_key: Submitting again with the same key and caller gives the same job.
        metadata: The caller's own tags, kept and given back.
        caller: Whose turn it is, for fairness between callers.
        reproducible: Make the same bytes whatever runs beside it on the same device; takes a little longer.
    """

    prompt: Prompt
    negative_prompt: Text = ""
    n: Annotated[int, Field(ge=1, le=64)] = 1
    output: Output = Output()
    priority: Priority = "normal"
    start_deadline: Seconds | None = None
    deadline: Seconds | None = None
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    metadata: Annotated[
        dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
        Field(max_length=16),
    ] = {}
    caller: Name = "default"
    reproducible: bool = False


class JobRequest(_Common):
    """
    A job as a caller writes it. What is None takes the model's default; an unset seed is drawn.

    Attributes:
        model: Name in the catalogue.
        width, height: Pixels.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance (Ho & Salimans 2022); 1 or less is none.
        scheduler: One of the model's schedulers.
        seed: Of the first image.
    """

    model: Name | None = None
    width: Side | None = None
    height: Side | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1_000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    scheduler: Name | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None

    def digest(self) -> str:
        """
        SHA-256 over the parameters, to tell a repeated submission from another one with the same key.

        What is at its default is not in it, so a field that comes with a later version changes no digest.
        """
        chosen = self.model_dump(mode="json", exclude_defaults=True, exclude={"idempotency_key"})
        output = _DIGESTED_AT_FIRST["output"] | chosen.get("output", {})
        parameters = _DIGESTED_AT_FIRST | chosen | {"output": output}
        return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


class JobSpec(_Common):
    """A job with every parameter settled, so that its images can be made again. Fields as in `JobRequest`."""

    # A stored job may have fields of a newer version: readers pass over them, `spec_to_run` of the table refuses them.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    model: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    seed: int

    def summary(self) -> str:
        """A line for people: model, size, steps, the first words of the prompt."""
        prompt = " ".join(self.prompt.split())
        prompt = prompt if len(prompt) <= 48 else prompt[:47].rstrip() + "…"
        return f"{self.model} {self.width}×{self.height} {self.num_inference_steps} steps “{prompt}”"


def parse_request(fields: dict[str, Any]) -> JobRequest:
    """Validate a job as a caller writes it. Raises as `parse` does."""
    return parse(JobRequest, fields)


def parse(kind: type[Parsed], fields: dict[str, Any]) -> Parsed:
    """
    Validate a request of some kind.

    Raises:
        InvalidRequest: Names the first field that is wrong, and says why.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as exc:
        raise _explain(exc) from exc


def _explain(exc: ValidationError) -> InvalidRequest:
    """What is wrong with the first field of a request that pydantic refuses, as a sentence for a person."""
    # An unknown name is most often a misspelt one, which also leaves a field missing: name it first.
    first = min(exc.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden")
    path = [str(part) for part in first["loc"]]
    reason = {"extra_forbidden": "there is no such field", "missing": "is missing"}.get(first["type"])
    if reason is None:
        reason = (
            first["msg"]
            .removeprefix("Value error, ")
            .replace("Input should", "should")
            .replace("String should", "should")
        )
    if first["type"] == "value_error" and ": " in reason:
        field, reason = reason.split(": ", 1)
        path.append(field)
    return InvalidRequest(".".join(path) or "request", reason)
