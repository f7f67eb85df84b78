"""OpenAI's own client, unchanged, against the running system."""

from __future__ import annotations

import base64
import io

import httpx2 as httpx
import openai
import pytest
from openai import OpenAI
from openai.types import ImageGenCompletedEvent
from PIL import Image as PillowImage

from jobs.table.states import Status
from producer import Client
from tests.system.conftest import DEADLINE_S

PROMPT = "a large red circle on a blue background"


def picture(file: bytes | str | None) -> PillowImage.Image:
    assert file is not None
    return PillowImage.open(io.BytesIO(file if isinstance(file, bytes) else base64.b64decode(file)))


def test_image_comes_back_as_openais_client_has_it(openai_client: OpenAI, system: Client) -> None:
    answer = openai_client.images.generate(model="shapes-flow", prompt=PROMPT, n=2, size="176x128", quality="low")
    assert answer.data is not None
    assert [picture(image.b64_json).size for image in answer.data] == [(176, 128), (176, 128)]
    links = [
        httpx.get(str(image.url), timeout=DEADLINE_S, trust_env=False).content for image in answer.data
    ]  # As older clients do.
    assert [picture(file).size for file in links] == [(176, 128), (176, 128)]
    assert (answer.size, answer.output_format, answer.quality, answer.background) == ("176x128", "png", "low", "opaque")
    assert answer._request_id is not None
    record = system.status(answer._request_id)
    assert (record.status, int(record.ended_at or 0)) == (Status.SUCCEEDED, answer.created)


def test_link_comes_instead_where_it_is_asked_for_and_extensions_reach_the_job(
    openai_client: OpenAI, system: Client
) -> None:
    answer = openai_client.images.generate(
        prompt=PROMPT,
        response_format="url",
        output_format="webp",
        output_compression=70,
        user="u-12",
        extra_body={"negative_prompt": "a star", "num_inference_steps": 3, "guidance_scale": 2.5, "seed": 11},
    )
    assert answer.data is not None
    (image,) = answer.data
    assert (image.b64_json, answer.safety_identifier) == (None, "u-12")
    assert image.url is not None
    file = httpx.get(image.url, timeout=DEADLINE_S, trust_env=False)
    assert (picture(file.content).format, picture(file.content).size) == ("WEBP", (128, 128))
    spec = system.status(str(answer._request_id)).spec
    assert spec is not None
    assert (spec.negative_prompt, spec.num_inference_steps, spec.guidance_scale, spec.seed) == ("a star", 3, 2.5, 11)
    assert (spec.output.quality, spec.metadata) == (70, {"user": "u-12"})


def test_stream_ends_with_the_completed_image(openai_client: OpenAI) -> None:
    stream = openai_client.images.generate(
        prompt=PROMPT, stream=True, partial_images=2, size="176x128", output_format="jpeg", quality="high"
    )
    (event,) = list(stream)
    assert isinstance(event, ImageGenCompletedEvent)
    assert ImageGenCompletedEvent.model_validate(event.model_dump()) == event
    assert (picture(event.b64_json).format, picture(event.b64_json).size) == ("JPEG", (176, 128))
    assert (event.type, event.size, event.quality) == ("image_generation.completed", "176x128", "high")


def test_stream_that_is_closed_early_ends_the_job(openai_client: OpenAI, system: Client) -> None:
    stream = openai_client.images.generate(
        prompt=PROMPT, stream=True, n=16, size="128x128", extra_body={"num_inference_steps": 100}
    )
    job_id = stream.response.headers["x-request-id"]
    stream.close()
    assert system.wait(job_id, DEADLINE_S).status is Status.CANCELED


def test_models_are_listed(openai_client: OpenAI) -> None:
    listed = {model.id: model for model in openai_client.models.list()}
    assert list(listed) == ["shapes-flow", "shapes"]
    for name, model in listed.items():
        assert (model.object, model.created, model.owned_by) == ("model", 0, "imagemill")
        assert openai_client.models.retrieve(name) == model
    with pytest.raises(openai.NotFoundError) as wrong:
        openai_client.models.retrieve("black-forest-labs/FLUX.1-schnell")
    assert (wrong.value.code, wrong.value.param) == ("model_not_found", "model")


def test_errors_are_those_of_openais_client(openai_client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        openai_client.images.generate(prompt=PROMPT, size="1024x1024")
    assert (wrong.value.param, wrong.value.code, wrong.value.type) == (
        "size",
        "invalid_request",
        "invalid_request_error",
    )
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-image-2'"):
        openai_client.images.generate(prompt=PROMPT, model="gpt-image-2")
