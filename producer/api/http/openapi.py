"""The OpenAPI document: what FastAPI cannot see, because routes read bodies themselves and all answers pass others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from producer.api.http.queries import refuse_unknown
from producer.api.http.schemas import text_header

_REF = "#/components/schemas/{model}"
_REQUEST_ID = "X-Request-Id"


class Router(APIRouter):
    """
    The routes of one subject. They refuse query parameters that they do not have.

    Attributes:
        models: What FastAPI cannot see of their bodies: the document has these, too, for `ref` to name.
    """

    def __init__(self, *, models: Sequence[type[BaseModel]] = (), **options: Any) -> None:
        """`options`: those of FastAPI's own."""
        super().__init__(dependencies=[Depends(refuse_unknown)], **options)
        self.models = tuple(models)


def ref(*models: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model that a `Router` names; of several, one of them."""
    references = [{"$ref": _REF.format(model=model.__name__)} for model in models]
    return references[0] if len(references) == 1 else {"oneOf": references}


def describe(app: FastAPI, routers: Iterable[Router], public_url: str = "") -> None:
    """Have an app serve a document with the models that its routers name, for clients that ask it at `public_url`."""
    models = dict.fromkeys(model for router in routers for model in router.models)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                servers=[{"url": public_url}] if public_url else None,
            )
            # Made when somebody asks: it takes as long as all the rest of an app's beginning.
            _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
            made["components"]["schemas"] |= definitions["$defs"]
            _add_request_ids(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _add_request_ids(document: dict[str, Any]) -> None:
    """`RequestLog` gives each answer one, whatever its route; where a route has another of its own, that one stays."""
    header = text_header("What the server's log calls this request: state it when you ask about an error.")
    document["components"]["headers"] = {_REQUEST_ID: header}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for answer in [answer for each in operations for answer in each["responses"].values()]:
        ours = {_REQUEST_ID: {"$ref": f"#/components/headers/{_REQUEST_ID}"}}
        answer["headers"] = ours | answer.get("headers", {})
