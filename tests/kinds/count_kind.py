"""The kind `count`: counts the words of a text, without any model. It stands for kinds to come."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalogue.entry import Model
from jobs.fields import Prompt
from jobs.kinds.kind import Kind, Request, Spec


class _Asked(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: ClassVar[str] = "count"

    text: Prompt
    """Whose words to count."""
    word_s: Annotated[float, Field(ge=0, le=10)] = 0
    """Seconds that each word takes."""


class CountRequest(Request, _Asked):
    pass


class CountSpec(Spec, _Asked):
    pass


def _settle(request: CountRequest, model: Model | None) -> CountSpec:
    assert model is None, "the kind needs none"
    return CountSpec.model_validate(request.model_dump(exclude_none=True))


COUNT = Kind(
    name=_Asked.kind,
    request=CountRequest,
    spec=CountSpec,
    settle=_settle,
    summary=lambda spec: f"count the words of {len(spec.text)} characters",
    stages={"split": 1, "count": 4},
    needs_model=False,
)
