"""
Keeps finished images on disk while the store is away: a picture that was paid for is not thrown away.

A folder for each attempt, `{job}.{token}/`, written whole or not at all. What a worker finds when it starts is stored
if the attempt still owns its job or nobody does, and deleted if another attempt does.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import structlog
from filelock import FileLock, Timeout

from jobs.errors import InvalidConfiguration
from jobs.table.claim import Claim
from storage.errors import StorageUnavailable
from workers.attempt.memory import MemoryBudget
from workers.engine.errors import RunEnded
from workers.runners.files import MadeFile

log = structlog.get_logger()

_NOTE = "attempt.json"
_BODY, _THUMBNAIL = "body", "thumbnail"
_LOCKS: list[FileLock] = []  # held as long as the process lives


class SpoolFull(StorageUnavailable):
    """The store is away, and there is no room to wait for it."""


class Unreadable(RunEnded):
    """What waits for the store cannot be read from disk any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """
    What one folder of the spool holds.

    Attributes:
        model: What made the images, as `Context.made_by` has it; empty where an earlier version did not note it.
        files: Of each image, what `MadeFile` has beside its bytes, which are read when they are needed.
        data: What was made that needs no file.
        warnings: What its record says though it went well.
    """

    job_id: str
    token: str
    epoch: int
    timings: dict[str, float]
    files: list[dict[str, Any]]
    folder: Path
    model: str = ""
    data: dict[str, Any] | None = None
    warnings: Sequence[str] = ()

    def made(self, memory: MemoryBudget, reason: Callable[[], Exception | None] = lambda: None) -> Generator[MadeFile]:
        """
        The files in their order, one in memory at a time, where it counts until the next is asked for.

        Args:
            reason: Why not to go on; asked before each.

        Raises:
            Unreadable
            Exception: What `reason` returned.
        """
        for index in range(len(self.files)):
            with memory.take(self._size_of(index), reason=reason):
                yield self._read(index)

    def _size_of(self, index: int) -> int:
        found = (self.folder / f"{index}.{name}" for name in (_BODY, _THUMBNAIL))
        return sum(each.stat().st_size for each in found if each.exists())

    def _read(self, index: int) -> MadeFile:
        try:
            return _read_image(self.folder, index, self.files[index])
        except OSError as exc:
            raise Unreadable(f"{self.folder}: {exc.strerror}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLoad:
    """How full a spool is."""

    jobs: int
    used_bytes: int
    max_bytes: int


def own_folder(root: Path) -> Path:
    """
    A folder in `root` that no other live process has: the first of 0, 1, 2, …, so that a restart finds its own again.

    The lock on it ends with the process, however that ends.
    """
    for number in count():
        folder = root / str(number)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock", fallback_to_soft=False)
            lock.acquire(blocking=False)
        except Timeout:
            continue
        except OSError as exc:
            raise InvalidConfiguration(f"IMAGEMILL_WORKER_SPOOL_DIR: cannot use {root}: {exc.strerror}") from exc
        _LOCKS.append(lock)
        return folder / "images"
    raise AssertionError("unreachable")


class Spool:
    """
    A bounded folder. Safe to use from many threads; a worker process has one of its own.

    Args:
        folder: Made when it is first needed. What is in it counts.
        max_bytes: Of all images in it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._left: dict[str, Spooled] = {}
        found = [_size_of(each) for each in folder.iterdir()] if folder.is_dir() else []
        self._used_bytes = sum(found)
        self._jobs = len(found)

    @property
    def load(self) -> SpoolLoad:
        """What waits in it now."""
        with self._lock:
            return SpoolLoad(jobs=self._jobs, used_bytes=self._used_bytes, max_bytes=self._max_bytes)

    def write(
        self,
        claim: Claim,
        files: Iterable[MadeFile],
        timings: dict[str, float],
        model: str = "",
        data: dict[str, Any] | None = None,
        warnings: Sequence[str] = (),
    ) -> Spooled:
        """
        Write an attempt's files, whole or not at all; they stay until `drop`, or the next start.

        Args:
            files: Taken one by one.
            timings: As they are when the last file is there.
            model: What made them.
            data: What was made beside them.
            warnings: What the job's record says though it went well.

        Raises:
            SpoolFull: The bound is reached, or the disk is full.
        """
        note = {"job_id": claim.job_id, "token": claim.token, "epoch": claim.epoch, "model": model, "data": data}
        note |= {"warnings": list(warnings), "timings": timings}
        spooled = self._write(self._folder / f"{claim.job_id}.{claim.token}", files, note)
        with self._lock:
            self._jobs += 1
        return spooled

    def leave(self, spooled: Spooled) -> None:
        """Keep files of a job that is not to be had now; should its message come here, `take_left` has them."""
        with self._lock:
            self._left[spooled.job_id] = spooled

    def take_left(self, job_id: str, model: str) -> Spooled | None:
        """The files that were left of a job, for the attempt that has claimed it now, if they are of this model."""
        with self._lock:
            spooled = self._left.pop(job_id, None)
        if spooled is None or spooled.model in ("", model):
            return spooled
        self.drop(spooled)
        return None

    def left(self) -> list[Spooled]:
        """The files that were left."""
        with self._lock:
            return list(self._left.values())

    def drop_left(self, spooled: Spooled) -> None:
        """Delete files that were left, unless an attempt has them by now."""
        with self._lock:
            is_here = self._left.get(spooled.job_id) is spooled
            if is_here:
                del self._left[spooled.job_id]
        if is_here:
            self.drop(spooled)

    def left_over(self) -> Iterator[Spooled]:
        """What an earlier process of this worker left; what is no whole folder is deleted."""
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            try:
                yield _read(folder)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                log.warning("spool: deleting what is incomplete", folder=str(folder))
                self._delete(folder)

    def drop(self, spooled: Spooled) -> None:
        """Delete what is stored, or not wanted any more."""
        self._delete(spooled.folder)

    def _delete(self, folder: Path) -> None:
        size = _size_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._used_bytes -= size
            self._jobs -= 1

    def _write(self, folder: Path, files: Iterable[MadeFile], note: dict[str, Any]) -> Spooled:
        partial = folder.with_name(f".{folder.name}")
        plain: list[dict[str, Any]] = []
        reserved = 0
        try:
            partial.mkdir(parents=True, exist_ok=True)
            for index, file in enumerate(files):
                size = len(file.body) + len(file.thumbnail or b"")
                self._reserve(size)
                reserved += size
                _write_image(partial, index, file)
                plain.append({k: v for k, v in asdict(file).items() if k not in (_BODY, _THUMBNAIL)})
            _write_file(partial / _NOTE, json.dumps({**note, "files": plain}).encode())
            partial.rename(folder)
        except BaseException as exc:
            shutil.rmtree(partial, ignore_errors=True)
            self._reserve(-reserved)
            if isinstance(exc, OSError):
                raise SpoolFull(
                    f"the store is away, and the image cannot be kept in {self._folder}: {exc.strerror}"
                ) from exc
            raise
        return Spooled(**note, files=plain, folder=folder)

    def _reserve(self, size: int) -> None:
        with self._lock:
            if size > 0 and self._used_bytes + size > self._max_bytes:
                raise SpoolFull(
                    f"the store is away, and the spool in {self._folder} is full ({self._used_bytes >> 20} of "
                    f"{self._max_bytes >> 20} MiB); IMAGEMILL_WORKER_SPOOL_MIB makes it larger"
                )
            self._used_bytes += size


def _size_of(folder: Path) -> int:
    """Of the images in a folder, in bytes; the note does not count."""
    files = [*folder.glob(f"*.{_BODY}"), *folder.glob(f"*.{_THUMBNAIL}")]
    return sum(file.stat().st_size for file in files)


def _write_image(folder: Path, index: int, file: MadeFile) -> None:
    _write_file(folder / f"{index}.{_BODY}", file.body)
    if file.thumbnail is not None:
        _write_file(folder / f"{index}.{_THUMBNAIL}", file.thumbnail)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path) -> Spooled:
    note = json.loads((folder / _NOTE).read_bytes())
    for index in range(len(note["files"])):
        (folder / f"{index}.{_BODY}").stat()
    known = {field.name for field in fields(Spooled)}  # Of a newer version there may be more.
    return Spooled(**{name: value for name, value in note.items() if name in known}, folder=folder)


def _read_image(folder: Path, index: int, plain: dict[str, Any]) -> MadeFile:
    thumbnail = folder / f"{index}.{_THUMBNAIL}"
    known = {field.name for field in fields(MadeFile)}
    # Version 0.1.0 knew no `meta`: what it said of a picture stands beside the rest.
    meta = plain.get("meta", {name: value for name, value in plain.items() if name not in known})
    return MadeFile(
        **{name: value for name, value in plain.items() if name in known and name != "meta"},
        meta=meta,
        body=(folder / f"{index}.{_BODY}").read_bytes(),
        thumbnail=thumbnail.read_bytes() if thumbnail.exists() else None,
    )
