"""What kinds that make pictures have in common: how these become files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from jobs.catalogue.entry import Limits, Model
from jobs.envelope import Envelope
from jobs.errors import InvalidRequest
from jobs.fields import FileMetadata, Side, Strict
from jobs.kinds.inputs import inputs_said
from jobs.kinds.kind import Spec


class Stage(StrEnum):
    """Where a job that makes pictures is, in order."""

    ENCODE = "encode"  # prompt to embeddings
    GENERATE = "generate"  # noise to latents, step by step
    POSTPROCESS = "postprocess"  # latents to image files
    UPLOAD = "upload"  # image files to storage


class DigitalSource(StrEnum):
    """How a picture came to be, in IPTC's words: https://cv.iptc.org/newscodes/digitalsourcetype/."""

    MODEL = "trainedAlgorithmicMedia"  # a trained model made all of it
    MODEL_AND_PICTURE = "compositeWithTrainedAlgorithmicMedia"  # it changed, or went on from, another picture

    @property
    def uri(self) -> str:
        """As metadata has it."""
        return f"http://cv.iptc.org/newscodes/digitalsourcetype/{self}"


# Denoising is nearly all of it.
WEIGHTS: dict[str, float] = {Stage.ENCODE: 0.02, Stage.GENERATE: 0.91, Stage.POSTPROCESS: 0.03, Stage.UPLOAD: 0.04}


class Box(Strict):
    """A rectangle, in pixels."""

    width: Side
    height: Side


class Output(Strict):
    """What postprocessing does to each image, in this order: resize, crop, encode."""

    format: Literal["png", "jpeg", "webp"] = "png"
    """File format."""
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """1–100, for JPEG and WebP; not for PNG, which is lossless."""
    resize: Box | None = None
    """Size to scale to; the proportions may change."""
    crop: Box | None = None
    """Cut to this size around the center, after the resize."""
    thumbnail: Annotated[int, Field(ge=16, le=1_024)] | None = None
    """Longer side of an additional small WebP, in pixels."""
    metadata: FileMetadata | None = None
    """
    What the files say of themselves. "mark": that a machine made them; "full": also the prompt and all that makes the
    image again. Unset, what the model's catalogue entry says. `job.json` has all of it always.
    """

    @model_validator(mode="after")
    def _quality_fits_format(self) -> Output:
        if self.quality is not None and self.format == "png":
            raise ValueError("quality: PNG is lossless; leave it out or choose jpeg or webp")
        return self


_NOT_MADE_WITH = {"model", "n", "output", "reproducible", "seed"}
_OF_AN_INPUT = {"sha256", "width", "height"}


def made_with(spec: Spec) -> dict[str, Any]:
    """
    What makes each image of a job again, but for the model and the image's own seed.

    Of a picture that it was made from, what everybody may know who sees the image: not where it lies, nor whose job or
    file it is.
    """
    names = [name for name in type(spec).model_fields if name not in {*Envelope.model_fields, *_NOT_MADE_WITH}]
    said = spec.model_dump(mode="json", include=set(names), exclude_none=True)
    return said | inputs_said(spec, lambda each: each.model_dump(include=_OF_AN_INPUT))


class Pictured(Protocol):
    """A specification of pictures: `n` of a size, each of which becomes a file."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def output(self) -> Output: ...


def settle_output(output: Output, model: Model) -> Output:
    """
    What becomes of an image of a model, without what is a matter of course.

    Raises:
        InvalidRequest: The model's files are to say less than is asked.
    """
    if output.metadata == "full" and model.metadata == "mark":
        raise InvalidRequest(
            "output.metadata", f"{model.name} writes no parameters into files; leave it out, or use mark"
        )
    # "full" is what None means, and is not written: records hold what is out of the ordinary alone.
    is_silent = "mark" in (output.metadata, model.metadata)
    return output.model_copy(update={"metadata": "mark" if is_silent else None})


def check_output(spec: Pictured, limits: Limits) -> None:
    """Raise `InvalidRequest` where files would have more pixels than a model's entry allows, or less than a crop."""
    resize = spec.output.resize
    width, height = (resize.width, resize.height) if resize else (spec.width, spec.height)
    pixels, field = width * height, "output.resize" if resize else "width"
    if pixels > limits.output_pixels:
        raise InvalidRequest(
            field,
            f"{width}×{height} is more than {limits.output_pixels:,} pixels, the most for one image",
        )
    if spec.n * pixels > limits.job_output_pixels:
        raise InvalidRequest(
            field if spec.n == 1 else "n",
            f"{spec.n} images of {width}×{height} are more than {limits.job_output_pixels:,} pixels, "
            "the most for one job; ask for fewer or smaller images",
        )
    crop = spec.output.crop
    if crop is not None and (crop.width > width or crop.height > height):
        raise InvalidRequest(
            "output.crop", f"{crop.width}×{crop.height} is larger than the image, {width}×{height} pixels"
        )
