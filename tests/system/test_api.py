"""The HTTP API of the running system: a job's whole way, as a service in any language sees it."""

from __future__ import annotations

import hashlib
import io
from contextlib import ExitStack

import httpx2 as httpx
import pytest
import redis
from PIL import Image as PillowImage

from ops.process import wait_until
from ops.programs import Api
from producer import Client
from tests.integration.producer.api.sse import listening
from tests.system.conftest import DEADLINE_S, is_watched, nothing_begins

PROMPT = "a large red circle on a blue background"
SECRET = "a very secret green cross on a white background"


def test_picture_comes_with_the_answer_for_who_waits(api: Api) -> None:
    body = {"prompt": PROMPT, "seed": 7, "num_inference_steps": 4, "output": {"format": "webp", "thumbnail": 32}}
    answer = httpx.post(
        f"{api.url}/v1/jobs", json=body, headers={"Prefer": "wait=60"}, timeout=DEADLINE_S, trust_env=False
    )
    job = answer.json()
    assert (answer.status_code, job["status"], job["progress"]) == (200, "succeeded", 1.0)
    (image,) = job["images"]
    file = httpx.get(image["url"], timeout=DEADLINE_S, trust_env=False)
    assert file.headers["content-type"] == image["content_type"] == "image/webp"
    assert (len(file.content), hashlib.sha256(file.content).hexdigest()) == (image["bytes"], image["sha256"])
    assert PillowImage.open(io.BytesIO(file.content)).size == (image["width"], image["height"]) == (128, 128)
    thumbnail = httpx.get(image["thumbnail_url"], timeout=DEADLINE_S, trust_env=False).content
    assert PillowImage.open(io.BytesIO(thumbnail)).size == (32, 32)
    assert (image["seed"], httpx.get(job["status_url"], timeout=DEADLINE_S, trust_env=False).json()["images"]) == (
        7,
        job["images"],
    )
    assert set(job["timings"]) >= {"encode", "generate", "total"}


def test_job_is_followed_from_its_beginning_to_its_end(api: Api, system: Client, system_redis: redis.Redis) -> None:
    body = {"prompt": PROMPT, "num_inference_steps": 5}
    with ExitStack() as stream:
        with nothing_begins(system):
            job = httpx.post(f"{api.url}/v1/jobs", json=body, timeout=DEADLINE_S, trust_env=False).json()
            listened = stream.enter_context(listening(job["events_url"]))
            assert wait_until(lambda: is_watched(system_redis, job["id"]), DEADLINE_S)
        events = list(listened)
    assert (events[0].event, events[-1].event) == ("status", "completed")
    stages = [each.data["stage"] for each in events if each.event == "progress"]
    assert list(dict.fromkeys(stages)) == ["encode", "generate", "postprocess", "upload"]
    progress = [each.data["progress"] for each in events if each.event == "progress"]
    assert progress == sorted(progress)
    done = events[-1].data["job"]
    assert (done["id"], done["status"]) == (job["id"], "succeeded")
    assert httpx.get(done["images"][0]["url"], timeout=DEADLINE_S, trust_env=False).status_code == 200


def test_worker_is_reported(api: Api) -> None:
    alone = {
        "status": "ready",
        "redis": "ok",
        "storage": "ok",
        "workers": {"shapes-flow": 1, "shapes": 1},
        "unread": {},
    }
    # One that another test has killed is reported for two leases more.
    assert wait_until(
        lambda: httpx.get(f"{api.url}/ready", timeout=DEADLINE_S, trust_env=False).json() == alone, DEADLINE_S
    )
    models = httpx.get(f"{api.url}/v1/models", timeout=DEADLINE_S, trust_env=False).json()["data"]
    assert {model["id"]: model["workers"] for model in models} == {"shapes-flow": 1, "shapes": 1}


@pytest.mark.parametrize("body", [{"prompt": SECRET}, {"prompt": SECRET, "n": 0}, {"prompt": SECRET, "bad": SECRET}])
def test_log_has_neither_prompts_nor_keys_nor_queries(api: Api, api_log: list[str], body: dict[str, object]) -> None:
    headers = {"Authorization": "Bearer im_secret", "Idempotency-Key": f"secret-{len(body)}"}
    answer = httpx.post(
        f"{api.url}/v1/jobs?dry_run=0&token=secret", json=body, headers=headers, timeout=DEADLINE_S, trust_env=False
    )
    assert answer.status_code in (202, 422)
    httpx.post(
        f"{api.url}/v1/jobs", content=f'{{"prompt": "{SECRET}', headers=headers, timeout=DEADLINE_S, trust_env=False
    )
    httpx.get(f"{api.url}/v1/nothing?secret", headers=headers, timeout=DEADLINE_S, trust_env=False)
    logged = "\n".join(api_log)
    assert "path=/v1/jobs" in logged
    assert "secret" not in logged
