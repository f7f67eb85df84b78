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
        size: WIDTHxHEIGHT in pixels; "auto" is the model's default, or the size of the picture that is edited.
        quality: Sets the number of steps: "low" takes half of the model's default, "medium" (or "standard", "auto") the
            default, "high" (or "hd") twice, "xhigh" three times and "max" four times as many, up to the model's limit.
        response_format: "b64_json" or "url", a link that expires; where it is not said, an image has both.
        output_compression: Quality of JPEG and WebP, 0 to 100.
        stream: Answer with server-sent events, one for each image.
        partial_images: Taken, and none is sent: a fast image may come before any of them, as OpenAI's reference says.
        user, safety_identifier: Kept as the job's metadata `user`; the second wins.
        background: No model makes "transparent" ones: `warnings` of the answer say so.
        moderation: Taken, without effect.
        on_unused: What becomes of a field that the model would not heed, such as a negative prompt without guidance:
            "refuse" (where it is not said), or "warn": it is left out, and `warnings` of the answer say so. Not
            OpenAI's.
        negative_prompt, num_inference_steps, guidance_scale, scheduler, shift, seed: As in a job; not OpenAI's
            (`extra_body` of its client). `num_inference_steps` wins over `quality`.
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
    model: Annotated[str, Field(max_length=255)] | None = None
    n: Annotated[int, Field(ge=1, le=64)] | None = None
    size: Annotated[str, Field(max_length=16, examples=["128x96", "auto"])] | None = None
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    user: Tag | None = None
    safety_identifier: Tag | None = None
    background: Literal["auto", "opaque", "transparent"] | None = None
    moderation: Literal["auto", "low"] | None = None
    negative_prompt: Text | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1_000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    scheduler: Name | None = None
    shift: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    on_unused: Literal["refuse", "warn"] | None = None

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
    """
    The body of `POST /v1/images/generations`.

    Attributes:
        style: No model has one; "vivid", which is OpenAI's default, is taken in silence.
    """

    completed: ClassVar[str] = "image_generation.completed"

    style: Literal["vivid", "natural"] | None = None

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
