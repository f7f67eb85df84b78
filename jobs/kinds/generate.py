"""The kind `generate`: a text becomes pictures."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidRequest
from jobs.fields import MAX_SEED, Name, Prompt, Side, Text, parse
from jobs.kinds.effects import check_effects
from jobs.kinds.kind import PER_ROW, Kind, Request, Spec
from jobs.kinds.picture import WEIGHTS, DigitalSource, Output, check_output, settle_output

_SEED_BITS = 32  # Of drawn seeds: short enough to read out and type again.
_PROMPT_SHOWN = 48  # characters


class _Fields(BaseModel):
    """What a request and its specification say alike."""

    model_config = ConfigDict(use_attribute_docstrings=True)  # What is strict says each of the two.

    kind: ClassVar[str] = "generate"

    prompt: Annotated[Prompt, PER_ROW]
    """Text that describes the image; as long as the model takes it (`max_prompt_chars` in `/v1/models`)."""
    negative_prompt: Annotated[Text, PER_ROW] = ""
    """Text that describes what to avoid; refused where the model takes none, or `guidance_scale` turns guidance off."""
    n: Annotated[int, Field(ge=1, le=64), PER_ROW] = 1
    """Number of images; image i has the seed `seed + i`."""
    output: Annotated[Output, PER_ROW] = Output()
    """Postprocessing of each image."""
    reproducible: bool = False
    """
    Make the same bytes whatever else runs on the device; takes a little longer. Where the device's memory is too short
    for that, the job is done with fewer rows, and warns.
    """


class GenerateRequest(Request, _Fields):
    """Images as a caller requests them. None means the model's default; an unset seed is random."""

    model: Name | None = None
    """Name of the model in the catalogue."""
    width: Side | None = None
    """Width in pixels."""
    height: Side | None = None
    """Height in pixels."""
    num_inference_steps: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Number of denoising steps."""
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    """
    How closely the prompt is followed; refused where the model has no guidance. Of most models the scale of
    classifier-free guidance (Ho & Salimans 2022), which every value up to 1 turns off alike (`guided_above` in
    `/v1/models`); a job warns where a value between 0 and that does.
    """
    scheduler: Name | None = None
    """Scheduler: one of the model's."""
    shift: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    """
    Shift of a flow-matching model's schedule (Esser et al. 2024, section 5.3.2): above 1, more of the steps are at high
    noise. Unset, the model's own, which may depend on the size.
    """
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    """Seed of the first image."""

    digested_at_first: ClassVar[Mapping[str, Any]] = {
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


class GenerateSpec(Spec, _Fields):
    """Pictures with every parameter settled, so that they can be made again. Fields as in `GenerateRequest`."""

    digital_source: ClassVar[DigitalSource] = DigitalSource.MODEL

    model: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    shift: float | None = None
    seed: Annotated[int, PER_ROW]

    @property
    def passes(self) -> int:
        """Steps that run."""
        return self.num_inference_steps


def _settle(request: GenerateRequest, model: Model | None) -> GenerateSpec:
    assert model is not None, "the kind needs one"  # noqa: S101 - what the registry sees to
    if model.traits.only_edits:
        raise InvalidRequest("model", f"{model.name} only edits pictures; send one as image, with the kind edit")
    fields = request.model_dump(exclude_none=True)
    seed = request.seed if request.seed is not None else draw_seed()
    settled = {"model": model.name, "seed": seed, "output": settle_output(request.output, model)}
    spec = GenerateSpec.model_validate(model.defaults.model_dump() | fields | settled)
    check_sides(spec, model)
    check_sampling(spec, model)
    return spec


def draw_seed() -> int:
    """For a job whose caller names none."""
    return secrets.randbits(_SEED_BITS)


def check_sides(sides: GenerateRequest | GenerateSpec, model: Model) -> None:
    """Raise `InvalidRequest` for a side that a model does not make; one that is None is passed over."""
    limits = model.limits
    for side in ("width", "height"):
        value = getattr(sides, side)
        if value is None:
            continue
        if not limits.min_side <= value <= limits.max_side or value % model.side_multiple:
            raise InvalidRequest(
                side,
                f"{model.name} makes {limits.min_side} to {limits.max_side} pixels in multiples of "
                f"{model.side_multiple}, not {value}",
            )


def check_sampling(spec: GenerateSpec, model: Model) -> None:
    """Raise `InvalidRequest` where a model cannot make what is asked, whatever its size."""
    limits = model.limits
    for field in ("prompt", "negative_prompt"):
        if len(getattr(spec, field)) > model.max_prompt_chars:
            raise InvalidRequest(field, f"{model.name} takes at most {model.max_prompt_chars} characters")
    if spec.n > limits.max_n:
        raise InvalidRequest("n", f"{model.name} makes at most {limits.max_n} images a job")
    if spec.seed + spec.n - 1 > MAX_SEED:
        raise InvalidRequest("seed", f"the last image's seed would be above {MAX_SEED}")
    check_output(spec, limits)
    if spec.scheduler not in model.schedulers:
        raise InvalidRequest(
            "scheduler", f"{model.name} has no {spec.scheduler!r}; it has {', '.join(model.schedulers)}"
        )
    check_effects(spec, model)
    if spec.num_inference_steps > (most := model.max_steps(spec.scheduler)):
        raise InvalidRequest("num_inference_steps", f"{model.name} runs at most {most} steps with {spec.scheduler}")


def summary(spec: GenerateSpec) -> str:
    """Model, size, steps, the first words of the prompt."""
    prompt = " ".join(spec.prompt.split())
    prompt = prompt if len(prompt) <= _PROMPT_SHOWN else prompt[: _PROMPT_SHOWN - 1].rstrip() + "…"
    return f"{spec.model} {spec.width}×{spec.height} {spec.num_inference_steps} steps “{prompt}”"


def _cost(spec: GenerateSpec, model: Model | None) -> float:
    assert model is not None, "the kind needs one"  # noqa: S101 - what the registry sees to
    return cost_of_passes(spec, model, passes=spec.passes, pixels=spec.width * spec.height)


def cost_of_passes(spec: GenerateSpec, model: Model, *, passes: int, pixels: int) -> float:
    """Rows × passes × pixels of a row, over those of the model's defaults."""
    usual = model.defaults
    rows = spec.n * _rows_of(spec.guidance_scale, model) / _rows_of(usual.guidance_scale, model)
    return rows * passes / usual.num_inference_steps * pixels / (usual.width * usual.height)


def _rows_of(guidance_scale: float, model: Model) -> int:
    """Of an image in a forward pass, as `workers.engine` packs them."""
    return 2 if model.is_guided(guidance_scale) else 1


GENERATE = Kind(
    name=_Fields.kind,
    request=GenerateRequest,
    spec=GenerateSpec,
    settle=_settle,
    summary=summary,
    cost=_cost,
    stages=WEIGHTS,
)


def spec_of(fields: Mapping[str, Any], catalogue: Catalogue) -> GenerateSpec:
    """
    The pictures that fields of a request ask for.

    Raises:
        InvalidRequest: A field is wrong, or the model cannot do what is asked.
    """
    request = parse(GenerateRequest, dict(fields))
    return _settle(request, catalogue.find(request.model))
