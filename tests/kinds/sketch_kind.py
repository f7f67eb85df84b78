"""The kind `sketch`: a stored object and a prompt become a picture and an outline. It stands for kinds to come."""

from __future__ import annotations

import secrets
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalogue.entry import Model
from jobs.errors import InvalidRequest
from jobs.fields import MAX_SEED, Name, Prompt
from jobs.kinds.inputs import Input, InputMark, RequestedInput
from jobs.kinds.kind import PER_ROW, Kind, Request, Spec

_SEED_BITS = 32


class _Asked(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: ClassVar[str] = "sketch"

    prompt: Annotated[Prompt, PER_ROW]
    """What to draw."""
    draw_steps: Annotated[int, Field(ge=1, le=1_000)] = 20
    """Steps of the drawing."""
    tell_every: Annotated[int, Field(ge=1, le=1_000), PER_ROW] = 5
    """Of how many steps each one tells what it drew."""


class SketchRequest(Request, _Asked):
    model: Name | None = None
    """Name in the catalogue."""
    image: RequestedInput
    """What to draw after."""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    """Of the picture."""


class SketchSpec(Spec, _Asked):
    model: str
    image: Annotated[Input, InputMark(), PER_ROW]
    seed: Annotated[int, PER_ROW]


def _settle(request: SketchRequest, model: Model | None) -> SketchSpec:
    assert model is not None, "the kind needs one"
    if request.draw_steps > model.limits.max_steps:
        raise InvalidRequest("draw_steps", f"{model.name} runs at most {model.limits.max_steps} steps")
    seed = request.seed if request.seed is not None else secrets.randbits(_SEED_BITS)
    fields = request.model_dump(exclude_none=True, exclude={"image"})
    return SketchSpec.model_validate(fields | {"image": request.image, "model": model.name, "seed": seed})


SKETCH = Kind(
    name=_Asked.kind,
    request=SketchRequest,
    spec=SketchSpec,
    settle=_settle,
    summary=lambda spec: f"sketch after {spec.image.object}",
    stages={"look": 1, "draw": 8, "upload": 1},
)
