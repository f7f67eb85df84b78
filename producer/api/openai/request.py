"""What an OpenAI client asks for, and the job that it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from fastapi import Query
from pydantic import Field

from jobs.catalogue.entry import Model
from jobs.errors import InvalidRequest
from jobs.fields import MAX_SEED, Name, Prompt, Strict, Text

Tag = Annotated[str, Field(max_length=512)]
AzureVersion = Annotated[
    str | None,
    Query(alias="api-version", description="Taken, without effect: clients that know OpenAI's API on Azure send it."),
]
Quality = Literal["low", "medium", "high", "xhigh", "max"]

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)
_QUALITIES: dict[str, Quality] = {"standard": "medium", "hd": "high", "auto": "medium"}
_STEPS: dict[Quality, float] = {"low": 0.5, "medium": 1, "high": 2, "xhigh": 3, "max": 4}
_UNCOMPRESSED = 100


class PicturesRequest(Strict):
    """
    What generations and edits have in common. What is null takes its default.

    Attributes:
        completed: The type of a stream's events.
        names: What the fields of a job are called here.
    """

    completed: ClassVar[str]
    names: ClassVar[Mapping[str, str]] = {
        "width": "size",
        "height": "size",
        "output.format": "output_format",
        "output.quality": "output_compression",
        "metadata.user": "user",
    }

    prompt: Prompt
    """Text that describes the image."""
    model: Annotated[str, Field(max_length=255)] | None = None
    """Name of the model; the first of `/v1/models` if it is left out."""
    n: Annotated[int, Field(ge=1, le=64)] | None = None
    """Number of images; image i has the seed `seed + i`."""
    size: Annotated[str, Field(max_length=16, examples=["128x96", "auto"])] | None = None
    """WIDTHxHEIGHT in pixels; "auto" is the model's default, or the size of the picture that is edited."""
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"] | None = None
    """
    Sets the number of steps: "low" takes half of the model's default, "medium" (or "standard", "auto") the default,
    "high" (or "hd") twice, "xhigh" three times and "max" four times as many, up to the model's limit.
    """
    response_format: Literal["b64_json", "url"] | None = None
    """"b64_json", or "url", a link that expires; where it is not said, an image has both."""
    output_format: Literal["png", "jpeg", "webp"] | None = None
    """Format of the files; PNG if it is left out."""
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """Quality of JPEG and WebP, 0 to 100."""
    stream: bool | None = None
    """Answer with server-sent events, one for each image."""
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    """Taken, and none is sent: a fast image may come before any of them, as OpenAI's reference says."""
    user: Tag | None = None
    """Kept as the job's metadata `user`."""
    safety_identifier: Tag | None = None
    """Likewise; it wins over `user`."""
    background: Literal["auto", "opaque", "transparent"] | None = None
    """No model makes "transparent" ones: `warnings` of the answer say so."""
    moderation: Literal["auto", "low"] | None = None
    """Taken, without effect."""
    negative_prompt: Text | None = None
    """Not OpenAI's: text that describes what to avoid, as in a job."""
    num_inference_steps: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Not OpenAI's: number of denoising steps, as in a job; it wins over `quality`."""
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    """Not OpenAI's: how closely the prompt is followed, as in a job."""
    scheduler: Name | None = None
    """Not OpenAI's: one of the model's schedulers, as in a job."""
    shift: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    """Not OpenAI's: shift of a flow-matching model's schedule, as in a job."""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    """Not OpenAI's: seed of the first image, as in a job; random if it is left out."""
    on_unused: Literal["refuse", "warn"] | None = None
    """
    Not OpenAI's: what becomes of a field that the model would not heed, such as a negative prompt without guidance:
    "refuse" (where it is not said), or "warn": it is left out, and `warnings` of the answer say so.
    """

    @property
    def level(self) -> Quality:
        """The quality, by one of the names that answers use."""
        quality = self.quality or "auto"
        return _QUALITIES.get(quality, quality)  # type: ignore[arg-type]  # all others are levels

    @property
    def end_user(self) -> str | None:
        """Who the client asks for."""
        return self.safety_identifier or self.user or None

    @property
    def unheeded(self) -> list[str]:
        """What is asked that no model here does, a sentence each; what OpenAI's clients send by themselves is none."""
        found = []
        if self.background == "transparent":
            found.append("background: no model makes transparent pictures; it is opaque")
        if self.partial_images:
            found.append("partial_images: none is sent")
        return found

    @property
    def sends_links(self) -> bool:
        """Whether the answer has links, which OpenAI's older models gave alone, and their clients read alone."""
        return self.response_format != "b64_json"

    @property
    def sends_files(self) -> bool:
        """Whether the answer has the files, which newer ones give alone."""
        return self.response_format != "url"

    def job_fields(self, model: Model) -> dict[str, Any]:
        """
        The same as fields of a job.

        Args:
            model: The one asked for.

        Raises:
            InvalidRequest: Fields that do not go together.
        """
        if self.stream and self.response_format == "url":
            raise InvalidRequest("response_format", "a stream sends b64_json only")
        fields = {
            "model": self.model,
            "n": self.n,
            "num_inference_steps": self.num_inference_steps or self._steps(model),
            "negative_prompt": self.negative_prompt,
            "guidance_scale": self.guidance_scale,
            "scheduler": self.scheduler,
            "shift": self.shift,
            "seed": self.seed,
            "metadata": {"user": self.end_user} if self.end_user else None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return {"prompt": self.prompt, "output": self._output(), **given, **_sides(self.size)}

    def renamed(self, exc: InvalidRequest) -> InvalidRequest:
        """The error with the field's name in this request."""
        first = exc.field.partition(".")[0]
        name = self.names.get(exc.field) or self.names.get(first)
        return InvalidRequest(name, str(exc).removeprefix(f"{exc.field}: ")) if name else exc

    def _steps(self, model: Model) -> int | None:
        if self.level == "medium":
            return None
        most = model.max_steps(self.scheduler or model.defaults.scheduler)
        return min(most, max(1, round(model.defaults.num_inference_steps * _STEPS[self.level])))

    def _output(self) -> dict[str, Any]:
        file_format, quality = self.output_format or "png", self.output_compression
        if quality is None or (file_format == "png" and quality == _UNCOMPRESSED):
            return {"format": file_format}
        return {"format": file_format, "quality": max(1, quality)}


class ImagesRequest(PicturesRequest):
    """The body of `POST /v1/images/generations`."""

    completed: ClassVar[str] = "image_generation.completed"

    style: Literal["vivid", "natural"] | None = None
    """No model has one; "vivid", which is OpenAI's default, is taken in silence."""

    @property
    def unheeded(self) -> list[str]:
        """As of `PicturesRequest`."""
        styled = ["style: no model has one; the prompt says it"] if self.style == "natural" else []
        return [*super().unheeded, *styled]


def _sides(size: str | None) -> dict[str, int]:
    if size is None or size == "auto":
        return {}
    found = _SIZE.fullmatch(size)
    if found is None:
        raise InvalidRequest("size", 'must be WIDTHxHEIGHT in pixels, such as 128x96, or "auto"')
    return {"width": int(found[1]), "height": int(found[2])}
