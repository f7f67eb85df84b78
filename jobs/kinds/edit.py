"""The kind `edit`: a picture becomes another one, as a text says; everywhere, or where a mask is white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalogue.entry import Edited, Model
from jobs.errors import InvalidRequest, NoEffect
from jobs.fields import MAX_SIDE_PX
from jobs.kinds.canvas import Plan, plan
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

MAX_REFERENCES = 15  # With the picture that is edited these are as many as OpenAI takes.
_MAX_REFERENCE_PIXELS = 100_000_000  # Of a job's together: a worker holds them until its end.


class _Fields(BaseModel):
    """What a request and its specification say alike, beside what they say of a generation."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: ClassVar[str] = "edit"

    padding_mask_crop: Annotated[int, Field(ge=0, le=MAX_SIDE_PX), PER_ROW] | None = None
    """
    Pixels around the masked part: only these are cut out, edited at the model's size, and put back. Unset, the whole
    picture is edited where the model can take it whole.
    """


class EditParameters(_Fields):
    """What a request says beside its pictures and what it says of a generation."""

    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """How much may change: the part of the steps that run (SDEdit, Meng et al. 2021). 0.8, and 1 with a mask."""


class EditRequest(GenerateRequest, EditParameters):
    """A picture and what is to become of it. Sizes that are not given are the picture's."""

    kind: ClassVar[str] = _Fields.kind

    image: RequestedInput
    """The picture: a file id, a data URL, an https URL, or `{"job": …, "index": 0}`."""
    mask: OptionalInput = None
    """
    Where it is repainted: a picture of the same shape, white there and black elsewhere; or transparent there. What is
    outside stays as it is, pixel by pixel. Unset, all of it may change.
    """
    references: Annotated[
        Annotated[list[RequestedInput], Field(max_length=MAX_REFERENCES)] | None, InputMark(most=MAX_REFERENCES)
    ] = None
    """
    Further pictures that the prompt speaks of, in order: each like `image`. For models that take several pictures, and
    without a mask.
    """

    digested_at_first: ClassVar[Mapping[str, Any]] = {}


class EditSpec(GenerateSpec, _Fields):
    """An edit with every parameter settled. `width` and `height` are those of the result."""

    kind: ClassVar[str] = _Fields.kind
    digital_source: ClassVar[DigitalSource] = DigitalSource.MODEL_AND_PICTURE

    image: Annotated[Input, InputMark(), PER_ROW]
    mask: Annotated[Input | None, InputMark(), PER_ROW] = None
    references: Annotated[list[Input] | None, InputMark(most=MAX_REFERENCES), PER_ROW] = None
    strength: Annotated[float, PER_ROW]

    @property
    def passes(self) -> int:
        """Steps that run: the last ones of the schedule, counted as diffusers' pipelines count them."""
        return min(int(self.num_inference_steps * self.strength), self.num_inference_steps)

    @property
    def flow_passes(self) -> int:
        """Likewise of flow-matching models, whose pipelines round down the steps that are left out."""
        steps = self.num_inference_steps
        return steps - int(max(steps - min(steps * self.strength, steps), 0))


def passes_of(spec: EditSpec, model: Model) -> int:
    """Steps that an edit runs of a model."""
    return spec.flow_passes if model.traits.shift else spec.passes


def _settle(request: EditRequest, model: Model | None) -> EditSpec:
    assert model is not None, "the kind needs one"  # noqa: S101 - what the registry sees to
    image, mask = _found("image", request.image), _found("mask", request.mask) if request.mask is not None else None
    strength = _strength(request, model)
    references = [_found(f"references.{place}", each) for place, each in enumerate(request.references or ())]
    wanted = _wanted(request, model)
    _check_references(references, model, is_masked=mask is not None)
    _check_mask(image, mask, request.padding_mask_crop)
    planned = plan(
        (image.width, image.height),
        model,
        wanted=wanted,
        is_masked=mask is not None,
        padding_mask_crop=request.padding_mask_crop,
    )
    width, height = planned.output_size
    fields = request.model_dump(exclude_none=True, exclude={"image", "mask", "references"})
    seed = request.seed if request.seed is not None else draw_seed()
    settled = {
        "model": model.name,
        "seed": seed,
        "output": settle_output(request.output, model),
        "image": image,
        "mask": mask,
        "references": references or None,
        "strength": strength,
        "width": width,
        "height": height,
    }
    spec = EditSpec.model_validate(model.defaults.model_dump() | fields | settled)
    _check_seen(spec, model, planned)
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
    unknown = "instruction" if request.references and request.strength is None else "strength"  # None does both.
    way = unknown if ways is None else ways.get(edited)
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


def _check_references(references: Sequence[Input], model: Model, *, is_masked: bool) -> None:
    if not references:
        return
    if is_masked:
        raise InvalidRequest("references", "an edit with a mask takes no further pictures; leave them or the mask out")
    if (most := model.max_references) is not None and len(references) > most:
        raise InvalidRequest("references", too_many(model, most, len(references)))
    if (pixels := sum(each.width * each.height for each in references)) > _MAX_REFERENCE_PIXELS:
        raise InvalidRequest("references", f"have {pixels:,} pixels; together they may have {_MAX_REFERENCE_PIXELS:,}")


def unseen(size: tuple[int, int], model: Model) -> str | None:
    """Why a model that edits by instruction does not look at a picture of such a size, (width, height)."""
    traits, (shorter, longer) = model.traits, sorted(size)
    shown = f"{size[0]}×{size[1]} pixels"
    if shorter < traits.min_seen_side:
        return f"{model.name} looks at pictures with sides of {traits.min_seen_side} pixels and more, not at {shown}"
    if traits.max_seen_ratio is not None and longer > traits.max_seen_ratio * shorter:
        return f"{model.name} looks at pictures up to {traits.max_seen_ratio:g} times as long as wide, not at {shown}"
    return None


def _check_seen(spec: EditSpec, model: Model, planned: Plan) -> None:
    """Hold what is looked at against what the model looks at: of the edited picture as it is laid out."""
    if not _is_instructed(spec, model):
        return
    sizes = {"image": (planned.width, planned.height)}
    sizes |= {f"references.{place}": (each.width, each.height) for place, each in enumerate(spec.references or ())}
    for field, size in sizes.items():
        if reason := unseen(size, model):
            raise InvalidRequest(field, reason)


def too_many(model: Model, most: int, references: int) -> str:
    """Why so many further pictures are refused by a model that takes `most`; they may be called otherwise."""
    if most == 0:
        return f"the model {model.name} edits one picture at a time; {references + 1} were sent"
    return f"the model {model.name} takes at most {most + 1} pictures for an edit; {references + 1} were sent"


def _check(spec: EditSpec, model: Model) -> None:
    check_sampling(spec, model)
    if passes_of(spec, model) < 1:
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
    # Models look at further pictures in about the size that they make.
    usual = model.defaults.width * model.defaults.height
    pixels = planned.width * planned.height
    seen = sum(min(each.width * each.height, usual) for each in spec.references or ())
    if _is_instructed(spec, model):
        seen += min(pixels, usual)
    return cost_of_passes(spec, model, passes=passes_of(spec, model), pixels=pixels + seen)


def _is_instructed(spec: EditSpec, model: Model) -> bool:
    """Whether the model is known to look at the picture while it makes another from noise."""
    return spec.mask is None and (model.ways_to_edit or {}).get("image") == "instruction"


EDIT = Kind(
    name=_Fields.kind,
    request=EditRequest,
    spec=EditSpec,
    settle=_settle,
    summary=summary,
    cost=_cost,
    stages=WEIGHTS,
)
