"""What may be deleted as an orphan, and above all what may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobs.table.record import Artifact, JobRecord
from jobs.table.states import Status
from ops.orphans import Folder, is_orphan

JOB = "2026/11/24/a-job"
PLAIN: dict[str, Any] = {"content_type": "image/png", "bytes": 1, "sha256": "", "width": 1, "height": 1, "seed": 0}
THIS, OTHER = f"{JOB}/1-aaaa", f"{JOB}/2-bbbb"


def folder(*, is_complete: bool) -> Folder:
    return Folder(path=THIS, job_id="a-job", is_complete=is_complete)


def record(status: Status, *keys: str, thumbnails: bool = False) -> JobRecord:
    artifacts = tuple(
        Artifact(key=OTHER + "/0.png" if thumbnails else key, thumbnail_key=key if thumbnails else None, **PLAIN)
        for key in keys
    )
    return JobRecord(id="a-job", status=status, queue="gpu.x", caller="ada", created_at=0, artifacts=artifacts)


def test_table_of_what_is_deleted() -> None:
    published, lost = record(Status.SUCCEEDED, f"{THIS}/0.png"), record(Status.SUCCEEDED, f"{OTHER}/0.png")
    cases = {
        "published": (published, True, True, False),
        "published, by its thumbnail": (
            record(Status.SUCCEEDED, f"{THIS}/0.thumb.webp", thumbnails=True),
            True,
            True,
            False,
        ),
        "another attempt was published": (lost, True, True, True),
        "another attempt was published, this one died": (lost, True, False, True),
        "its folder's name begins like the published one's": (
            record(Status.SUCCEEDED, f"{THIS}aa/0.png"),
            True,
            True,
            True,
        ),
        "the job waits for another attempt": (record(Status.QUEUED), True, False, False),
        "the job is stored right now": (record(Status.PROCESSING), True, False, False),
        "the job is about to publish it": (record(Status.PROCESSING), True, True, False),
        "the job failed": (record(Status.FAILED), True, True, True),
        "the job was canceled": (record(Status.CANCELED), True, False, True),
        "the record is gone, the attempt was whole": (None, False, True, False),
        "the record is gone, the attempt was not whole": (None, False, False, True),
        "the record is a newer version's": (None, True, False, False),
        "the record is a newer version's in part": (replace(lost, is_partial=True), True, True, False),
    }
    for name, (found, is_known, is_complete, deleted) in cases.items():
        assert is_orphan(folder(is_complete=is_complete), found, is_known=is_known) is deleted, name


@given(
    status=st.sampled_from(Status),
    keys=st.lists(st.sampled_from([f"{THIS}/0.png", f"{THIS}/1.png", f"{OTHER}/0.png"]), max_size=3),
    has_record=st.booleans(),
    is_known=st.booleans(),
    is_complete=st.booleans(),
)
def test_nothing_that_is_or_may_be_published_is_ever_an_orphan(
    status: Status, keys: list[str], has_record: bool, is_known: bool, is_complete: bool
) -> None:
    found = record(status, *keys) if has_record else None
    if not is_orphan(folder(is_complete=is_complete), found, is_known=is_known or has_record):
        return
    if found is None:
        assert not is_known
        assert not is_complete
    else:
        assert found.has_ended
        assert not any(key.startswith(f"{THIS}/") for key in keys)
