"""`GET /v1/models/{model}`: what OpenAI's clients ask before they use a model."""

from __future__ import annotations

from fastapi import Response

from jobs.errors import ModelNotAvailable
from producer.api.context import CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.keys.callers import CurrentCaller
from producer.api.openai import schemas
from producer.api.openai.errors import OpenAIRoute
from producer.api.system.models import ModelBody, models, shown

router = Router(prefix="/v1", tags=["OpenAI"], route_class=OpenAIRoute)

_SHOWN_CHARS = 255


@router.get(
    "/models/{model:path}",  # OpenAI's clients quote no slash of a name, nor does a proxy keep one quoted.
    summary="Get a model (OpenAI's API)",
    responses={200: {"model": ModelBody}, **schemas.refusals(400, 401, 404, 422, 429, 503)},
)
async def retrieve(model: str, caller: CurrentCaller, context: CurrentContext) -> Response:
    """A model that this caller may use."""
    if not model:  # A slash behind the list's own path.
        return await models(caller, context)
    found = context.parts.catalogue.models.get(model)
    if found is None or not caller.may_use(model):
        raise ModelNotAvailable(
            "model", f"there is no model {model[:_SHOWN_CHARS]!r}; /v1/models lists those there are"
        )
    workers = await context.workers.get()
    return json_response(shown(found, workers.get(model, 0)))
