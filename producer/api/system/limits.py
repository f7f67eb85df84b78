"""What a caller may, and how much of it is in use."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from fastapi import Request, Response
from pydantic import BaseModel, Field

from producer.api.context import CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS
from producer.api.keys.callers import CurrentCaller
from producer.api.keys.open_requests import OpenRequests
from producer.keys.key import LIMITS, KeyLimits

router = Router(prefix="/v1", tags=["models and queues"], responses=REFUSALS)


class OpenBody(BaseModel):
    """How many requests a caller has open in the process that answers."""

    connections: int = Field(ge=1)
    batches: int = Field(ge=0)
    uploads: int = Field(ge=0)


class LimitsBody(KeyLimits):
    """What the caller may. Null is without a limit."""

    object: Literal["limits"]
    caller: str
    open: OpenBody = Field(description="In this process, this request included.")


@router.get("/limits", summary="Get the limits of the API key", responses={200: {"model": LimitsBody}})
async def limits(request: Request, caller: CurrentCaller, context: CurrentContext) -> Response:
    """The limits of this API key, and its open requests in the answering process. Without a key: the defaults."""
    open_requests: OpenRequests = request.app.state.open_requests
    shown = caller.limits.model_dump(mode="json", include=LIMITS)
    for name in ("max_queued", "max_kept_mib", "max_file_mib"):
        if shown[name] is None:
            shown[name] = getattr(context.parts.settings, name)
    body = {"object": "limits", "caller": caller.name, **shown}
    return json_response({**body, "open": asdict(open_requests.count(caller.name))})
