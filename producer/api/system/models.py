"""Which models can be asked for. The answer is also what OpenAI's clients expect of this path."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field

from jobs.catalogue.entry import Model
from producer.api.context import CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS
from producer.api.keys.callers import CurrentCaller

router = Router(prefix="/v1", tags=["models and queues"], responses=REFUSALS)


class ModelBody(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    workers: int = Field(description="Number of workers that serve it now.")
    defaults: dict[str, Any]
    limits: dict[str, int] = Field(description="Sides and outputs in pixels; an output is an image as it is stored.")
    metadata: str = Field(
        description="`mark`: no file of this model holds prompt or parameters; `full`: each job says."
    )
    schedulers: list[str]


class ModelsBody(BaseModel):
    """All models that the caller may use."""

    object: Literal["list"]
    data: list[ModelBody]


@router.get("/models", summary="List the models", responses={200: {"model": ModelsBody}})
async def models(caller: CurrentCaller, context: CurrentContext) -> Response:
    """The models that this caller may use; the first is the default."""
    workers = await context.workers.get()
    listed = [
        shown(model, workers.get(name, 0))
        for name, model in context.parts.catalogue.models.items()
        if caller.may_use(name)
    ]
    return json_response({"object": "list", "data": listed})


def shown(model: Model, workers: int) -> dict[str, Any]:
    """A model, as a `ModelBody`."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "imagemill",
        "workers": workers,
        "defaults": model.defaults.model_dump(mode="json"),
        "limits": model.limits.model_dump(mode="json", exclude_none=True)
        | {
            "max_output_pixels": model.limits.output_pixels,
            "max_job_output_pixels": model.limits.job_output_pixels,
        },
        "metadata": model.metadata,
        "schedulers": list(model.schedulers),
    }
