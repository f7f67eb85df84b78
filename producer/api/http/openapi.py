"""The OpenAPI document: what FastAPI cannot see, because the routes read bodies themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from jobs.kinds.spec import JobRequest

_REF = "#/components/schemas/{model}"

JOB_EXAMPLES: dict[str, dict[str, Any]] = {
    "a picture": {"value": {"prompt": "a large red circle on a blue background"}},
    "with parameters": {
        "value": {
            "prompt": "a yellow star left of a cyan ring on a black background",
            "num_inference_steps": 25,
            "guidance_scale": 3.0,
            "seed": 7,
            "n": 2,
            "output": {"format": "webp", "quality": 90},
            "metadata": {"order": "1234"},
        }
    },
}


def body_of_job() -> dict[str, Any]:
    """Of a request that submits one job."""
    content = {"schema": {"$ref": _REF.format(model="JobRequest")}, "examples": JOB_EXAMPLES}
    return {"required": True, "content": {"application/json": content}}


def describe(app: FastAPI, bodies: list[type[BaseModel]] | None = None) -> None:
    """
    Have an app serve a document with the schemas of request bodies.

    Args:
        bodies: Further ones than that of a job.
    """
    models: list[type[BaseModel]] = [JobRequest, *(bodies or [])]
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            made["components"]["schemas"] |= schemas
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it
