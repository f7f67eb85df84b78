"""The spool: whole or not at all, bounded, found again by the next process, and clear about a disk that is full."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from jobs.kinds.generate import spec_of
from jobs.table.claim import Claim
from jobs.table.record import JobRecord
from jobs.table.states import Status
from tests.forks import Fork
from workers.attempt import spool as spool_module
from workers.attempt.errors import Draining, JobLeft
from workers.attempt.memory import MemoryBudget
from workers.attempt.spool import Spool, Spooled, SpoolFull, Unreadable, own_folder
from workers.runners.files import MadeFile

TIMINGS = {"generate": 1.5}


def image(size: int = 1_000, thumbnail: bytes | None = None, seed: int = 7) -> MadeFile:
    return MadeFile(
        body=os.urandom(size),
        extension="png",
        content_type="image/png",
        meta={"width": 8, "height": 8, "seed": seed},
        thumbnail=thumbnail,
    )


@contextmanager
def keep(spool: Spool, claim: Claim, files: Iterable[MadeFile], timings: dict[str, float]) -> Iterator[Spooled]:
    """As an attempt does while the store is away: what is not dropped is found at the next start."""
    spooled = spool.write(claim, files, timings, "made by")
    yield spooled
    spool.drop(spooled)


@pytest.fixture
def claim(catalogue: Catalogue) -> Claim:
    spec = spec_of({"prompt": "a red circle"}, catalogue)
    record = JobRecord(id="a-job", status=Status.PROCESSING, queue="gpu.shapes", caller="default", created_at=1.0)
    return Claim(job_id="a-job", token="a-token", epoch=3, record=record, spec=spec)


def test_kept_files_are_gone_when_they_are_stored(tmp_path: Path, claim: Claim) -> None:
    spool = Spool(tmp_path, 10_000)
    with keep(spool, claim, [image()], TIMINGS):
        assert [folder.name for folder in tmp_path.iterdir()] == ["a-job.a-token"]
    assert list(tmp_path.iterdir()) == []


def test_what_needs_no_file_is_kept_with_those_that_do_or_without_any(tmp_path: Path, claim: Claim) -> None:
    for files in ([image()], []):
        spool = Spool(tmp_path, 10_000)
        spool.write(claim, files, TIMINGS, data={"words": 3}, warnings=("it is long",))
        (found,) = Spool(tmp_path, 10_000).left_over()
        assert (found.data, list(found.made(MemoryBudget(1 << 20)))) == ({"words": 3}, files)
        assert found.warnings == ["it is long"]
        spool.drop(found)


def test_next_process_finds_everything_again(tmp_path: Path, claim: Claim) -> None:
    files = [image(thumbnail=b"small"), image(seed=8)]
    spool = Spool(tmp_path, 10_000)
    with keep(spool, claim, files, TIMINGS):
        (found,) = Spool(tmp_path, 10_000).left_over()
        assert list(found.made(MemoryBudget(1 << 20))) == files
    assert (found.job_id, found.token, found.epoch, found.timings) == ("a-job", "a-token", 3, TIMINGS)


def test_what_a_newer_version_notes_beside_it_does_no_harm(tmp_path: Path, claim: Claim) -> None:
    with keep(Spool(tmp_path, 10_000), claim, [image()], TIMINGS):
        note = tmp_path / "a-job.a-token" / "attempt.json"
        note.write_text(json.dumps(json.loads(note.read_text()) | {"artifacts": []}))
        (found,) = Spool(tmp_path, 10_000).left_over()
        assert len(list(found.made(MemoryBudget(1 << 20)))) == 1


def test_note_of_an_older_version_is_read(tmp_path: Path, claim: Claim) -> None:
    with keep(Spool(tmp_path, 10_000), claim, [image()], TIMINGS):
        note = tmp_path / "a-job.a-token" / "attempt.json"
        before = {name: value for name, value in json.loads(note.read_text()).items() if name != "model"}
        before["files"] = [{"extension": "png", "content_type": "image/png", "width": 8, "height": 8, "seed": 7}]
        note.write_text(json.dumps(before))
        (found,) = Spool(tmp_path, 10_000).left_over()
        assert (found.model, [each.meta for each in found.made(MemoryBudget(1 << 20))]) == (
            "",
            [{"width": 8, "height": 8, "seed": 7}],
        )


def test_files_stay_when_the_worker_stops_and_count_for_the_next(tmp_path: Path, claim: Claim) -> None:
    with pytest.raises(Draining), keep(Spool(tmp_path, 2_500), claim, [image(2_000)], TIMINGS):
        raise Draining("the worker stops")
    after = Spool(tmp_path, 2_500)
    assert (after.load.jobs, after.load.used_bytes) == (1, 2_000)
    other = replace(claim, job_id="another")
    with pytest.raises(SpoolFull), keep(after, other, [image(501)], TIMINGS):
        pass
    (found,) = after.left_over()
    after.drop(found)
    assert (after.load.jobs, after.load.used_bytes) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read_any_more_say_so(tmp_path: Path, claim: Claim) -> None:
    spooled = Spool(tmp_path, 10_000).write(claim, [image(), image()], TIMINGS)
    (tmp_path / "a-job.a-token" / "1.body").unlink()
    files = spooled.made(MemoryBudget(1 << 20))
    next(files)
    with pytest.raises(Unreadable, match=r"a-job\.a-token: No such file"):
        next(files)


def test_a_job_that_leaves_while_its_files_are_made_leaves_nothing_behind(tmp_path: Path, claim: Claim) -> None:
    def files() -> Iterator[MadeFile]:
        yield image()
        raise JobLeft(Status.CANCELED)

    spool = Spool(tmp_path, 10_000)
    with pytest.raises(JobLeft), keep(spool, claim, files(), TIMINGS):
        pass
    assert (list(tmp_path.iterdir()), spool.load.used_bytes) == ([], 0)


def test_spool_that_was_never_used_holds_nothing(tmp_path: Path) -> None:
    assert list(Spool(tmp_path / "none", 10_000).left_over()) == []


@pytest.mark.parametrize("damage", ["attempt.json", "0.body"])
def test_folder_that_is_not_whole_is_deleted(tmp_path: Path, claim: Claim, damage: str) -> None:
    spool = Spool(tmp_path, 10_000)
    with keep(spool, claim, [image()], TIMINGS):
        (tmp_path / "a-job.a-token" / damage).unlink()
        assert list(spool.left_over()) == []
        assert list(tmp_path.iterdir()) == []


def test_folder_that_was_cut_off_while_it_was_written_is_deleted(tmp_path: Path) -> None:
    (tmp_path / ".a-job.a-token").mkdir()
    (tmp_path / ".a-job.a-token" / "0.body").write_bytes(b"half")
    assert list(Spool(tmp_path, 10_000).left_over()) == []
    assert list(tmp_path.iterdir()) == []


def test_note_of_another_shape_is_deleted(tmp_path: Path, claim: Claim) -> None:
    spool = Spool(tmp_path, 10_000)
    with keep(spool, claim, [image()], TIMINGS):
        (tmp_path / "a-job.a-token" / "attempt.json").write_text("[1, 2]")
        assert list(spool.left_over()) == []


def test_bound_is_kept_and_named_by_its_setting(tmp_path: Path, claim: Claim) -> None:
    spool = Spool(tmp_path, 2_500)
    with keep(spool, claim, [image(2_000)], TIMINGS):
        with pytest.raises(SpoolFull, match="IMAGEMILL_WORKER_SPOOL_MIB"), keep(spool, claim, [image(501)], TIMINGS):
            pass
        assert [folder.name for folder in tmp_path.iterdir()] == ["a-job.a-token"]
    with keep(spool, claim, [image(2_500)], TIMINGS):
        pass


def test_thumbnails_count(tmp_path: Path, claim: Claim) -> None:
    files = [image(1_000, thumbnail=b"0" * 501)]
    with pytest.raises(SpoolFull), keep(Spool(tmp_path, 1_500), claim, files, TIMINGS):
        pass


def test_disk_that_is_full_is_a_sentence_and_leaves_nothing_behind(
    tmp_path: Path, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_to_full_disk(path: Path, _content: bytes) -> None:
        path.touch()
        Path("/dev/full").write_bytes(b"0")

    spool = Spool(tmp_path, 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(spool_module, "_write_file", write_to_full_disk)
        no_room = pytest.raises(SpoolFull, match=f"{tmp_path}: {os.strerror(errno.ENOSPC)}")
        with no_room, keep(spool, claim, [image()], TIMINGS):
            pass
    assert list(tmp_path.iterdir()) == []
    with keep(spool, claim, [image()], TIMINGS):  # Its room was given back.
        pass


def test_two_workers_of_a_machine_have_a_spool_each_and_a_restart_finds_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks: list[FileLock] = []
    monkeypatch.setattr(spool_module, "_LOCKS", locks)
    first = own_folder(tmp_path)

    def another_process() -> Path:
        return Fork(lambda: own_folder(tmp_path)).result()

    assert (first.parent.name, another_process().parent.name) == ("0", "1")
    assert another_process().parent.name == "1"
    locks[0].release()
    assert another_process().parent.name == "0"


def test_spool_that_cannot_be_made_is_named_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidConfiguration, match="IMAGEMILL_WORKER_SPOOL_DIR"):
        own_folder(tmp_path / "file")


def test_files_of_a_job_that_was_not_to_be_had_are_there_for_whoever_claims_it(tmp_path: Path, claim: Claim) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.leave(spool.write(claim, [image()], TIMINGS, "model 1"))
    assert spool.take_left("another", "model 1") is None
    found = spool.take_left("a-job", "model 1")
    assert found is not None
    assert len(list(found.made(MemoryBudget(1 << 20)))) == 1
    assert spool.take_left("a-job", "model 1") is None, "they are taken once"


def test_files_of_another_model_are_not_used(tmp_path: Path, claim: Claim) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.leave(spool.write(claim, [image()], TIMINGS, "model 1"))
    assert spool.take_left("a-job", "model 2") is None
    assert (list(tmp_path.iterdir()), spool.load.used_bytes, spool.load.jobs) == ([], 0, 0)
