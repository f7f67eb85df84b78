"""A fleet goes from one version to the other under load, process by process; forward is an upgrade, back a rollback."""

from __future__ import annotations

import pytest

from jobs.table.states import Status
from tests.faults.harness.waiting import until
from tests.versions.checkouts import Version
from tests.versions.deployment import Deployment
from tests.versions.sending import UNHEARD
from tests.versions.states import IDLE_QUEUE, LINES, ORDER, ORDER_KEY, States
from tests.versions.views import ask, compare_by_cli, compare_by_http, compare_lists

JOBS, ENOUGH = 4, 300  # of each producer at a time; of all before they stop


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param("previous", "present", id="upgrade"), pytest.param("present", "previous", id="rollback")],
)
def test_fleet_changes_over_under_load_and_loses_nothing(
    deployment: Deployment, versions: dict[str, Version], before: str, after: str
) -> None:
    old, new = versions[before], versions[after]
    states = States(deployment, old)

    two = [deployment.worker(old, {"IMAGEMILL_MAX_ATTEMPTS": "1"}) for _ in range(2)]
    deployment.ready(*two)
    first = states.die(*two)
    second, old_api, new_api = deployment.worker(old), deployment.serve(old), deployment.serve(new)
    deployment.ready(second, old_api, new_api)
    states.leave(old_api)

    load = [deployment.sender(each, door, jobs=JOBS) for each in (old, new) for door in ("client", "http")]
    joined = deployment.worker(new)
    deployment.ready(joined, *load)
    compare_by_http(deployment, states.paths)

    # Drain one of the old, kill the new one beside the other, and then the last old one beside another new one.
    # A worker of the previous version takes along what it was to tell.
    outside = deployment.sender(new, UNHEARD if old.name == "previous" else "celery", rounds=1, jobs=5 * JOBS)
    until("all of it is sent", lambda: len(outside.submitted) == 5 * JOBS)
    deployment.drain(first)
    outside.finish()
    deployment.end_of(
        outside
    )  # What the previous version's kombu has in hand when it is killed comes back an hour later.
    lost = deployment.kill(joined)
    deployment.take_over(lost, second)
    last = deployment.worker(new)
    deployment.ready(last)
    lost_too = deployment.kill(second)
    deployment.take_over(lost_too, last)

    outside = deployment.sender(old, "celery", rounds=2, jobs=JOBS)
    until("that was a load", lambda: sum(len(each.submitted) for each in deployment.senders) >= ENOUGH, 180)
    assert deployment.system.cli("queue", "resume", IDLE_QUEUE, checkout=new.checkout).returncode == 0
    for sender in load:
        sender.finish(early=True)
    outside.finish()
    deployment.system.finish(states.jobs)

    states.check()
    ended = deployment.audit(states.jobs, [*lost, *lost_too])
    compare_by_http(deployment, states.paths)
    assert compare_lists(deployment) == ended.total()
    compare_by_cli(deployment, (old, new), ("status", states.ids["ordered"]), ("dead", "list"))
    check_what_was_kept(deployment, states, new)


def check_what_was_kept(deployment: Deployment, states: States, new: Version) -> None:
    """Batches, idempotency keys and the dead of the version before are those of the version after."""
    batch = ask(deployment.apis[new.name], f"/v1/batches/{states.batch_id}").body
    assert (batch["status"], batch["counts"]["succeeded"]) == ("ended", LINES), batch
    again = deployment.apis[new.name].http("POST", "/v1/jobs", ORDER, headers=ORDER_KEY)
    assert again.body["id"] == states.ids["ordered"], "the idempotency key has lost its job"
    assert deployment.system.cli("dead", "replay", states.ids["dead"], checkout=new.checkout).returncode == 0
    replayed = deployment.system.client.wait(states.ids["dead"], 120)
    assert replayed.status is Status.SUCCEEDED, replayed.error
