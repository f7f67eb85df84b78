"""Edits by OpenAI's own client, unchanged, against the running system."""

from __future__ import annotations

import numpy as np
import openai
import pytest
from openai import OpenAI
from openai.types import ImageEditCompletedEvent, ImagesResponse
from PIL import Image

from jobs.table.states import Status
from ops.process import wait_until
from producer import Client
from tests.system.conftest import DEADLINE_S
from tests.system.test_edits import PROMPT, STEPS, check_masked, file_of, mask, photo
from tests.system.test_openai import picture

SIZE = (101, 77)
FEW_STEPS = {"num_inference_steps": STEPS, "seed": 3}
PICTURE = ("photo.png", file_of(photo(*SIZE)))


def transparent(width: int, height: int) -> bytes:
    """A mask as OpenAI has it: transparent where it is repainted."""
    made = Image.new("RGBA", (width, height), "black")
    made.putalpha(mask(width, height).point([255 - each for each in range(256)]))
    return file_of(made)


def test_picture_becomes_another_one(openai_client: OpenAI, system: Client) -> None:
    answer = openai_client.images.edit(
        model="shapes-flow",
        image=PICTURE,
        prompt=PROMPT,
        n=2,
        size="auto",
        user="u-12",
        output_format="webp",
        input_fidelity="high",
        extra_body={**FEW_STEPS, "strength": 0.5},
    )
    assert answer.data is not None
    assert [picture(image.b64_json).size for image in answer.data] == [SIZE] * 2
    assert (answer.size, answer.output_format, answer.quality) == ("101x77", "webp", "medium")
    record = system.status(str(answer._request_id))
    assert (record.status, record.kind, record.metadata) == (Status.SUCCEEDED, "edit", {"user": "u-12"})
    assert record.parameters is not None
    assert (record.parameters["strength"], record.parameters["seed"]) == (0.5, 3)


@pytest.mark.parametrize("is_transparent", [True, False])
def test_outside_of_the_mask_pixels_stay_bit_for_bit(openai_client: OpenAI, is_transparent: bool) -> None:
    drawn = transparent(*SIZE) if is_transparent else file_of(mask(*SIZE))
    answer = openai_client.images.edit(image=PICTURE, mask=drawn, prompt=PROMPT, extra_body=FEW_STEPS)
    assert answer.data is not None
    check_masked(np.asarray(picture(answer.data[0].b64_json).convert("RGB")), *SIZE)


def test_stream_ends_with_the_completed_image(openai_client: OpenAI) -> None:
    stream = openai_client.images.edit(
        image=PICTURE, prompt=PROMPT, stream=True, partial_images=2, output_format="jpeg", extra_body=FEW_STEPS
    )
    (event,) = list(stream)
    assert isinstance(event, ImageEditCompletedEvent)
    assert ImageEditCompletedEvent.model_validate(event.model_dump()) == event
    assert (picture(event.b64_json).format, picture(event.b64_json).size) == ("JPEG", SIZE)


def test_stream_that_is_closed_early_ends_the_job(openai_client: OpenAI, system: Client) -> None:
    stream = openai_client.images.edit(
        image=PICTURE, prompt=PROMPT, stream=True, n=16, extra_body={"num_inference_steps": 100}
    )
    job_id = stream.response.headers["x-request-id"]
    stream.close()
    assert system.wait(job_id, DEADLINE_S).status is Status.CANCELED


def test_picture_is_named_by_the_id_of_its_file(openai_client: OpenAI) -> None:
    sent = openai_client.files.create(file=PICTURE, purpose="vision")
    masked = openai_client.files.create(file=transparent(*SIZE), purpose="vision")
    body = {"prompt": PROMPT, "images": [{"file_id": sent.id}], "mask": {"file_id": masked.id}, **FEW_STEPS}
    answer = openai_client.post("/images/edits", body=body, cast_to=ImagesResponse)
    assert answer.data is not None
    check_masked(np.asarray(picture(answer.data[0].b64_json).convert("RGB")), *SIZE)
    assert openai_client.files.content(sent.id).read() == PICTURE[1]


def test_what_came_with_an_edit_goes_with_its_result(openai_client: OpenAI, system: Client) -> None:
    image = file_of(photo(90, 60))
    answer = openai_client.images.edit(image=image, prompt=PROMPT, extra_body=FEW_STEPS)
    record = system.status(str(answer._request_id))
    assert record.parameters is not None
    file_id = record.parameters["image"]["file"]
    assert openai_client.files.content(str(file_id)).read() == image
    system.job(record.id).delete_result()
    assert wait_until(lambda: str(file_id) not in {each.id for each in openai_client.files.list()}, DEADLINE_S)
    with pytest.raises(openai.NotFoundError, match="there is no file"):
        openai_client.files.content(str(file_id))


def test_several_pictures_and_what_else_is_wrong_are_errors_of_openais_client(openai_client: OpenAI) -> None:
    with pytest.raises(
        openai.BadRequestError, match="the model shapes-flow edits one picture at a time; 3 were sent"
    ) as wrong:
        openai_client.images.edit(image=[PICTURE] * 3, prompt=PROMPT)
    assert (wrong.value.param, wrong.value.code, wrong.value.type) == (
        "image",
        "invalid_request",
        "invalid_request_error",
    )
    with pytest.raises(openai.BadRequestError, match="mask: has another shape") as wrong:
        openai_client.images.edit(image=PICTURE, mask=file_of(mask(200, 50)), prompt=PROMPT)
    assert wrong.value.param == "mask"
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-image-2'"):
        openai_client.images.edit(image=PICTURE, prompt=PROMPT, model="gpt-image-2")
