"""The Python client, with Redis and S3 and without a worker: the table's own calls stand for one."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs import names
from jobs.errors import (
    IdempotencyConflict,
    InvalidRequest,
    JobFailed,
    JobNotFound,
    ModelNotAvailable,
    RedisUnavailable,
    WaitTimeout,
)
from jobs.fleet.lists import list_of
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable, QueueCounts
from ops.process import free_port, wait_until
from producer import Client
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.claims import claim_job

DEADLINE_S = 60.0
QUEUE = "gpu.shapes-flow"
PROMPT = "a large red circle on a blue background"

BAD_INPUT: dict[str, tuple[str, dict[str, Any], str]] = {
    "empty prompt": ("", {}, "prompt"),
    "long prompt": ("a" * 100_000, {}, "prompt"),
    "no width": (PROMPT, {"width": 0}, "width"),
    "no images": (PROMPT, {"n": 0}, "n"),
    "guidance is no number": (PROMPT, {"guidance_scale": float("nan")}, "guidance_scale"),
    "unknown field": (PROMPT, {"colour": "red"}, "colour"),
    "unknown model": (PROMPT, {"model": "dreams"}, "model"),
    "negative deadline": (PROMPT, {"deadline": -1.0}, "deadline"),
    "too many steps for the model": (PROMPT, {"num_inference_steps": 999}, "num_inference_steps"),
}


def announced_ids(client: redis.Redis) -> set[str]:
    """Ids of the messages in Celery's queue, of normal priority."""
    return {json.loads(message)["headers"]["id"] for message in client.lrange(list_of(names.line_of(QUEUE), 3), 0, -1)}


def is_waited_for(client: redis.Redis) -> bool:
    """Whether somebody blocks on our database; the session's worker blocks on another."""
    return any(each["db"] == "1" and "b" in each["flags"] for each in client.client_list())


def test_submitted_job_is_queued_with_every_parameter_settled(client: Client) -> None:
    job = client.submit(PROMPT, seed=7, metadata={"order": "12"})
    record = job.status()
    assert record.id == job.id
    assert record.status is Status.QUEUED
    assert record.spec is not None
    assert (record.spec.prompt, record.spec.seed, record.spec.metadata) == (PROMPT, 7, {"order": "12"})
    assert (record.spec.model, record.spec.num_inference_steps) == ("shapes-flow", 8)
    assert client.queues() == [QueueCounts(queue=QUEUE, waiting=0, released=1, running=0)]


def test_drawn_seed_is_recorded(client: Client) -> None:
    specs = [client.submit(PROMPT).status().spec for _ in range(2)]
    assert len({spec.seed for spec in specs if spec is not None}) == 2


def test_many_jobs_are_all_there_in_the_order_given(
    client: Client, settings: Settings, table: JobTable, redis_client: redis.Redis
) -> None:
    jobs = client.submit_many({"prompt": f"{number} red circles"} for number in range(1_200))
    records = table.get_many([job.id for job in jobs])
    assert [record.payload["prompt"] for record in records if record.payload] == [
        f"{n} red circles" for n in range(1_200)
    ]
    window = settings.release_window
    assert client.queues() == [QueueCounts(queue=QUEUE, waiting=1_200 - window, released=window, running=0)]
    assert announced_ids(redis_client) == {job.id for job in jobs[:window]}


def test_submitting_nothing_gives_nothing(client: Client, redis_client: redis.Redis) -> None:
    assert client.submit_many([]) == []
    assert redis_client.keys() == []


@pytest.mark.parametrize(("prompt", "fields", "field"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_refused_and_nothing_is_queued(
    client: Client, redis_client: redis.Redis, prompt: str, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{field}: ") as refused:
        client.submit(prompt, **fields)
    assert refused.value.field == field
    assert isinstance(refused.value, ModelNotAvailable) == (field == "model")
    assert redis_client.keys() == []


@pytest.mark.parametrize("index", [0, 2])
def test_one_bad_request_among_many_is_named_and_nothing_is_queued(
    client: Client, redis_client: redis.Redis, index: int
) -> None:
    requests: list[dict[str, Any]] = [{"prompt": PROMPT} for _ in range(3)]
    requests[index]["n"] = 0
    with pytest.raises(InvalidRequest) as refused:
        client.submit_many(requests)
    assert refused.value.__notes__ == [f"in request {index}"]
    assert redis_client.keys() == []


def test_same_idempotency_key_gives_the_same_job(client: Client) -> None:
    one, two = (client.submit(PROMPT, idempotency_key="k") for _ in range(2))
    assert one.id == two.id
    with pytest.raises(IdempotencyConflict, match=one.id):
        client.submit(PROMPT, idempotency_key="k", seed=7)


def test_jobs_beside_a_conflict_are_not_left_without_their_messages(client: Client, redis_client: redis.Redis) -> None:
    taken = client.submit(PROMPT, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        client.submit_many([{"prompt": PROMPT}, {"prompt": "another", "idempotency_key": "k"}, {"prompt": PROMPT}])
    released = set(redis_client.zrange(names.released_key(QUEUE), 0, -1))
    assert taken.id in released
    assert released == announced_ids(redis_client)


def test_canceled_job_ends_and_the_next_is_announced(settings: Settings, redis_client: redis.Redis) -> None:
    client = Client(settings.model_copy(update={"release_window": 1}), S3Settings())
    first, second = client.submit(PROMPT), client.submit(PROMPT)
    assert announced_ids(redis_client) == {first.id}
    assert first.cancel().status is Status.CANCELED
    assert first.wait(timeout_s=DEADLINE_S).status is Status.CANCELED
    assert [event.data for event in first.events()] == [{"status": "canceled"}]
    assert announced_ids(redis_client) == {first.id, second.id}


def test_waiting_returns_when_the_job_ends(client: Client, table: JobTable, redis_client: redis.Redis) -> None:
    job = client.submit(PROMPT)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(job.wait, DEADLINE_S)
        assert wait_until(lambda: is_waited_for(redis_client), DEADLINE_S)
        claimed = claim_job(table, job.id)
        table.progress(claimed, Stage.GENERATE, 20, 20)
        table.finish(claimed, Status.FAILED, error={"code": "out_of_memory", "message": "too large"})
        assert waiting.result(DEADLINE_S) == job.status()
    assert job.status().status is Status.FAILED


def test_waiting_for_an_ended_job_returns_at_once(client: Client) -> None:
    job = client.submit(PROMPT)
    assert job.cancel() == job.wait(timeout_s=0)


@pytest.mark.parametrize("timeout_s", [0, 0.1])
def test_waiting_in_vain_is_a_timeout_and_the_job_goes_on(client: Client, timeout_s: float) -> None:
    job = client.submit(PROMPT)
    with pytest.raises(WaitTimeout, match=f"{job.id} did not end within {timeout_s} s"):
        job.wait(timeout_s)
    assert job.status().status is Status.QUEUED


def test_unknown_job_is_an_error_whatever_is_asked(client: Client) -> None:
    job = client.job("no-such-job")
    for ask in (job.status, job.wait, job.events, job.cancel, job.images):
        with pytest.raises(JobNotFound, match="no-such-job"):
            ask()


def test_job_without_images_says_why(client: Client, table: JobTable) -> None:
    failed, canceled = client.submit(PROMPT), client.submit(PROMPT)
    table.finish(claim_job(table, failed.id), Status.FAILED, error={"code": "out_of_memory", "message": "too large"})
    canceled.cancel()
    with pytest.raises(JobFailed, match=f"{failed.id} ended with out_of_memory: too large"):
        failed.images()
    with pytest.raises(JobFailed, match=f"{canceled.id} ended with canceled"):
        canceled.images()


def test_images_of_a_finished_job_can_be_read_saved_and_linked(
    client: Client, table: JobTable, store: S3Store, tmp_path: Path
) -> None:
    job = client.submit(PROMPT)
    body = b"an image"
    image = {
        "key": f"{job.id}/0.webp",
        "content_type": "image/webp",
        "width": 8,
        "height": 8,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "seed": 7,
    }
    store.put(f"{job.id}/0.webp", body, "image/webp")
    table.finish(claim_job(table, job.id), Status.SUCCEEDED, artifacts=[image])
    (found,) = job.images(timeout_s=DEADLINE_S)
    assert found.read() == body
    assert found.save(tmp_path / "picture.webp").read_bytes() == body
    assert found.thumbnail_url() is None
    with urllib.request.urlopen(found.url()) as response:  # noqa: S310 - our own link
        assert response.read() == body
        assert response.headers["Content-Type"] == "image/webp"


def test_redis_that_is_away_is_a_sentence_at_the_first_call_and_not_before(storage_settings: S3Settings) -> None:
    client = Client(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"), storage_settings)
    for ask in (lambda: client.submit(PROMPT), lambda: client.status("a-job"), client.queues):
        with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1.*make up.*IMAGEMILL_REDIS_URL"):
            ask()


def test_one_client_serves_many_threads(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda seed: client.submit(PROMPT, seed=seed), range(40)))
        seeds = [record.spec.seed for record in pool.map(lambda job: job.status(), jobs) if record.spec]
    assert seeds == list(range(40))
