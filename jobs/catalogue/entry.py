"""One entry of `models.toml`: a model, what a request takes from it where it says nothing, and what it may ask."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from jobs.catalogue.families import FAMILIES, UNKNOWN, Guidance, Traits
from jobs.catalogue.loading import Dtype, Loading, Table
from jobs.fields import FileMetadata, Name

Positive = Annotated[int, Field(ge=1)]

Edited = Literal["image", "mask"]
WayToEdit = Literal["strength", "instruction"]

# Families that begin at a picture.
_EDITING_FAMILIES = (
    *("stable-diffusion", "stable-diffusion-xl", "simulated"),
    *("stable-diffusion-3", "flux", "qwen-image", "z-image"),
)
# Those that edit one picture at a time.
_OF_ONE_PICTURE = (*_EDITING_FAMILIES, "flux-kontext", "qwen-image-edit")
_BY_STRENGTH: dict[Edited, WayToEdit] = {"image": "strength", "mask": "strength"}
_PICTURES_BY_STRENGTH: dict[Edited, WayToEdit] = {"image": "strength"}
_NO_EDITS: dict[Edited, WayToEdit] = {}
# Whatever the model.
_WAYS_TO_EDIT: dict[str, dict[Edited, WayToEdit]] = {
    **dict.fromkeys(_EDITING_FAMILIES, _BY_STRENGTH),
    "flux-kontext": {"image": "instruction", "mask": "strength"},
    "qwen-image-edit": {"image": "instruction"},
    "qwen-image-edit-plus": {"image": "instruction"},
    "flux2": {"image": "instruction"},
    "flux2-klein": {"image": "instruction", "mask": "strength"},
    **dict.fromkeys(("chroma", "sana-sprint"), _PICTURES_BY_STRENGTH),
    **dict.fromkeys(("aura-flow", "lumina2", "hunyuan-image", "krea2", "sana"), _NO_EDITS),
    **dict.fromkeys(("pixart-sigma", "pixart-alpha"), _NO_EDITS),
}

# Most steps of those schedulers of diffusers that do not take any number: a consistency model is distilled on fifty.
# Those that flow-matching models have under these names take any.
MAX_STEPS_OF_SCHEDULER = {"lcm": 50, "tcd": 50}

_OUTPUT_PIXELS = 4_096 * 4_096  # a WebP of which takes a worker 3 s and 200 MiB


class Defaults(Table):
    """Sampling parameters of a request that leaves them out."""

    width: Positive
    height: Positive
    num_inference_steps: Positive
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    scheduler: str


class Limits(Table):
    """
    What a request may ask of a model. Sides in pixels.

    Attributes:
        max_references: Further pictures of an edit, beside the one that is edited; unset: as the worker finds.
        side_multiple: Of which sides are multiples, and of the family's own, too: `Model.side_multiple`.
        max_output_pixels: Of one image, after `output.resize`; unset, 4096 × 4096, or the model's own largest image.
        max_job_output_pixels: Of all images of a job; unset, four such images, or `max_n` of the model's own largest.
    """

    min_side: Positive
    max_side: Positive
    side_multiple: Positive = 8
    max_steps: Positive
    max_n: Positive
    max_references: Annotated[int, Field(ge=0)] | None = None
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


class Model(Loading):
    """
    One model of the catalogue. How it is loaded say the lines of `Loading`.

    Attributes:
        source: A folder (relative to the catalogue) or a hub id.
        revision: Commit of the hub (workers take no branch or tag), or the label of the folder's content; recorded with
            each image.
        family: Which code runs it; "diffusers" for any text-to-image pipeline that has no family of its own here. A
            worker has to know it; who submits does not, and may be of a version that does not know it.
        reproducible_rows: Rows of a forward pass that holds a job with `reproducible`.
        edits: How it edits a whole picture ("image") and a masked part ("mask"): by "strength", or by "instruction",
            which has no strength; what is left out it does not do. Unset: as its family does, or as the worker finds.
        guidance: What `guidance_scale` is of this model, where its family has models of several sorts; unset, as of
            most of its family: see `jobs.catalogue.families`.
        negative_prompt: Whether it takes one, likewise.
        max_sequence_length: Tokens of a prompt that the model is given; what is longer is cut. Unset, as many as
            diffusers' pipeline takes by itself.
        text_device: Where prompts are encoded: beside the model, or on the processor, which leaves the device's memory
            to the model.
        min_vram_gb: Memory of a device that serves it, in GB (10⁹ bytes), as cards are named: one of 80 GB has at least
            80. A worker's process leaves it out on a smaller device, and on the processor. Unset, any serves it.
        memory_gb: What it takes of a device when it is loaded, in GB (10⁹ bytes): about the bytes of its weights. A
            worker that cannot hold all of its models at once reckons with it.
        metadata: What image files say of themselves: "mark" keeps prompt and parameters out of all of this model's,
            "full" leaves it to each job (`output.metadata`).
    """

    name: Name
    source: str
    revision: str
    dtype: Dtype
    family: Name
    defaults: Defaults
    limits: Limits
    schedulers: Annotated[tuple[str, ...], Field(min_length=1)]
    reproducible_rows: Positive = 4
    edits: dict[Edited, WayToEdit] | None = None
    guidance: Guidance | None = None
    negative_prompt: bool | None = None
    max_sequence_length: Positive | None = None
    text_device: Literal["model", "cpu"] = "model"
    min_vram_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    memory_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    metadata: FileMetadata = "full"

    @model_validator(mode="after")
    def _default_scheduler_is_offered(self) -> Model:
        if self.defaults.scheduler not in self.schedulers:
            raise ValueError(f"defaults.scheduler {self.defaults.scheduler!r} is not one of schedulers")
        return self

    @model_validator(mode="after")
    def _sides_are_those_of_its_family(self) -> Model:
        multiple = self.limits.side_multiple
        if "side_multiple" in self.limits.model_fields_set and multiple != self.side_multiple:
            raise ValueError(
                f"limits.side_multiple is {multiple}, and models of the family {self.family} make multiples of "
                f"{self.traits.side_multiple}: set it to {self.side_multiple}, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _negative_prompt_has_guidance(self) -> Model:
        if self.negative_prompt and self.how_guided in ("embedded", "none"):
            raise ValueError(f"negative_prompt has no effect where guidance is {self.how_guided!r}: leave it out")
        return self

    @model_validator(mode="after")
    def _defaults_are_within_limits(self) -> Model:
        limits = self.limits
        for side in (self.defaults.width, self.defaults.height):
            if not limits.min_side <= side <= limits.max_side or side % self.side_multiple:
                raise ValueError(f"defaults: a side of {side} is outside the model's own limits")
        if self.defaults.num_inference_steps > self.max_steps(self.defaults.scheduler):
            raise ValueError("defaults.num_inference_steps is above limits.max_steps, or what its scheduler runs")
        return self

    @model_validator(mode="after")
    def _family_heeds_it(self) -> Model:
        heeds = {
            **dict.fromkeys(Loading.model_fields, self.family != "simulated"),
            "textual_inversions": self.traits.textual_inversions,
            "call": self.family == "diffusers",
            "compile": self.traits.compile,
            "safety_checker": self.family in ("stable-diffusion", "diffusers"),
            "text_device": self.traits.text_device,
            "max_sequence_length": self.traits.max_sequence_length or self.family == "diffusers",
        }
        if self.family in (*FAMILIES, "diffusers"):
            for name, is_heeded in heeds.items():
                if name in self.model_fields_set and not is_heeded:
                    raise ValueError(f"{name}: models of family {self.family} do not heed it; leave it out")
        return self

    @model_validator(mode="after")
    def _types_of_components_are_heeded(self) -> Model:
        for name, component in self.components.items():
            # What others make goes into a pass as it is.
            if component.dtype not in (None, self.dtype) and name != "vae":
                raise ValueError(f"components.{name}.dtype: only the vae may have another than the model; leave it out")
        return self

    @model_validator(mode="after")
    def _texts_are_where_they_can_be(self) -> Model:
        for line, how in self.quantizations.items():
            if how == "nf4" and self.text_device == "cpu" and line.startswith("components.text_encoder"):
                raise ValueError(f'{line}: "nf4" is for GPUs alone, and text_device is "cpu": leave one of them out')
        return self

    @model_validator(mode="after")
    def _offloads_what_can_wait(self) -> Model:
        if self.offload and "nf4" in self.quantizations.values():
            raise ValueError('offload: weights of quantization "nf4" stay on their GPU: leave one of them out')
        if self.offload == "group" and self.compile:
            raise ValueError('offload: layers that come and go are not compiled: take "model", or leave compile out')
        return self

    @model_validator(mode="after")
    def _compiled_sizes_are_asked_for(self) -> Model:
        if self.compile_sizes and self.compile is None:
            raise ValueError('compile_sizes: nothing is compiled: set compile = "blocks", or leave it out')
        for size in self.compile_sizes:
            if any(not self.limits.min_side <= side <= self.limits.max_side for side in size) or any(
                side % self.side_multiple for side in size
            ):
                raise ValueError(f"compile_sizes: {size[0]} × {size[1]} is outside the model's own limits")
        return self

    @property
    def loaded_as(self) -> str:
        """In which form its weights are computed with: models of one revision in two forms take unlike times."""
        forms = [self.dtype, *(f"{line.removesuffix('quantization')}{how}" for line, how in self.quantizations.items())]
        if self.compile:
            forms.append("compiled")
        if self.offload:
            forms.append(f"offload {self.offload}")
        return " ".join(forms)

    @property
    def ways_to_edit(self) -> dict[Edited, WayToEdit] | None:
        """What `edits` says, or the family; None where only a worker knows."""
        if self.edits is not None:
            return self.edits
        # Calls of a pipeline's own encode on its device, where the text encoder is not then.
        is_elsewhere = self.text_device == "cpu" and not self.traits.steps_edits
        return {} if is_elsewhere else _WAYS_TO_EDIT.get(self.family)

    @property
    def traits(self) -> Traits:
        """What its family is known to take."""
        return FAMILIES.get(self.family, UNKNOWN)

    @property
    def side_multiple(self) -> int:
        """Of which the sides of its pictures are multiples."""
        return math.lcm(self.limits.side_multiple, self.traits.side_multiple)

    @property
    def max_prompt_chars(self) -> int:
        """Of a prompt, and of a negative one."""
        return self.traits.max_prompt_chars

    @property
    def how_guided(self) -> Guidance | None:
        """What `guidance_scale` is; None where only a worker knows."""
        return self.guidance or self.traits.guidance

    @property
    def takes_negative_prompt(self) -> bool | None:
        """Whether a negative prompt has an effect, with true guidance; None where only a worker knows."""
        if self.how_guided in ("embedded", "none"):
            return False
        return self.traits.negative_prompt if self.negative_prompt is None else self.negative_prompt

    def is_guided(self, guidance_scale: float) -> bool:
        """Whether an image has a second row in a pass, for what the model makes without its prompt."""
        return self.how_guided in ("true", None) and guidance_scale > self.traits.guided_above

    @property
    def max_references(self) -> int | None:
        """What `limits` say, or the family; None where only a worker knows."""
        return 0 if self.family in _OF_ONE_PICTURE else self.limits.max_references

    def max_steps(self, scheduler: str) -> int:
        """The most denoising steps that a request may ask for."""
        most = self.limits.max_steps
        return most if self.traits.shift else min(most, MAX_STEPS_OF_SCHEDULER.get(scheduler, most))
