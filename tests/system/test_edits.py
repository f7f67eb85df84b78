"""Edits through every door: what is sent becomes another picture, and what is not masked stays as it was."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from jobs.errors import InvalidRequest
from jobs.table.states import Status
from ops.programs import Api
from producer import Client
from tests.celery_sender import celery_sender
from tests.input_pictures import HALF, OF_GRAYS, REFUSED, UPRIGHT
from tests.system.conftest import DEADLINE_S, RunCli

PROMPT = "a large yellow star on a blue background"
STEPS = 4
Pixels = NDArray[np.uint8]


def file_of(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def photo(width: int, height: int) -> Image.Image:
    """No two of its rows or columns are alike, so that a pixel which moves is seen."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([across % 256, down % 256, (across * 7 + down * 13) % 256], -1).astype(np.uint8))


def mask(width: int, height: int) -> Image.Image:
    """White in an odd place, by no multiple of anything."""
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).rectangle((width // 3 + 1, height // 4 + 1, width // 2 + 3, height * 3 // 5), fill=255)
    return image


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def edit(width: int = 128, height: int = 128, **fields: Any) -> dict[str, Any]:
    sent = data_url(file_of(photo(width, height)))
    return {"kind": "edit", "prompt": PROMPT, "image": sent, "num_inference_steps": STEPS, "seed": 3, **fields}


def check_masked(made: Pixels, width: int, height: int) -> None:
    """Outside of the mask it is the photo, bit for bit; inside it is not."""
    before, is_masked = np.asarray(photo(width, height)), np.asarray(mask(width, height)) > 0
    assert made.shape == before.shape
    assert np.array_equal(made[~is_masked], before[~is_masked])
    assert np.abs(made[is_masked].astype(int) - before[is_masked]).mean() > 10


@pytest.mark.parametrize("size", [(128, 128), (101, 77), (203, 128), (640, 427)])
def test_outside_of_the_mask_pixels_stay_bit_for_bit(system: Client, size: tuple[int, int]) -> None:
    job = system.submit(**edit(*size, mask=data_url(file_of(mask(*size))), strength=1.0))
    (made,) = job.images(DEADLINE_S)
    check_masked(np.asarray(made.open()), *size)


@pytest.mark.parametrize(("size", "result"), [((101, 77), (101, 77)), ((640, 320), (256, 128)), ((40, 30), (40, 30))])
def test_result_has_the_size_of_the_picture_or_what_the_model_takes(
    system: Client, size: tuple[int, int], result: tuple[int, int]
) -> None:
    images = system.submit(**edit(*size, n=2, model="shapes")).images(DEADLINE_S)
    assert [image.open().size for image in images] == [result] * 2
    assert file_of(images[0].open()) != file_of(images[1].open())


def test_little_strength_leaves_more_of_the_picture(system: Client) -> None:
    first = system.submit("a large red circle on a green background", seed=1)
    image = first.images(DEADLINE_S)[0].open()
    fields: dict[str, Any] = {"image": {"job": first.id}, "num_inference_steps": 20}
    made = [system.submit(**edit(strength=each, **fields)).images(DEADLINE_S)[0].open() for each in (0.1, 1.0)]
    little, much = (np.abs(np.asarray(each, int) - np.asarray(image, int)).mean() for each in made)
    assert little < much / 2


def test_python_takes_paths_and_bytes_and_pictures_of_earlier_jobs(system: Client, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(file_of(photo(64, 64)))
    by_path, whole = (system.submit(**edit(image=each)) for each in (path, path.read_bytes()))
    first = by_path.wait(DEADLINE_S)
    assert first.images[0].sha256 == whole.wait(DEADLINE_S).images[0].sha256
    assert first.parameters is not None
    assert first.parameters["image"] == whole.status().parameters["image"]  # type: ignore[index]
    again = system.submit(**edit(image={"job": by_path.id, "index": 0}, mask=data_url(file_of(mask(64, 64)))))
    (made,) = again.images(DEADLINE_S)
    before, is_masked = np.asarray(by_path.images(DEADLINE_S)[0].open()), np.asarray(mask(64, 64)) > 0
    assert np.array_equal(np.asarray(made.open())[~is_masked], before[~is_masked])
    with pytest.raises(InvalidRequest, match=r"^image: .*none\.png cannot be read: No such file"):
        system.submit(**edit(image=tmp_path / "none.png"))


def test_http_takes_them_inline_and_shows_what_became_of_them(api: Api) -> None:
    with httpx.Client(base_url=api.url, timeout=DEADLINE_S) as http:
        sent = {**edit(101, 77), "mask": data_url(file_of(mask(101, 77)))}
        job = http.post("/v1/jobs", json=sent, headers={"Prefer": "wait=60"}).json()
        while job["status"] not in ("succeeded", "failed"):
            job = http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"}).json()
        assert job["status"] == "succeeded", job
        shown = job["parameters"]["image"]
        assert (shown["width"], shown["height"], shown["file"][:5]) == (101, 77, "file-")
        assert job["parameters"]["strength"] == 1.0
        made = http.get(job["images"][0]["url"]).content
        check_masked(np.asarray(Image.open(io.BytesIO(made))), 101, 77)
        same = http.post("/v1/jobs", json={**edit(), "image": shown["file"], "seed": 5}).json()
        assert same["parameters"]["image"] == shown
        dry = http.post("/v1/jobs?dry_run=true", json=sent).json()
        assert dry["parameters"]["image"]["sha256"] == shown["sha256"]


def test_plain_celery_has_a_task_for_edits(system: Client, stack_env: dict[str, str]) -> None:
    with celery_sender(stack_env["IMAGEMILL_REDIS_URL"]) as app:
        fields = {name: value for name, value in edit(101, 77).items() if name != "kind"}
        sent = {**fields, "mask": data_url(file_of(mask(101, 77)))}
        results = [
            app.send_task("imagemill.edit", kwargs=sent, queue="gpu.shapes-flow"),
            app.send_task("imagemill.generate", kwargs={"kind": "edit", **sent}, queue="gpu.shapes-flow"),
        ]
        for result in results:
            view = result.get(timeout=DEADLINE_S)
            assert (view["status"], view["kind"]) == ("succeeded", "edit")
        check_masked(np.asarray(system.job(results[0].id).images(DEADLINE_S)[0].open()), 101, 77)
        wrong: list[tuple[str, dict[str, Any], str]] = [
            ("imagemill.edit", {**fields, "kind": "generate"}, "kind: the task is imagemill.edit; leave kind out"),
            ("imagemill.edit", {**fields, "image": "data:,x"}, "image: this is no data URL"),
            ("imagemill.edit", {**fields, "image": None}, "image: is missing"),
            ("imagemill.edit", {**fields, "image": {"job": "none"}}, "image: there is no job none"),
            ("imagemill.edits", fields, "task: there is no task 'imagemill.edits'"),
        ]
        for task, kwargs, says in wrong:
            refused = app.send_task(task, kwargs=kwargs, queue="gpu.shapes-flow")
            with pytest.raises(Exception, match=says.replace("(", r"\(")):
                refused.get(timeout=DEADLINE_S)


def test_command_line_sends_files(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(file_of(photo(101, 77)))
    (tmp_path / "m.png").write_bytes(file_of(mask(101, 77)))
    done = cli("edit", "photo.png", PROMPT, "--mask", "m.png", "--steps", str(STEPS), "--out", "out.png")
    assert done.returncode == 0, done.stdout + done.stderr
    check_masked(np.asarray(Image.open(tmp_path / "out.png")), 101, 77)
    missing = cli("edit", "none.png", PROMPT)
    assert (missing.returncode, missing.stderr) == (2, "imagemill: image: there is no file none.png\n")


# A picture that has a good head is at hand and looks whole, but for what is in it.
@pytest.mark.long
def test_each_of_the_corpus_gets_its_picture_or_its_sentence_and_neighbours_finish(
    system: Client, stack_env: dict[str, str]
) -> None:
    neighbours = system.submit_many(
        {"prompt": "a red circle on a blue background", "num_inference_steps": 50, "seed": seed} for seed in range(8)
    )
    good: dict[str, Callable[[], bytes]] = {**UPRIGHT, **OF_GRAYS, **HALF}
    made = {name: system.submit(**edit(image=make())) for name, make in good.items()}
    refused, failed = {}, {}
    for name, (make, _) in REFUSED.items():
        try:
            failed[name] = system.submit(**edit(image=make()))
        except InvalidRequest as exc:
            refused[name] = str(exc)
    for name, job in made.items():
        assert job.wait(DEADLINE_S).status == Status.SUCCEEDED, (name, job.status().error)
    for name, job in failed.items():
        record = job.wait(DEADLINE_S)
        assert (record.status, record.error and record.error.code) == (Status.FAILED, "invalid_input"), name
        assert record.error is not None
        assert record.error.message.startswith("image: "), name
    assert all(said.startswith("image: ") for said in refused.values())
    assert len(made) + len(refused) + len(failed) >= 60
    assert {job.wait(DEADLINE_S).status for job in neighbours} == {Status.SUCCEEDED}
    assert len(refused) > len(failed)
    assert json.dumps(refused)  # Sentences, all of them.
