"""Which models can be asked for. The answer is also what OpenAI's clients expect of this path."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from jobs.catalogue.models import Model
from producer.api import schemas
from producer.api.context import CurrentContext
from producer.api.http.errors import json_response
from producer.api.keys.callers import CurrentCaller

router = APIRouter(prefix="/v1", tags=["models and queues"], responses=schemas.REFUSALS)


@router.get("/models", summary="List the models", responses={200: {"model": schemas.ModelsBody}})
async def models(caller: CurrentCaller, context: CurrentContext) -> Response:
    """The models that this caller may use; the first is the default."""
    workers = await context.workers.get()
    shown = [
        _show(model, workers.get(name, 0))
        for name, model in context.parts.catalogue.models.items()
        if caller.may_use(name)
    ]
    return json_response({"object": "list", "data": shown})


def _show(model: Model, workers: int) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "imagemill",
        "workers": workers,
        "defaults": model.defaults.model_dump(mode="json"),
        "limits": model.limits.model_dump(mode="json")
        | {
            "max_output_pixels": model.limits.output_pixels,
            "max_job_output_pixels": model.limits.job_output_pixels,
        },
        "metadata": model.metadata,
        "schedulers": list(model.schedulers),
    }
