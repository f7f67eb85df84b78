"""Pixels become files that hold what made them."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from jobs.catalogue.catalogue import Catalogue
from jobs.fields import MAX_PROMPT_CHARS
from jobs.kinds.generate import GenerateSpec, spec_of
from jobs.kinds.inputs import Input
from jobs.kinds.picture import DigitalSource
from jobs.kinds.registry import parse_request
from jobs.kinds.registry import settle as settle_any
from workers.runners.files import MadeFile
from workers.runners.image_metadata import parameters
from workers.runners.postprocess import memory_bytes, postprocess

FORMATS = ["png", "jpeg", "webp"]
LOSSY = ["jpeg", "webp"]

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def picture(width: int = 128, height: int = 96) -> Pixels:
    """A gradient with noise, so that every place differs and compression has work to do."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(7).integers(0, 40, (height, width))
    return np.stack([columns * 200 // width, rows * 200 // height, noise], axis=-1).astype(np.uint8)


def settle(catalogue: Catalogue, **fields: Any) -> GenerateSpec:
    base = {"model": "shapes", "prompt": "a red circle, “größer” than 🟦", "width": 128, "height": 96, "seed": 40}
    return spec_of(base | fields, catalogue)


def settle_edit(catalogue: Catalogue, **fields: Any) -> GenerateSpec:
    image: dict[str, Any] = {"bytes": 3, "width": 128, "height": 96, "sha256": "ab" * 32}
    own = {"kind": "edit", "image": Input(**image, object="theirs/secret.png"), "mask": Input(**image, job="j-1")}
    return settle_any(parse_request({"prompt": "a red circle", "seed": 40} | own | fields), catalogue)  # type: ignore[return-value]


def process(catalogue: Catalogue, pixels: Pixels, **fields: Any) -> MadeFile:
    spec = settle(catalogue, **fields)
    return postprocess(pixels, spec, catalogue.models[spec.model], 0)


def read_parameters(body: bytes) -> Any:
    with Image.open(io.BytesIO(body)) as image:
        if isinstance(image, PngImagePlugin.PngImageFile):
            return json.loads(image.text["parameters"])
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    return json.loads(comment.removeprefix(b"UNICODE\x00").decode("utf-16-be"))


def open_pixels(body: bytes) -> Pixels:
    with Image.open(io.BytesIO(body)) as image:
        return np.asarray(image)


def test_file_of_an_edit_says_of_further_pictures_what_everybody_may_know(catalogue: Catalogue) -> None:
    said: dict[str, Any] = {"width": 64, "height": 48, "sha256": "cd" * 32}
    further = [Input(**said, bytes=3, file="file-" + "a" * 24), Input(**said, bytes=3, object="theirs/other.png")]
    spec = settle_edit(catalogue, mask=None).model_copy(update={"references": further})
    body = postprocess(picture(), spec, catalogue.models[spec.model], 0).body
    assert read_parameters(body)["references"] == [said, said]
    alone = postprocess(picture(), settle_edit(catalogue, mask=None), catalogue.models[spec.model], 0).body
    assert "references" not in read_parameters(alone)


def test_png_keeps_every_pixel(catalogue: Catalogue) -> None:
    assert np.array_equal(open_pixels(process(catalogue, picture()).body), picture())


@pytest.mark.parametrize(
    ("name", "extension", "content_type"),
    [("png", "png", "image/png"), ("jpeg", "jpg", "image/jpeg"), ("webp", "webp", "image/webp")],
)
def test_format_decides_what_the_file_is(catalogue: Catalogue, name: str, extension: str, content_type: str) -> None:
    file = process(catalogue, picture(), output={"format": name})
    with Image.open(io.BytesIO(file.body)) as image:
        assert image.format == name.upper()
        assert image.size == (file.meta["width"], file.meta["height"]) == (128, 96)
    assert (file.extension, file.content_type) == (extension, content_type)


@pytest.mark.parametrize("name", LOSSY)
def test_lower_quality_gives_a_smaller_file(catalogue: Catalogue, name: str) -> None:
    sizes = [
        len(process(catalogue, picture(), output={"format": name, "quality": quality}).body) for quality in (10, 60, 95)
    ]
    assert sizes == sorted(set(sizes))


def test_resize_scales_to_the_box(catalogue: Catalogue) -> None:
    file = process(catalogue, picture(), output={"resize": {"width": 64, "height": 48}})
    pixels = open_pixels(file.body)
    assert pixels.shape == (48, 64, 3)
    assert (file.meta["width"], file.meta["height"]) == (64, 48)
    assert np.allclose(pixels.mean(axis=(0, 1)), picture().mean(axis=(0, 1)), atol=1)


def test_crop_is_cut_around_the_center(catalogue: Catalogue) -> None:
    file = process(catalogue, picture(), output={"crop": {"width": 100, "height": 50}})
    assert np.array_equal(open_pixels(file.body), picture()[23:73, 14:114])


def test_crop_comes_after_resize(catalogue: Catalogue) -> None:
    output = {"resize": {"width": 256, "height": 192}, "crop": {"width": 128, "height": 96}}
    pixels = open_pixels(process(catalogue, picture(), output=output).body)
    # The middle of the picture at twice its size: half the range of the gradient.
    assert pixels.shape == (96, 128, 3)
    assert int(np.ptp(pixels[..., 0])) == pytest.approx(100, abs=5)


@pytest.mark.parametrize("output", [{}, {"format": "jpeg"}, {"crop": {"width": 48, "height": 96}}])
def test_thumbnail_is_a_small_webp_of_the_same_proportions(catalogue: Catalogue, output: dict[str, Any]) -> None:
    file = process(catalogue, picture(), output={**output, "thumbnail": 32})
    assert file.thumbnail is not None
    with Image.open(io.BytesIO(file.thumbnail)) as image:
        assert image.format == "WEBP"
        assert max(image.size) == 32
        assert image.width / image.height == pytest.approx(file.meta["width"] / file.meta["height"], rel=0.05)


def test_no_thumbnail_is_made_unasked(catalogue: Catalogue) -> None:
    assert process(catalogue, picture()).thumbnail is None


@pytest.mark.parametrize("name", FORMATS)
def test_parameters_can_be_read_back_and_make_the_job_again(catalogue: Catalogue, name: str) -> None:
    spec = settle(catalogue, negative_prompt="a blue\nsquare", output={"format": name})
    model = catalogue.models[spec.model]
    found = read_parameters(postprocess(picture(), spec, model, 0).body)
    assert found == parameters(spec, model, spec.seed)
    again = {name: value for name, value in found.items() if name not in {"software", "revision"}}
    assert spec_of(again, catalogue) == spec.model_copy(update={"output": type(spec.output)()})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "text", ["🟦" * 4_000, "a" + "\n" * 3_998 + "a", '"' * 4_000], ids=["emoji", "lines", "quotes"]
)
def test_longest_prompts_fit_into_every_format(catalogue: Catalogue, name: str, text: str) -> None:
    file = process(catalogue, picture(), prompt=text, negative_prompt=text, output={"format": name})
    assert read_parameters(file.body)["prompt"] == text


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_cannot_hold_is_cut_and_says_so(catalogue: Catalogue, name: str) -> None:
    long = "é" * MAX_PROMPT_CHARS
    spec = settle(catalogue, output={"format": name}).model_copy(
        update={"prompt": long, "negative_prompt": "blue " * 150}
    )
    found = read_parameters(postprocess(picture(), spec, catalogue.models[spec.model], 0).body)
    if name == "jpeg":
        assert found.pop("shortened") == ["prompt"]
        assert found["prompt"] == "é" * 1_000 + "…"
        found["prompt"] = long
    assert found == parameters(spec, catalogue.models[spec.model], spec.seed)


@pytest.mark.parametrize("name", FORMATS)
def test_same_input_gives_the_same_bytes(catalogue: Catalogue, name: str) -> None:
    one, two = (process(catalogue, picture(), output={"format": name, "thumbnail": 64}) for _ in range(2))
    assert one == two
    assert one.sha256 == two.sha256


def test_each_image_of_a_job_carries_its_own_seed(catalogue: Catalogue) -> None:
    spec = settle(catalogue, n=3)
    files = [postprocess(picture(), spec, catalogue.models[spec.model], index) for index in range(3)]
    assert [file.meta["seed"] for file in files] == [40, 41, 42]
    assert [read_parameters(file.body)["seed"] for file in files] == [40, 41, 42]


@pytest.mark.parametrize("name", FORMATS)
def test_mark_alone_keeps_prompt_and_parameters_out_of_the_file(catalogue: Catalogue, name: str) -> None:
    file = process(catalogue, picture(), prompt="a SECRET circle", output={"format": name, "metadata": "mark"})
    for text in ("SECRET", "guidance", "ddim"):
        assert text.encode() not in file.body
        assert text.encode("utf-16-be") not in file.body
    assert b"trainedAlgorithmicMedia" in file.body


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("metadata", ["mark", "full"])
def test_files_of_edits_and_of_generations_say_which_they_are(catalogue: Catalogue, name: str, metadata: str) -> None:
    output = {"format": name, "thumbnail": 32, "metadata": metadata}
    for make, says in ((settle, DigitalSource.MODEL), (settle_edit, DigitalSource.MODEL_AND_PICTURE)):
        spec = make(catalogue, output=output)
        file = postprocess(picture(), spec, catalogue.models[spec.model], 0)
        assert file.thumbnail is not None
        for body in (file.body, file.thumbnail):
            assert [each for each in DigitalSource if f'digitalsourcetype/{each}"'.encode() in body] == [says]


@pytest.mark.parametrize("name", FORMATS)
def test_edit_says_what_it_was_made_from_by_content_alone(catalogue: Catalogue, name: str) -> None:
    spec = settle_edit(catalogue, strength=0.5, padding_mask_crop=8, output={"format": name})
    said = read_parameters(postprocess(picture(), spec, catalogue.models[spec.model], 0).body)
    by_content = {"sha256": "ab" * 32, "width": 128, "height": 96}
    assert (said["image"], said["mask"]) == (by_content, by_content)
    assert (said["strength"], said["padding_mask_crop"], said["width"]) == (0.5, 8, 128)


def test_a_job_of_the_version_before_says_all_unless_its_model_forbids_it(catalogue: Catalogue) -> None:
    spec = settle(catalogue)
    model = catalogue.models[spec.model]
    assert read_parameters(postprocess(picture(), spec, model, 0).body)["prompt"] == spec.prompt
    silent = model.model_copy(update={"metadata": "mark"})
    asked = spec.model_copy(update={"output": spec.output.model_copy(update={"metadata": "full"})})
    for each in (spec, asked):
        assert b"parameters" not in postprocess(picture(), each, silent, 0).body


def test_memory_follows_the_largest_form_of_an_image(catalogue: Catalogue) -> None:
    made, between, scaled = 128 * 96, 1280 * 96, 1280 * 960
    large = {"resize": {"width": 1280, "height": 960}}
    assert memory_bytes(settle(catalogue)) == made * (4 + 14)
    assert memory_bytes(settle(catalogue, output=large)) == 4 * (made + between) + 14 * scaled
    assert memory_bytes(settle(catalogue, output={**large, "format": "webp"})) == 4 * (made + between) + 29 * scaled
