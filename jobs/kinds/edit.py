"""The kind `edit`: a picture becomes another one, as a text says; everywhere, or where a mask is white."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalogue.entry import Edited, Model
from jobs.errors import InvalidRequest, NoEffect
from jobs.fields import MAX_SIDE_PX
from jobs.kinds.canvas import plan
from jobs.kinds.generate import (
    GenerateRequest,
    GenerateSpec,
    check_sampling,
    cost_of_passes,
    draw_seed,
    summary,
)
from jobs.kinds.inputs import Input, InputMark, OptionalInput, RequestedInput
from jobs.kinds.kind import PER_ROW, Kind
from jobs.kinds.picture import WEIGHTS, DigitalSource, settle_output

# As the pipelines of diffusers have it.
_STRENGTH, _STRENGTH_WITH_MASK = 0.8, 1.0
_WHOLE = 1.0  # All steps, as of a model that edits by instruction.


class _Fields(BaseModel):
    """What a request and its specification say alike, beside what they say of a generation."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: ClassVar[str] = "edit"

    padding_mask_crop: Annotated[int, Field(ge=0, le=MAX_SIDE_PX), PER_ROW] | None = None
    """
    Pixels around the masked part: only these are cut out, edited at the model's size, and put back. Unset, the whole
    picture is edited where the model can take it whole.
    """


class EditRequest(GenerateRequest, _Fields):
    """A picture and what is to become of it. Sizes that are not given are the picture's."""

    kind: ClassVar[str] = _Fields.kind

    image: RequestedInput
    """The picture: a file id, a data URL, an https URL, or `{"job": …, "index": 0}`."""
    mask: OptionalInput = None
    """
    Where it is repainted: a picture of the same shape, white there and black elsewhere; or transparent there. What is
    outside stays as it is, pixel by pixel. Unset, all of it may change.
    """
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """How much may change: the part of the steps that run (SDEdit, Meng et al. 2021). 0.8, and 1 with a mask."""

    digested_at_first: ClassVar[Mapping[str, Any]] = {}


class EditSpec(GenerateSpec, _Fields):
    """An edit with every parameter settled. `width` and `height` are those of the result."""

    kind: ClassVar[str] = _Fields.kind
    digital_source: ClassVar[DigitalSource] = DigitalSource.MODEL_AND_PICTURE

    image: Annotated[Input, InputMark(), PER_ROW]
    mask: Annotated[Input | None, InputMark(), PER_ROW] = None
    strength: Annotated[float, PER_ROW]

    @property
    def passes(self) -> int:
        """Steps of the schedule that run."""
        return steps_run(self.num_inference_steps, self.strength)


def steps_run(num_inference_steps: int, strength: float) -> int:
    """Of a schedule, counted from its end; as diffusers' pipelines count them."""
    return min(int(num_inference_steps * strength), num_inference_steps)


def _settle(request: EditRequest, model: Model | None) -> EditSpec:
    assert model is not None, "the kind needs one"  # noqa: S101 - what the registry sees to
    image, mask = _found("image", request.image), _found("mask", request.mask) if request.mask is not None else None
    strength = _strength(request, model)
    wanted = _wanted(request, model)
    _check_mask(image, mask, request.padding_mask_crop)
    planned = plan(
        (image.width, image.height),
        model,
        wanted=wanted,
        is_masked=mask is not None,
        padding_mask_crop=request.padding_mask_crop,
    )
    width, height = planned.output_size
    fields = request.model_dump(exclude_none=True, exclude={"image", "mask"})
    seed = request.seed if request.seed is not None else draw_seed()
    settled = {
        "model": model.name,
        "seed": seed,
        "output": settle_output(request.output, model),
        "image": image,
        "mask": mask,
        "strength": strength,
        "width": width,
        "height": height,
    }
    spec = EditSpec.model_validate(model.defaults.model_dump() | fields | settled)
    try:
        _check(spec, model)
    except InvalidRequest as exc:
        if exc.field == "width" and wanted is None:  # It is the picture's, and nobody has named it.
            raise InvalidRequest("image", str(exc).removeprefix("width: ")) from exc
        raise
    return spec


def _strength(request: EditRequest, model: Model) -> float:
    edited: Edited = "image" if request.mask is None else "mask"
    ways = model.ways_to_edit
    way = "strength" if ways is None else ways.get(edited)
    if way is None:
        does = "edits no pictures" if edited == "image" else "does not repaint a masked part of a picture"
        raise InvalidRequest(edited, f"{model.name} {does}")
    if way == "strength":
        return request.strength or (_STRENGTH if edited == "image" else _STRENGTH_WITH_MASK)
    if request.strength not in (None, _WHOLE):
        raise NoEffect("strength", f"{model.name} edits by instruction, without a strength; leave it out")
    return _WHOLE


def _found(field: str, named: Any) -> Input:
    if not isinstance(named, Input):
        raise InvalidRequest(field, "pictures cannot be sent this way")
    return named


def _wanted(request: EditRequest, model: Model) -> tuple[int, int] | None:
    """The size of the result, where it is not the picture's."""
    if request.width is None and request.height is None:
        return None
    if request.width is None or request.height is None:
        given, other = ("height", "width") if request.width is None else ("width", "height")
        raise InvalidRequest(other, f"give it together with {given}, or neither: then the picture keeps its size")
    for side in ("width", "height"):
        if (value := getattr(request, side)) > model.limits.max_side:
            raise InvalidRequest(side, f"{model.name} makes at most {model.limits.max_side} pixels, not {value}")
    return request.width, request.height


def _check_mask(image: Input, mask: Input | None, padding_mask_crop: int | None) -> None:
    if mask is None:
        if padding_mask_crop is not None:
            raise NoEffect("padding_mask_crop", "there is no mask; leave it out")
        return
    # A mask may be of another size: models make masks smaller than the pictures that they see.
    if abs(mask.width * image.height - mask.height * image.width) > max(image.width, image.height, mask.width):
        sizes = f"{mask.width}×{mask.height} pixels, and the picture {image.width}×{image.height}"
        raise InvalidRequest("mask", f"has another shape than the picture: {sizes}")


def _check(spec: EditSpec, model: Model) -> None:
    check_sampling(spec, model)
    if spec.passes < 1:
        raise InvalidRequest("strength", f"{spec.strength:g} of {spec.num_inference_steps} steps is less than one step")


def _cost(spec: EditSpec, model: Model | None) -> float:
    assert model is not None, "the kind needs one"  # noqa: S101 - what the registry sees to
    planned = plan(
        (spec.image.width, spec.image.height),
        model,
        wanted=(spec.width, spec.height),
        is_masked=spec.mask is not None,
        padding_mask_crop=spec.padding_mask_crop,
    )
    return cost_of_passes(spec, model, passes=spec.passes, pixels=planned.width * planned.height)


EDIT = Kind(
    name=_Fields.kind,
    request=EditRequest,
    spec=EditSpec,
    settle=_settle,
    summary=summary,
    cost=_cost,
    stages=WEIGHTS,
)
