"""A prompt goes in, the picture comes out of S3."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from PIL import Image

from jobs.errors import JobFailed
from jobs.table.states import Status
from ops.process import wait_until
from producer import Client
from storage.registry import open_store
from tests.system.conftest import DEADLINE_S, RunCli, is_watched, nothing_begins

PROMPT = "a large red circle on a blue background"


def test_picture_comes_back_with_the_size_that_was_asked_for(system: Client) -> None:
    image = system.submit(PROMPT, width=176, height=128, num_inference_steps=2).images(200)[0].open()
    assert image.size == (176, 128)


def test_same_parameters_give_the_same_bytes_and_another_seed_another_picture(system: Client) -> None:
    files = [
        system.submit(PROMPT, seed=seed, num_inference_steps=4).images(200)[0].read() for seed in (5, 5, 6)
    ]  # one after the other, so that each runs with nothing beside it
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_four_images_have_the_seeds_that_follow(system: Client) -> None:
    record = system.submit(PROMPT, n=4, seed=100, num_inference_steps=2).wait(200)
    assert [image.seed for image in record.images] == [100, 101, 102, 103]
    assert len({image.sha256 for image in record.images}) == 4


@pytest.mark.parametrize(
    ("model", "scheduler"),
    [
        *(("shapes-flow", name) for name in ("default", "euler", "heun", "lcm", "dpmpp_2m", "unipc")),
        *(("shapes", name) for name in ("ddim", "euler_ancestral", "dpmpp_2m_karras", "unipc")),
    ],
)
def test_every_scheduler_of_the_model_runs(system: Client, model: str, scheduler: str) -> None:
    record = system.submit(PROMPT, model=model, scheduler=scheduler, num_inference_steps=5).wait(200)
    assert record.status is Status.SUCCEEDED, record.error


def test_prompt_of_unknown_words_still_gives_a_picture(system: Client) -> None:
    prompt = "Ein Käse 中文 🙂 qwertz, photographed by nobody " + "very " * 200
    assert system.submit(prompt, num_inference_steps=2).images(200)[0].open().size == (128, 128)


def test_output_options_shape_the_file(system: Client) -> None:
    output = {
        "format": "webp",
        "quality": 70,
        "resize": {"width": 100, "height": 80},
        "crop": {"width": 60, "height": 60},
        "thumbnail": 32,
    }
    job = system.submit(PROMPT, num_inference_steps=2, output=output)
    image = job.images(200)[0]
    assert (image.open().format, image.open().size) == ("WEBP", (60, 60))
    assert image.record.thumbnail_key is not None


def test_manifest_beside_the_images_tells_how_to_make_them_again(system: Client, stack_env: dict[str, str]) -> None:
    record = system.submit(PROMPT, seed=9, num_inference_steps=2, metadata={"order": "17"}).wait(200)
    store = open_store(system.parts.store.settings)
    manifest = json.loads(store.get(record.images[0].key.rsplit("/", 1)[0] + "/job.json"))
    assert manifest["spec"]["seed"] == 9
    assert manifest["spec"]["metadata"] == {"order": "17"}
    assert manifest["images"][0]["sha256"] == record.images[0].sha256
    assert {"torch", "diffusers", "transformers"} <= set(manifest["versions"])


def test_picture_comes_out_of_the_store_by_its_link_with_plain_curl(system: Client, tmp_path: Path) -> None:
    image = system.submit(PROMPT, num_inference_steps=2).images(200)[0]
    file = tmp_path / "picture.png"
    subprocess.run(["curl", "--fail", "--silent", "--output", str(file), image.url()], check=True)  # noqa: S607
    assert file.read_bytes() == image.read()
    with Image.open(file) as picture:
        assert picture.format == "PNG"


def test_events_tell_the_way_of_the_job_in_order(system: Client, system_redis: redis.Redis) -> None:
    with ThreadPoolExecutor(1) as pool:
        with nothing_begins(system):
            job = system.submit(PROMPT, num_inference_steps=3)
            followed = pool.submit(lambda: list(job.events()))
            assert wait_until(lambda: is_watched(system_redis, job.id), DEADLINE_S)
        events = followed.result(200)
    stages = [event.data["stage"] for event in events if event.type == "progress"]
    assert list(dict.fromkeys(stages)) == ["encode", "generate", "postprocess", "upload"]
    assert events[0].data == {"status": "processing"}
    assert events[-1].type == "completed"
    assert events[-1].data == {"status": "succeeded"}


def test_running_job_that_is_canceled_leaves_at_its_next_step(system: Client) -> None:
    job = system.submit(PROMPT, num_inference_steps=100, n=4)
    next(event for event in job.events() if event.type == "progress" and event.data["stage"] == "generate")
    job.cancel()
    record = job.wait(DEADLINE_S)
    assert record.status is Status.CANCELED
    assert record.images == ()
    with pytest.raises(JobFailed, match="canceled"):
        job.images()


def test_job_past_its_deadline_ends_as_expired_while_it_runs(system: Client) -> None:
    record = system.submit(PROMPT, num_inference_steps=100, n=16, deadline=1.0).wait(200)
    assert record.status is Status.EXPIRED
    assert record.error is not None
    assert record.error.code == "deadline_exceeded"


def test_finished_job_is_timed_by_stage(system: Client) -> None:
    record = system.submit(PROMPT, num_inference_steps=2).wait(200)
    assert set(record.timings) == {"queued", "encode", "generate", "postprocess", "upload", "total"}
    assert record.attempts == 1


def test_command_line_prints_the_finished_job_as_json(system: Client, cli: RunCli, tmp_path: Path) -> None:
    done = cli("submit", PROMPT, "--steps", "2", "--wait", "--json", "--out", "circle.jpg")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "succeeded"
    assert record["images"][0]["url"].startswith("http")
    with Image.open(tmp_path / "circle.jpg") as picture:
        assert picture.format == "JPEG"


def test_command_line_says_what_a_person_wants_to_know(system: Client, cli: RunCli) -> None:
    done = cli("submit", PROMPT, "--steps", "2", "--out", "circle.png")
    assert done.returncode == 0, done.stderr
    for word in ("succeeded", "circle.png", "generate", "total"):
        assert word in done.stdout


def test_status_wait_and_events_find_a_job_by_its_id(system: Client, cli: RunCli) -> None:
    job_id = cli("submit", PROMPT, "--steps", "2").stdout.strip()
    assert cli("wait", job_id, "--timeout", "60").returncode == 0
    assert json.loads(cli("status", job_id, "--json").stdout)["status"] == "succeeded"
    last = cli("events", job_id, "--json").stdout.splitlines()[-1]
    assert json.loads(last)["type"] == "completed"
