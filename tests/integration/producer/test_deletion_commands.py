"""The operator deletes results by command; what is told of them by the command line and in Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs import names
from jobs.errors import JobNotEnded, Permanent, ResultDeleted
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer import Client, Job
from storage.backends.s3.store import S3Store
from storage.keys import AttemptFolder
from tests.claims import claim_job
from tests.integration.producer.commands import Run


@pytest.fixture
def make(client: Client, table: JobTable, store: S3Store) -> Callable[..., Job]:
    """A job that has ended, with a picture in the store."""

    def made(**fields: Any) -> Job:
        job = client.submit("a red circle", **fields)
        claim = claim_job(table, job.id)
        folder = AttemptFolder(
            prefix=store.settings.prefix,
            job_id=job.id,
            created_at=claim.record.created_at,
            epoch=claim.epoch,
            token=claim.token,
        )
        store.put(folder.image(0, "png"), b"content", "image/png")
        picture = {"content_type": "image/png", "width": 8, "height": 8, "bytes": 7, "sha256": "00", "seed": 7}
        table.finish(claim, Status.SUCCEEDED, artifacts=[{"key": folder.image(0, "png"), **picture}])
        return job

    return made


def objects(store: S3Store, job: Job) -> list[str]:
    return [each.key for each in store.objects() if job.id in each.key]


def results(*jobs: Job) -> list[str | None]:
    return [job.status().result for job in jobs]


def test_results_of_some_jobs_are_deleted_with_their_objects(
    run: Run, make: Callable[..., Job], store: S3Store
) -> None:
    one, two, other = make(), make(), make()
    assert run("jobs", "delete", one.id, typed="n\n").exit_code == 1
    assert results(one) == [None]
    done = run("jobs", "delete", one.id, two.id, "--yes")
    assert (done.exit_code, done.stdout.strip()) == (0, "the results of 2 jobs are deleted")
    assert results(one, two, other) == ["deleting", "deleting", None]
    assert [bool(objects(store, job)) for job in (one, two, other)] == [False, False, True]


def test_results_of_a_caller_before_a_day_are_deleted(
    run: Run, make: Callable[..., Job], redis_client: redis.Redis
) -> None:
    old, new, other = make(caller="one"), make(caller="one"), make(caller="two")
    redis_client.hset(names.job_key(old.id), "ended_at", "1793577599.5")  # 2026-11-01T23:59:59.5Z
    delete = ("jobs", "delete", "--caller", "one", "--yes", "--json")
    assert json.loads(run(*delete, "--before", "2026-11-02T00:59+01:00").stdout) == {"deleted": []}
    assert json.loads(run(*delete, "--before", "2026-11-02").stdout) == {"deleted": [old.id]}
    assert json.loads(run(*delete).stdout) == {"deleted": [new.id]}
    assert results(old, new, other) == ["deleting", "deleting", None]


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ((), "job"),
        (("a", "--caller", "one"), "job"),
        (("a", "--before", "2026-11-02"), "before"),
        (("--caller", "one", "--before", "yesterday"), "before"),
    ],
)
def test_wrong_use_is_explained(run: Run, args: tuple[str, ...], field: str) -> None:
    done = run("jobs", "delete", *args, "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)["error"]["field"]) == (2, field)


def test_job_that_goes_on_and_one_that_is_not_there_are_said(run: Run, client: Client) -> None:
    job = client.submit("a red circle")
    refused = run("jobs", "delete", job.id, "--yes")
    assert (refused.exit_code, "cancel it first" in refused.stderr) == (2, True)
    assert run("jobs", "delete", "none", "--yes").exit_code == 5
    with pytest.raises(JobNotEnded):
        job.delete_result()


def test_deleted_result_is_told_in_a_sentence(run: Run, make: Callable[..., Job], tmp_path: Path) -> None:
    job = make()
    assert job.delete_result().result == "deleting"
    status = run("status", job.id)
    assert (status.exit_code, status.stdout.strip()) == (0, f"succeeded {job.id}: its result is being deleted")
    shown = json.loads(run("status", job.id, "--json").stdout)
    assert (shown["status"], shown["result"], shown["images"], "parameters" in shown) == (
        *("succeeded", "deleting"),
        [],
        False,
    )
    saved = run("wait", job.id, "--out", str(tmp_path / "out.png"))
    assert (saved.exit_code, saved.stderr.strip()) == (1, f"imagemill: the result of job {job.id} was deleted")
    assert json.loads(run("wait", job.id, "--out", str(tmp_path / "o.png"), "--json").stdout)["error"]["code"] == "gone"


def test_links_are_shown_where_nothing_is_saved(run: Run, make: Callable[..., Job], tmp_path: Path) -> None:
    job, file = make(), tmp_path / "out.png"
    link = f"  link   {job.images()[0].url()[:20]}"
    assert link in run("status", job.id).stdout
    saved = run("wait", job.id, "--out", str(file)).stdout
    assert f"  saved  {file}" in saved
    assert link not in saved


def test_python_has_an_error_of_its_own(make: Callable[..., Job], client: Client) -> None:
    job = make()
    assert len(job.images()) == 1
    assert client.delete_result(job.id).deleted_images == 1
    for ask in (job.images, job.artifacts, lambda: client.images(job.status())):
        with pytest.raises(ResultDeleted, match=f"the result of job {job.id} was deleted") as caught:
            ask()
        assert isinstance(caught.value, Permanent)
    assert job.wait().status is Status.SUCCEEDED
    assert [event.type for event in job.events()] == ["completed"]
