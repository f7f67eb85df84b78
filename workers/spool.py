"""
Keeps finished images on disk while the store is away: a picture that was paid for is not thrown away.

A folder for each attempt, `{job}.{token}/`, written whole or not at all. What a worker finds when it starts is stored
if the attempt still owns its job, and deleted if not.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from threading import Lock
from typing import IO, Any

import structlog

from jobs.claim import Claim
from jobs.errors import InvalidConfiguration
from storage.errors import StorageUnavailable
from workers.postprocess import ImageFile

log = structlog.get_logger()

_NOTE = "attempt.json"
_BODY, _THUMBNAIL = "body", "thumbnail"
_LOCKS: list[IO[str]] = []  # kept open as long as the process lives


class SpoolFull(StorageUnavailable):
    """The store is away, and there is no room to wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """What one folder of the spool holds."""

    job_id: str
    token: str
    epoch: int
    timings: dict[str, float]
    files: list[ImageFile]
    folder: Path


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
            lock = (folder / "lock").open("w")
        except OSError as exc:
            raise InvalidConfiguration(f"IMAGEMILL_WORKER_SPOOL_DIR: cannot use {root}: {exc.strerror}") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _LOCKS.append(lock)
        return folder / "images"
    raise AssertionError("unreachable")


class Spool:
    """
    A bounded folder. Safe to use from many threads; a worker process has one of its own.

    Args:
        folder: Made when it is first needed.
        max_bytes: Of all images in it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._used_bytes = 0
        self._jobs = 0

    @property
    def load(self) -> SpoolLoad:
        """What waits in it now."""
        with self._lock:
            return SpoolLoad(jobs=self._jobs, used_bytes=self._used_bytes, max_bytes=self._max_bytes)

    @contextmanager
    def keep(self, claim: Claim, files: list[ImageFile], timings: dict[str, float]) -> Iterator[None]:
        """
        Keep an attempt's files on disk until the end of the block, however it ends; a crash leaves them there.

        Raises:
            SpoolFull: The bound is reached, or the disk is full.
        """
        size = sum(len(file.body) + len(file.thumbnail or b"") for file in files)
        self._reserve(size)
        folder = self._folder / f"{claim.job_id}.{claim.token}"
        try:
            try:
                _write(folder, claim, files, timings)
            except OSError as exc:
                raise SpoolFull(f"S3 is away, and the image cannot be kept in {self._folder}: {exc.strerror}") from exc
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._free(size)

    def left_over(self) -> Iterator[Spooled]:
        """What an earlier process of this worker left; what is no whole folder is deleted."""
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            try:
                yield _read(folder)
            except (OSError, ValueError, KeyError, TypeError):
                log.warning("spool: deleting what is incomplete", folder=str(folder))
                shutil.rmtree(folder, ignore_errors=True)

    def _reserve(self, size: int) -> None:
        with self._lock:
            if self._used_bytes + size > self._max_bytes:
                raise SpoolFull(
                    f"S3 is away, and the spool in {self._folder} is full ({self._used_bytes >> 20} of "
                    f"{self._max_bytes >> 20} MiB); IMAGEMILL_WORKER_SPOOL_MIB makes it larger"
                )
            self._used_bytes += size
            self._jobs += 1

    def _free(self, size: int) -> None:
        with self._lock:
            self._used_bytes -= size
            self._jobs -= 1


def _write(folder: Path, claim: Claim, files: list[ImageFile], timings: dict[str, float]) -> None:
    partial = folder.with_name(f".{folder.name}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for index, file in enumerate(files):
            _write_file(partial / f"{index}.{_BODY}", file.body)
            if file.thumbnail is not None:
                _write_file(partial / f"{index}.{_THUMBNAIL}", file.thumbnail)
        plain = [{k: v for k, v in asdict(file).items() if k not in (_BODY, _THUMBNAIL)} for file in files]
        note = {"job_id": claim.job_id, "token": claim.token, "epoch": claim.epoch, "timings": timings, "files": plain}
        _write_file(partial / _NOTE, json.dumps(note).encode())
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path) -> Spooled:
    note = json.loads((folder / _NOTE).read_bytes())
    files = [_read_image(folder, index, plain) for index, plain in enumerate(note.pop("files"))]
    return Spooled(folder=folder, files=files, **note)


def _read_image(folder: Path, index: int, plain: dict[str, Any]) -> ImageFile:
    thumbnail = folder / f"{index}.{_THUMBNAIL}"
    known = {field.name for field in fields(ImageFile)}
    return ImageFile(
        **{name: value for name, value in plain.items() if name in known},
        body=(folder / f"{index}.{_BODY}").read_bytes(),
        thumbnail=thumbnail.read_bytes() if thumbnail.exists() else None,
    )
