"""All objects of a job are deleted, and none of another: on a real store."""

from __future__ import annotations

import uuid

import pytest

from storage.backends.s3.store import S3Store
from storage.deletion import JobObjects
from storage.keys import AttemptFolder

CREATED_AT = 1_764_000_000.25


def put(store: S3Store, job_id: str, prefix: str | None = None, attempts: int = 2) -> list[str]:
    """What attempts of a job store: a picture, its thumbnail, and job.json."""
    keys = []
    for epoch in range(1, attempts + 1):
        where = store.settings.prefix if prefix is None else prefix
        folder = AttemptFolder(prefix=where, job_id=job_id, created_at=CREATED_AT, epoch=epoch, token="a1")
        keys += [folder.image(0, "png"), folder.thumbnail(0), folder.manifest()]
    for key in keys:
        store.put(key, b"content", "image/png")
    return keys


def stored(store: S3Store, *job_ids: str) -> list[str]:
    return [each.key for each in store.objects() if any(job_id in each.key for job_id in job_ids)]


@pytest.fixture
def job_id() -> str:
    return str(uuid.uuid4())


def test_objects_of_every_attempt_are_deleted_and_no_other_s(store: S3Store, job_id: str) -> None:
    longer, others = f"{job_id}-2", str(uuid.uuid4())
    put(store, job_id)
    kept = [*put(store, longer), *put(store, others)]
    objects = JobObjects(store)
    assert objects.delete(job_id, CREATED_AT) == 6
    assert objects.delete(job_id, CREATED_AT) == 0
    assert sorted(stored(store, job_id, others)) == sorted(kept)


def test_objects_under_a_prefix_of_former_times_are_deleted_too(store: S3Store, job_id: str) -> None:
    keys = put(store, job_id, prefix="former")
    assert JobObjects(store).delete(job_id, CREATED_AT, keys[:1]) == 6
    assert stored(store, job_id) == []


def test_key_that_does_not_say_whose_it_is_is_deleted_alone(store: S3Store, job_id: str) -> None:
    for key in (f"plain/{job_id}.png", f"plain/{job_id}.png2", f"plain/{job_id}.txt"):
        store.put(key, b"content", "image/png")
    assert JobObjects(store).delete(job_id, CREATED_AT, [f"plain/{job_id}.png"]) == 1
    assert stored(store, job_id) == [f"plain/{job_id}.png2", f"plain/{job_id}.txt"]


@pytest.mark.parametrize("name", ["2025", "11", "24"])
def test_job_that_is_called_as_a_day_takes_no_other_with_it(store: S3Store, job_id: str, name: str) -> None:
    """Plain Celery may call one anything."""
    kept, keys = put(store, job_id, "former/pictures"), put(store, name, "former/pictures")
    assert JobObjects(store).delete(name, CREATED_AT, keys) == 6
    assert stored(store, job_id) == sorted(kept)
