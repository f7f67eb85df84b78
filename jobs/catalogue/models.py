"""The models that can be asked for, read from `models.toml` without torch."""

from __future__ import annotations

import secrets
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.errors import InvalidConfiguration, InvalidRequest, ModelNotAvailable
from jobs.kinds.spec import MAX_SEED, Box, FileMetadata, JobRequest, JobSpec, Name, Output

Positive = Annotated[int, Field(ge=1)]

# Most steps of those schedulers of diffusers that do not take any number: a consistency model is distilled on fifty.
MAX_STEPS_OF_SCHEDULER = {"lcm": 50, "tcd": 50}

_OUTPUT_PIXELS = 4_096 * 4_096  # a WebP of which takes a worker 3 s and 200 MiB
_SEED_BITS = 32  # Of drawn seeds: short enough to read out and type again.


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Defaults(_Entry):
    """Sampling parameters of a request that leaves them out."""

    width: Positive
    height: Positive
    num_inference_steps: Positive
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    scheduler: str


class Limits(_Entry):
    """
    What a request may ask of a model. Sides in pixels, multiples of `side_multiple`.

    Attributes:
        max_output_pixels: Of one image, after `output.resize`; unset, 4096 × 4096, or the model's own largest image.
        max_job_output_pixels: Of all images of a job; unset, four such images, or `max_n` of the model's own largest.
    """

    min_side: Positive
    max_side: Positive
    side_multiple: Positive = 8
    max_steps: Positive
    max_n: Positive
    max_output_pixels: Positive | None = None
    max_job_output_pixels: Positive | None = None

    @property
    def output_pixels(self) -> int:
        """The most pixels of one image, as it is stored."""
        return self.max_output_pixels or max(_OUTPUT_PIXELS, self.max_side**2)

    @property
    def job_output_pixels(self) -> int:
        """The most pixels of all images of a job, as they are stored."""
        own = self.max_n * self.max_side**2 if self.max_output_pixels is None else 0
        return self.max_job_output_pixels or max(4 * self.output_pixels, own)


class Model(_Entry):
    """
    One model of the catalogue.

    Attributes:
        source: A folder (relative to the catalogue) or a hub id.
        revision: Commit or tag of the hub, or the label of the folder's content; recorded with each image.
        family: Which code runs it; "diffusers" for any text-to-image pipeline that has no family of its own here.
        reproducible_rows: Rows of a forward pass that holds a job with `reproducible`.
        metadata: What image files say of themselves: "mark" keeps prompt and parameters out of all of this model's,
            "full" leaves it to each job (`output.metadata`).
    """

    name: Name
    source: str
    revision: str
    dtype: Literal["float32", "bfloat16", "float16"]
    family: Literal["stable-diffusion", "stable-diffusion-xl", "diffusers", "simulated"]
    defaults: Defaults
    limits: Limits
    schedulers: Annotated[tuple[str, ...], Field(min_length=1)]
    reproducible_rows: Positive = 4
    metadata: FileMetadata = "full"

    @model_validator(mode="after")
    def _default_scheduler_is_offered(self) -> Model:
        if self.defaults.scheduler not in self.schedulers:
            raise ValueError(f"defaults.scheduler {self.defaults.scheduler!r} is not one of schedulers")
        return self

    @model_validator(mode="after")
    def _defaults_are_within_limits(self) -> Model:
        limits = self.limits
        for side in (self.defaults.width, self.defaults.height):
            if not limits.min_side <= side <= limits.max_side or side % limits.side_multiple:
                raise ValueError(f"defaults: a side of {side} is outside the model's own limits")
        if self.defaults.num_inference_steps > self.max_steps(self.defaults.scheduler):
            raise ValueError("defaults.num_inference_steps is above limits.max_steps, or what its scheduler runs")
        return self

    def max_steps(self, scheduler: str) -> int:
        """The most denoising steps that a request may ask for."""
        return min(self.limits.max_steps, MAX_STEPS_OF_SCHEDULER.get(scheduler, self.limits.max_steps))


class Catalogue:
    """The models by name; the first is the default."""

    def __init__(self, models: list[Model], folder: Path) -> None:
        self.models = {model.name: model for model in models}
        self._folder = folder

    @classmethod
    def read(cls, path: Path) -> Catalogue:
        """
        Read a catalogue file.

        Raises:
            InvalidConfiguration: The file is missing or wrong.
        """
        try:
            tables: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
            models = [Model(name=name, **table) for name, table in tables.get("models", {}).items()]
        except (OSError, ValueError, TypeError, AttributeError) as exc:
            raise InvalidConfiguration(f"model catalogue {path}: {exc}") from exc
        if not models:
            raise InvalidConfiguration(f"model catalogue {path}: it has no model")
        return cls(models, path.resolve().parent)

    def source_of(self, model: Model) -> str:
        """The model's folder as an absolute path, or its hub id."""
        folder = self._folder / model.source
        return str(folder) if folder.is_dir() else model.source

    def settle(self, request: JobRequest) -> JobSpec:
        """
        Fill in the model's defaults, draw the seed if it is unset, and check the model's limits.

        Raises:
            ModelNotAvailable: No model of that name.
            InvalidRequest: The model cannot do what is asked.
        """
        model = self._find(request.model)
        fields = request.model_dump(exclude_none=True)
        seed = request.seed if request.seed is not None else secrets.randbits(_SEED_BITS)
        settled = {"model": model.name, "seed": seed, "output": _settle_output(request.output, model)}
        spec = JobSpec.model_validate(model.defaults.model_dump() | fields | settled)
        _check_limits(spec, model)
        return spec

    def _find(self, name: str | None) -> Model:
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise ModelNotAvailable("model", f"there is no model {name!r}; there are {', '.join(self.models)}")
        return self.models[name]


def _settle_output(output: Output, model: Model) -> Output:
    if output.metadata == "full" and model.metadata == "mark":
        raise InvalidRequest(
            "output.metadata", f"{model.name} writes no parameters into files; leave it out, or use mark"
        )
    # "full" is what None means, and is not written: records hold what is out of the ordinary alone.
    is_silent = "mark" in (output.metadata, model.metadata)
    return output.model_copy(update={"metadata": "mark" if is_silent else None})


def _check_limits(spec: JobSpec, model: Model) -> None:
    limits = model.limits
    for side in ("width", "height"):
        value = getattr(spec, side)
        if not limits.min_side <= value <= limits.max_side or value % limits.side_multiple:
            raise InvalidRequest(
                side,
                f"{model.name} makes {limits.min_side} to {limits.max_side} pixels in multiples of "
                f"{limits.side_multiple}, not {value}",
            )
    if spec.n > limits.max_n:
        raise InvalidRequest("n", f"{model.name} makes at most {limits.max_n} images a job")
    if spec.seed + spec.n - 1 > MAX_SEED:
        raise InvalidRequest("seed", f"the last image's seed would be above {MAX_SEED}")
    _check_output(spec, limits)
    if spec.scheduler not in model.schedulers:
        raise InvalidRequest(
            "scheduler", f"{model.name} has no {spec.scheduler!r}; it has {', '.join(model.schedulers)}"
        )
    if spec.num_inference_steps > (most := model.max_steps(spec.scheduler)):
        raise InvalidRequest("num_inference_steps", f"{model.name} runs at most {most} steps with {spec.scheduler}")


def _check_output(spec: JobSpec, limits: Limits) -> None:
    made = Box(width=spec.width, height=spec.height)
    scaled = spec.output.resize or made
    pixels, field = scaled.width * scaled.height, "output.resize" if spec.output.resize else "width"
    if pixels > limits.output_pixels:
        raise InvalidRequest(
            field,
            f"{scaled.width}×{scaled.height} is more than {limits.output_pixels:,} pixels, the most for one image",
        )
    if spec.n * pixels > limits.job_output_pixels:
        raise InvalidRequest(
            field if spec.n == 1 else "n",
            f"{spec.n} images of {scaled.width}×{scaled.height} are more than {limits.job_output_pixels:,} pixels, "
            "the most for one job; ask for fewer or smaller images",
        )
    crop = spec.output.crop
    if crop is not None and (crop.width > scaled.width or crop.height > scaled.height):
        raise InvalidRequest(
            "output.crop", f"{crop.width}×{crop.height} is larger than the image, {scaled.width}×{scaled.height} pixels"
        )
