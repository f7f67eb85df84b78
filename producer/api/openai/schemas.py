"""What requests and answers look like, for the OpenAPI document."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

from pydantic import BaseModel, Field

from producer.api.http.bodies import JSON_TYPE
from producer.api.http.forms import FORM_TYPE
from producer.api.http.schemas import RETRY_AFTER, WWW_AUTHENTICATE, sent_events, text_header
from producer.api.openai.edit_request import EditsBody, EditsRequest
from producer.api.openai.request import ImagesRequest, PicturesRequest, Quality


class OpenAIErrorDetail(BaseModel):
    """Why there are no images."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(description="The field of the request that is wrong.", examples=["size"])
    code: str | None = Field(description="Error code, for programs.", examples=["invalid_request"])


class OpenAIErrorBody(BaseModel):
    """OpenAI's error object."""

    error: OpenAIErrorDetail


class GeneratedImage(BaseModel):
    """One image: its file in base64, a link to it, or both, as requested."""

    b64_json: str | None = None
    url: str | None = Field(None, description="A link to the image; it expires.")
    seed: int = Field(description="Seed that makes the same image again. An extension to OpenAI's API.")


class ImagesBody(BaseModel):
    """The images."""

    created: int
    background: Literal["opaque"]
    output_format: Literal["png", "jpeg", "webp"]
    quality: Quality
    size: str = Field(examples=["128x128"])
    safety_identifier: str | None = None
    data: list[GeneratedImage]


GENERATIONS_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        JSON_TYPE: {
            "schema": ImagesRequest.model_json_schema(),
            "examples": {
                "a picture": {"value": {"prompt": "a large red circle on a blue background", "size": "128x96"}},
                "with parameters": {
                    "value": {
                        "prompt": "a yellow star left of a cyan ring on a black background",
                        "n": 2,
                        "quality": "low",
                        "output_format": "webp",
                        "output_compression": 90,
                        "response_format": "url",
                        "seed": 7,
                    }
                },
            },
        }
    },
}


def _form() -> dict[str, Any]:
    """An edit's: its fields, and its pictures as files."""
    made = deepcopy(EditsRequest.model_json_schema())
    file = {"type": "string", "format": "binary"}
    made["properties"] |= {
        "image": {
            **file,
            "description": "The picture: PNG, JPEG or WebP. It may be called `image[]`, and sent several times.",
        },
        "mask": {**file, "description": "A picture of the same shape: transparent, or white, where it is repainted."},
    }
    made["required"] = ["image", *made["required"]]
    return made


def _within(schema: dict[str, Any]) -> dict[str, Any]:
    """With what it refers to in it: the document has no place for it elsewhere."""
    definitions = schema.pop("$defs", {})

    def put(value: Any) -> Any:
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            return put(definitions[name]) if name else {key: put(each) for key, each in value.items()}
        return [put(each) for each in value] if isinstance(value, list) else value

    within: dict[str, Any] = put(schema)
    return within


EDITS_BODY: dict[str, Any] = {
    "required": True,
    "content": {FORM_TYPE: {"schema": _form()}, JSON_TYPE: {"schema": _within(EditsBody.model_json_schema())}},
}


def _error(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"model": OpenAIErrorBody, "description": description, **({"headers": headers} if headers else {})}


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _error("A field is wrong (`param` says which), or the body is not of its form."),
    401: _error("No key, or one that is not valid.", WWW_AUTHENTICATE),
    403: _error("The key may not use this model, or a web page of another origin sent this."),
    404: _error("There is no such model, or no such file."),
    408: _error("The body did not come in time."),
    409: _error(
        "The job was canceled, or the idempotency key belongs to a job with other parameters; or a job needs the file, "
        "or there is no room for more files."
    ),
    413: _error("The body is too large."),
    415: _error("The body is not of the type that is asked for."),
    422: _error("Not used: what is wrong has 400, as OpenAI's clients expect."),
    429: _error(
        "The key was used too often or has too much open, or the system is full. `Retry-After` says when to try again.",
        RETRY_AFTER,
    ),
    500: _error("The job failed."),
    503: _error(
        "The job table or the image store cannot be reached, or no worker serves the model, for now.", RETRY_AFTER
    ),
    504: _error("The job was not done in its time."),
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer in place of what was asked for."""
    return {status: _REFUSALS[status] for status in statuses}


def pictures(requested: type[PicturesRequest]) -> dict[int | str, dict[str, Any]]:
    """What a route may answer that makes pictures."""
    return {
        200: {
            "model": ImagesBody,
            **sent_events(
                "The images. With `stream`: an event for each, or one `error`.", requested.completed, "error"
            ),
            "headers": {"X-Request-Id": text_header("The job's id.")},
        },
        **_REFUSALS,
    }
