"""Ways in which jobs of plain Celery come to their ends: each sends, brings one about, and says which it is."""

from __future__ import annotations

import os
import signal

from kombu import Exchange, Queue

from tests.blackbox.outside import GENERATE, QUEUE, deliver, messages, standing
from tests.blackbox.stage import LONG, SOME, Stage, kill
from tests.blackbox.system import until


def runs(stage: Stage) -> str:
    stage.worker()
    stage.send()
    return "SUCCESS"


def paused_and_resumed(stage: Stage) -> str:
    stage.waits_in_a_paused_queue()
    stage.resume()
    return "SUCCESS"


def worker_killed(stage: Stage) -> str:
    worker = stage.worker()
    stage.send(SOME)
    stage.running()
    kill(worker)
    stage.worker()
    return "SUCCESS"


def worker_drained(stage: Stage) -> str:
    worker = stage.worker(WORKER_GRACE_S="1")
    stage.send(SOME)
    stage.running()
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    stage.worker()
    return "SUCCESS"


def last_worker_drained_for_good(stage: Stage) -> str:
    worker = stage.worker()
    stage.send(SOME)
    stage.running()
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    return "SUCCESS"


def adopted_by_one_worker_and_run_by_another(stage: Stage) -> str:
    stage.worker()
    stage.worker("idle")
    stage.send({"model": "sim"}, queue="gpu.idle")
    return "SUCCESS"


def adopted_by_a_worker_that_is_killed(stage: Stage) -> str:
    worker = stage.worker()
    stage.pause()
    stage.send()
    stage.adopted()
    kill(worker)
    stage.worker()
    stage.resume()
    return "SUCCESS"


def delivered_twice(stage: Stage) -> str:
    stage.send()
    deliver(stage.client, messages(stage.client))
    stage.worker()
    return "SUCCESS"


def delivered_again_after_the_end(stage: Stage) -> str:
    stage.send()
    copies = messages(stage.client)
    stage.worker()
    stage.ended()
    deliver(stage.client, copies)
    until("all were taken again", lambda: standing(stage.client) == 0)
    return "SUCCESS"


def routed_by_an_exchange_of_the_sender_s(stage: Stage) -> str:
    stage.app.conf.task_queues = [Queue(QUEUE, Exchange("media"), routing_key="picture")]
    stage.app.conf.task_routes = {GENERATE: {"queue": QUEUE}}
    stage.send(queue=None)
    stage.worker()
    return "SUCCESS"


def sent_with_the_last_priority(stage: Stage) -> str:
    stage.worker()
    stage.send(priority=9)
    return "SUCCESS"


def sent_compressed(stage: Stage) -> str:
    stage.worker()
    stage.send(compression="zlib")
    return "SUCCESS"


def revoked_before_a_worker_has_seen_it(stage: Stage) -> str:
    stage.worker("idle")
    stage.send()
    stage.revoke()
    stage.worker()
    return "REVOKED"


def revoked_while_it_waits(stage: Stage) -> str:
    stage.waits_in_a_paused_queue()
    stage.revoke()
    return "REVOKED"


def revoked_while_it_waits_for_its_time(stage: Stage) -> str:
    stage.worker()
    stage.send(countdown=20)
    stage.adopted()
    stage.revoke()
    return "REVOKED"


def revoked_while_it_runs(stage: Stage) -> str:
    stage.runs_for_long()
    stage.revoke()
    return "REVOKED"


def canceled_over_http_while_it_waits(stage: Stage) -> str:
    stage.serve()
    stage.waits_in_a_paused_queue()
    return delete(stage)


def canceled_over_http_while_it_runs(stage: Stage) -> str:
    stage.serve()
    stage.runs_for_long()
    return delete(stage)


def delete(stage: Stage) -> str:
    for job_id in stage.fan.ids:
        assert stage.system.http("DELETE", f"/v1/jobs/{job_id}").status == 200
    return "REVOKED"


def canceled_by_command_while_it_waits(stage: Stage) -> str:
    stage.waits_in_a_paused_queue()
    for job_id in stage.fan.ids:
        stage.cli("cancel", job_id)
    return "REVOKED"


def canceled_by_command_while_it_runs(stage: Stage) -> str:
    stage.runs_for_long()
    stage.cli("cancel", "--all", "--queue", QUEUE, "--yes")
    return "REVOKED"


def canceled_as_its_worker_dies(stage: Stage) -> str:
    stage.serve()
    worker = stage.runs_for_long()
    os.killpg(worker.pid or 0, signal.SIGSTOP)
    delete(stage)
    kill(worker)
    return "REVOKED"


def canceled_over_http_before_a_worker_has_seen_it(stage: Stage) -> str:
    stage.serve()
    stage.send()
    for job_id in stage.fan.ids:
        answer = stage.system.http("DELETE", f"/v1/jobs/{job_id}")
        assert answer.status == 404, answer
        assert "will not run" in answer.body["error"]["message"]
    stage.worker()
    return "REVOKED"


def canceled_by_command_before_a_worker_has_seen_it(stage: Stage) -> str:
    stage.send()
    for job_id in stage.fan.ids:
        done = stage.system.cli("cancel", job_id)
        assert (done.returncode, "will not run" in done.stderr) == (5, True), done
    stage.worker()
    return "REVOKED"


def purged(stage: Stage) -> str:
    stage.waits_in_a_paused_queue()
    stage.cli("queue", "purge", QUEUE, "--yes")
    return "REVOKED"


def purged_before_a_worker_has_seen_it(stage: Stage) -> str:
    stage.send()
    stage.cli("queue", "purge", QUEUE, "--yes")
    stage.worker()
    return "REVOKED"


def expired_while_it_waits(stage: Stage) -> str:
    stage.waits_in_a_paused_queue(expires=3)
    return "REVOKED"


def expired_before_a_worker_has_seen_it(stage: Stage) -> str:
    stage.send(expires=1)
    stage.worker()
    return "REVOKED"


def deadline_passed_while_it_waits(stage: Stage) -> str:
    stage.worker()
    stage.pause()
    stage.send({"deadline": 3})
    stage.adopted()
    return "REVOKED"


def deadline_passed_while_it_runs(stage: Stage) -> str:
    stage.worker()
    stage.send({**LONG, "deadline": 4})
    return "REVOKED"


def time_limit_passed(stage: Stage) -> str:
    stage.worker()
    stage.send(LONG, time_limit=2)
    return "REVOKED"


def lost_with_its_worker_every_time(stage: Stage) -> str:
    stage.serve()
    kill(stage.runs_for_long())
    return "FAILURE"


def refused(stage: Stage) -> str:
    stage.worker()
    stage.send({"num_inference_steps": 0})
    return "FAILURE"


def refused_and_sent_again(stage: Stage) -> str:
    stage.send({"num_inference_steps": 0})
    copies = messages(stage.client)
    stage.worker()
    stage.ended()
    deliver(stage.client, copies)
    until("all were taken again", lambda: standing(stage.client) == 0)
    return "FAILURE"


def sent_to_a_model_that_there_is_not(stage: Stage) -> str:
    stage.worker()
    stage.send({"model": "dream"})
    return "FAILURE"
