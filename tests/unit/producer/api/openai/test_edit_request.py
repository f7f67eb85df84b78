"""What a form of texts says of an edit, and what its job is called for."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidRequest
from jobs.fields import parse
from producer.api.openai.edit_request import EditsBody, EditsRequest, read_texts
from producer.api.openai.request import ImagesRequest

PROMPT = {"prompt": "a star"}


@pytest.mark.parametrize(
    ("texts", "read"),
    [
        ({"n": "2"}, {"n": 2}),
        ({"n": "2.0"}, {"n": 2}),
        ({"strength": "0.5"}, {"strength": 0.5}),
        ({"strength": "1"}, {"strength": 1.0}),
        ({"stream": "true"}, {"stream": True}),
        ({"stream": "False"}, {"stream": False}),
        ({"size": "", "n": "", "user": ""}, {}),
        ({"negative_prompt": "7"}, {"negative_prompt": "7"}),
        ({"user": "true"}, {"user": "true"}),
        ({"model": "null"}, {"model": "null"}),
    ],
)
def test_text_is_read_as_its_field_is(texts: dict[str, str], read: dict[str, Any]) -> None:
    assert read_texts({**PROMPT, **texts}) == parse(EditsRequest, {**PROMPT, **read})


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        ({"n": "two"}, "n"),
        ({"n": "1e400"}, "n"),
        ({"n": "NaN"}, "n"),
        ({"n": "null"}, "n"),
        ({"n": "[1]"}, "n"),
        ({"stream": "1"}, "stream"),
        ({"strength": "true"}, "strength"),
        ({"prompt": ""}, "prompt"),
        ({"image": "file-a"}, "image"),
        ({"other": ""}, "other"),
    ],
)
def test_text_that_its_field_does_not_take_is_refused_by_name(texts: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_texts({**PROMPT, **texts})
    assert refused.value.field == field


def test_job_is_an_edit_with_the_fields_of_a_generation(catalogue: Catalogue) -> None:
    model = catalogue.find("shapes")
    asked = {**PROMPT, "n": 2, "quality": "low", "size": "64x32", "output_format": "webp", "user": "u-12", "seed": 7}
    made = parse(ImagesRequest, asked).job_fields(model)
    edited = parse(EditsRequest, {**asked, "strength": 0.5, "padding_mask_crop": 4}).job_fields(model)
    assert edited == {**made, "kind": "edit", "strength": 0.5, "padding_mask_crop": 4}
    named = {"images": [{"file_id": "a"}], "mask": {"image_url": "data:,b"}}
    in_json = parse(EditsBody, {**asked, **named}).job_fields(model)
    assert in_json == {**made, "kind": "edit", "image": {"file": "a"}, "mask": "data:,b"}


def test_error_has_the_name_that_the_request_has_for_a_field() -> None:
    in_form, in_json = read_texts(PROMPT), parse(EditsBody, {**PROMPT, "images": [{"file_id": "a"}]})
    for field, form_name, json_name in [
        ("width", "size", "size"),
        ("output.quality", "output_compression", "output_compression"),
        ("image", "image", "images"),
        ("image.file", "image.file", "images"),
        ("mask", "mask", "mask"),
        ("strength", "strength", "strength"),
    ]:
        told = InvalidRequest(field, "is wrong")
        assert [str(each.renamed(told)) for each in (in_form, in_json)] == [
            f"{form_name}: is wrong",
            f"{json_name}: is wrong",
        ]
