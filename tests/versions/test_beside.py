"""Workers of one version, and producers of the other, which use every door."""

from __future__ import annotations

import pytest

from tests.versions.checkouts import Version
from tests.versions.deployment import Deployment
from tests.versions.views import compare_by_cli, compare_lists

ROUNDS, JOBS = 3, 20


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("workers", "producers"), [("previous", "present"), ("present", "previous")])
def test_jobs_of_one_version_run_on_workers_of_the_other(
    deployment: Deployment, versions: dict[str, Version], workers: str, producers: str
) -> None:
    running = [deployment.worker(versions[workers]) for _ in range(2)]
    apis = [deployment.serve(versions[each]) for each in (workers, producers)]
    deployment.ready(*running, *apis)
    senders = [
        deployment.sender(versions[producers], door, rounds=ROUNDS, jobs=JOBS)
        for door in ("client", "client", "http", "celery")
    ]
    for sender in senders:
        sender.finish()
    ended = deployment.audit(())
    assert ended == {"succeeded": ROUNDS * JOBS * len(senders)}
    ids = [job_id for sender in senders for job_id in sender.submitted]
    assert compare_lists(deployment) == len(ids)
    compare_by_cli(deployment, versions.values(), ("status", ids[-1]))
