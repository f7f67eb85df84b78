"""Whoever submits by Celery alone: no message of his is lost, and he learns how each job ended."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.outside import PROMPT, fill, make_room, standing
from tests.blackbox.system import PATIENCE_S, Command, System, simulated, until

Sent = list[AsyncResult[dict[str, Any]]]


def send(app: Celery, count: int, queue: str = "gpu.sim", **fields: Any) -> Sent:
    """As README has it."""
    return [app.send_task("imagemill.generate", kwargs={"prompt": PROMPT, **fields}, queue=queue) for _ in range(count)]


def fill_up(client: redis.Redis) -> None:
    """Until it refuses every write."""
    fill(client, 1.1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("one_more", "x")


def assert_they_stand(system: System, client: redis.Redis, sent: Sent, job: str) -> None:
    """All messages are in Redis, and no job is made of them, though a worker has run another job meanwhile."""
    assert system.end_of(job)["status"] == "succeeded"
    assert standing(client) == len(sent)
    assert not client.exists(*(f"imagemill:job:{task.id}" for task in sent))


def assert_each_ran_once(system: System, sent: Sequence[AsyncResult[Any]]) -> None:
    """One result, one record, and one folder of images for each."""
    for task in sent:
        result = task.get(timeout=PATIENCE_S)
        assert (result["id"], result["status"]) == (task.id, "succeeded")
        assert_ran_once(system, task.id)


def assert_ran_once(system: System, job_id: str) -> None:
    job = system.end_of(job_id)
    assert (job["status"], job["attempts"]) == ("succeeded", 1), job
    assert len({path.parent for path in system.objects(job_id)}) == 1
    kinds = Counter(kind for kind, _ in events_of(system.redis(), job_id))
    assert kinds["completed"] == 1


def events_of(client: redis.Redis, job_id: str) -> list[tuple[str, str]]:
    entries: Any = client.xrange(f"imagemill:events:{job_id}")
    return [(fields["type"], fields["data"]) for _, fields in entries]


def results_of(system: System) -> dict[str, str]:
    """What the first version had to be told."""
    return {"IMAGEMILL_RESULT_BACKEND_URL": system.redis_server.url}


@contextmanager
def paused(process: Command) -> Iterator[None]:
    """Stop all of its processes for a while, as a machine does that is suspended."""
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def test_what_is_sent_to_a_redis_with_little_room_waits_there(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    client = system.redis()
    system.serve()
    worker = system.worker()
    job = system.submit(num_inference_steps=30)
    fill(client, 0.97)
    sent = send(system.celery(), 5)
    assert_they_stand(system, client, sent, job)
    make_room(client)
    assert_each_ran_once(system, sent)
    assert standing(client) == 0
    assert not worker.printed("Traceback")


def test_what_was_sent_before_redis_was_entirely_full_waits_there(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    client = system.redis()
    system.serve()
    worker = system.worker()
    with paused(worker):
        sent = send(system.celery(), 5)
        job = system.submit()
        fill_up(client)
    assert_they_stand(system, client, sent, job)
    make_room(client)
    assert_each_ran_once(system, sent)
    assert standing(client) == 0
    assert not worker.printed("Traceback")


def test_jobs_behind_messages_that_wait_for_room_run(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    client = system.redis()
    system.serve()
    worker = system.worker("--concurrency", "2")
    with paused(worker):
        sent = send(system.celery(), 20)
        jobs = [system.submit(num_inference_steps=2, priority=each) for each in ("normal", "low")]
        fill(client, 0.97)
    assert [system.end_of(job)["status"] for job in jobs] == ["succeeded"] * 2
    assert not client.exists(*(f"imagemill:job:{task.id}" for task in sent))
    make_room(client)
    assert_each_ran_once(system, sent)


@pytest.mark.parametrize("fullness", [0.97, 1.1])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_ends_takes_no_message_along(make_system: MakeSystem, fullness: float, end: int) -> None:
    system = make_system(simulated())
    client = system.redis()
    system.serve()
    worker = system.worker()
    with paused(worker):
        sent = send(system.celery(), 5)
        job = system.submit()
        fill(client, fullness)
    assert_they_stand(system, client, sent, job)
    assert worker.pid is not None
    os.kill(worker.pid, end) if end == signal.SIGTERM else os.killpg(worker.pid, end)
    assert worker.wait_for_exit() == (0 if end == signal.SIGTERM else -end)
    assert standing(client) == len(sent)
    make_room(client)
    system.worker()
    assert_each_ran_once(system, sent)


def test_messages_survive_a_redis_that_is_killed_while_they_are_taken(make_system: MakeSystem) -> None:
    system = make_system(simulated(row_s=0.005))
    system.serve()
    worker = system.worker()
    app, sent = system.celery(), list[AsyncResult[Any]]()
    for few in (1, 4, 7, 10):
        known = count_jobs(system.redis()) + few
        sent += send(app, 12, num_inference_steps=3)
        until("some are under way", lambda known=known: count_jobs(system.redis()) >= known)  # type: ignore[misc]
        kill_redis(system)
        system.redis_server.start()
        system.redis_server.wait_until_ready()
    until("all are known", lambda: count_jobs(system.redis()) == len(sent))
    for task in sent:
        assert_ran_once(system, task.id)
    assert standing(system.redis()) == 0
    assert not worker.printed("raised unexpected")


def count_jobs(client: redis.Redis) -> int:
    return len(set(client.scan_iter("imagemill:job:*", count=1000)))


def kill_redis(system: System) -> None:
    assert system.redis_server.pid is not None
    os.kill(system.redis_server.pid, signal.SIGKILL)
    until("Redis has gone", lambda: system.redis_server.exit_code is not None)


def test_a_sender_hears_of_the_end_of_a_job_while_redis_is_full(make_system: MakeSystem) -> None:
    system = make_system(simulated(row_s=0.2))
    client = system.redis()
    system.serve()
    system.worker(env=results_of(system))
    [task] = send(system.celery(), 1, num_inference_steps=20)
    until("it runs", lambda: client.hget(f"imagemill:job:{task.id}", "stage") == "generate")
    fill_up(client)
    assert task.get(timeout=PATIENCE_S)["status"] == "succeeded"


def test_a_sender_hears_why_his_request_is_refused_when_redis_has_room_again(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    worker = system.worker(env=results_of(system))
    with paused(worker):
        sent = send(system.celery(), 1, num_inference_steps=0)
        job = system.submit()
        fill_up(system.redis())
    assert_they_stand(system, system.redis(), sent, job)
    make_room(system.redis())
    with pytest.raises(Exception, match=r"invalid_request: num_inference_steps"):
        sent[0].get(timeout=PATIENCE_S)
    assert system.end_of(sent[0].id)["error"]["code"] == "invalid_request"


def test_a_sender_hears_that_there_is_no_such_task(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.worker()
    with pytest.raises(Exception, match=r"imagemill\.paint"):
        system.celery().send_task("imagemill.paint", kwargs={}, queue="gpu.sim").get(timeout=PATIENCE_S)


def test_a_worker_that_loses_its_connection_to_a_full_redis_goes_on(make_system: MakeSystem) -> None:
    system = make_system(simulated(row_s=0.2))
    client = system.redis()
    system.serve()
    worker = system.worker(env=results_of(system))
    [task] = send(system.celery(), 1, num_inference_steps=30)
    until("it runs", lambda: client.hget(f"imagemill:job:{task.id}", "stage") == "generate")
    fill_up(client)
    for kind in ("normal", "pubsub"):
        client.client_kill_filter(_type=kind, skipme=True)
    assert task.get(timeout=PATIENCE_S)["status"] == "succeeded"
    make_room(client)
    assert_each_ran_once(system, [task, *send(system.celery(), 1)])
    assert worker.printed("engine ready") == 1


@pytest.mark.parametrize("by", ["revoke", "terminate", "http", "cli"])
def test_the_sender_of_a_job_that_is_canceled_while_it_runs_hears_of_it(make_system: MakeSystem, by: str) -> None:
    system = make_system(simulated())
    system.serve()
    system.worker(env=results_of(system))
    app = system.celery()
    [task] = send(app, 1, num_inference_steps=900)
    until("it runs", lambda: system.redis().hget(f"imagemill:job:{task.id}", "stage") == "generate")
    match by:
        case "revoke":
            app.control.revoke(task.id)
        case "terminate":
            app.control.broadcast("terminate", arguments={"signal": "SIGTERM", "task_id": task.id})
        case "http":
            system.http("DELETE", f"/v1/jobs/{task.id}")
        case _:
            system.cli("cancel", task.id)
    with pytest.raises(TaskRevokedError, match="canceled"):
        task.get(timeout=PATIENCE_S)
    assert system.end_of(task.id)["status"] == "canceled"


def test_the_sender_of_a_job_whose_deadline_passes_while_it_runs_hears_of_it(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    system.worker(env=results_of(system))
    [task] = send(system.celery(), 1, num_inference_steps=900, deadline=2)
    with pytest.raises(TaskRevokedError, match="expired"):
        task.get(timeout=PATIENCE_S)
    assert system.end_of(task.id)["status"] == "expired"


def test_a_job_that_came_through_the_queue_of_another_model_has_a_result(make_system: MakeSystem) -> None:
    system = make_system(simulated("one") + simulated("two"))
    system.serve()
    system.worker("--model", "one", env=results_of(system))
    system.worker("--model", "two", env=results_of(system))
    [task] = send(system.celery(), 1, queue="gpu.one", model="two")
    assert_each_ran_once(system, [task])


def test_a_message_that_comes_again_after_its_end_changes_no_result(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    worker = system.worker(env=results_of(system))
    app = system.celery()
    fields: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 900, "deadline": 1}
    [good], [wrong] = send(app, 1), send(app, 1, num_inference_steps=0)
    late = app.send_task("imagemill.generate", kwargs=fields, queue="gpu.sim")
    before = [good.get(timeout=PATIENCE_S), *(each.get(timeout=PATIENCE_S, propagate=False) for each in (wrong, late))]
    again: list[tuple[Any, dict[str, Any]]] = [
        (good, {"prompt": PROMPT}),
        (wrong, {"prompt": PROMPT, "num_inference_steps": 0}),
        (late, fields),
    ]
    for task, kwargs in again:
        app.send_task("imagemill.generate", kwargs=kwargs, queue="gpu.sim", task_id=task.id)
    until("all were taken again", lambda: standing(system.redis()) == 0)
    worker.stop()
    states = [app.AsyncResult(task.id) for task in (good, wrong, late)]
    assert [each.state for each in states] == ["SUCCESS", "FAILURE", "REVOKED"]
    assert [str(each.result) for each in states] == [str(each) for each in before]
