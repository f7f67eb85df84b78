"""
Copies of sources, in a folder that the workers of a machine share, up to a bound.

Each has a folder: `files` when it is whole, `files.partial` before, a lock of who downloads or removes it, and, in
`uses`, a lock of each process that has it loaded, for a loaded model may still read its files. What a process that died
held is free: the system lets go of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from workers.process.stored.download import download
from workers.process.stored.listing import RemoteSource

log = structlog.get_logger()

_FILES, _PARTIAL, _BYTES, _USED, _USES, _LOCK = "files", "files.partial", "bytes", "used", "uses", "lock"
_GB = 1e9


class NoRoom(Exception):
    """A copy does not fit beside those in use: the end of a sentence."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """The folder of one."""

    folder: Path

    @property
    def size_bytes(self) -> int:
        """Of the whole of it; zero where nothing is there."""
        is_there = (self.folder / _FILES).exists() or (self.folder / _PARTIAL).exists()
        return int((self.folder / _BYTES).read_text()) if is_there and (self.folder / _BYTES).exists() else 0

    @property
    def used_at(self) -> float:
        """When it was last taken, Unix time; zero for never."""
        return (self.folder / _USED).stat().st_mtime if (self.folder / _USED).exists() else 0.0

    def lock(self) -> FileLock:
        return FileLock(self.folder / _LOCK)

    def remove(self) -> bool:
        """Remove its files; whether nobody uses it."""
        with ExitStack() as locks:
            try:
                locks.enter_context(self.lock().acquire(blocking=False))
                for use in (self.folder / _USES).glob("*"):
                    locks.enter_context(FileLock(use).acquire(blocking=False))
                    use.unlink()
            except Timeout:
                return False
            for name in (_FILES, _PARTIAL):
                shutil.rmtree(self.folder / name, ignore_errors=True)
        return True


class ModelCache:
    """
    All of them. What it gave stays until `release`, or until the process ends.

    Attributes:
        root: Where they are.
        most_bytes: How much may lie there.
    """

    def __init__(self, root: Path, most_bytes: int) -> None:
        self.root, self.most_bytes = root, most_bytes
        self._uses: list[FileLock] = []

    def fetch(self, remote: RemoteSource) -> Path:
        """
        The copy of a source, a folder or a file; made where it is not here, which takes as long as it is large.

        Raises:
            NoRoom: It does not fit beside what is in use.
            NotWhole, ObjectNotFound, StorageUnavailable, StorageMisconfigured: As `download` has it.
        """
        copy = _Copy(self.root / _name_of(remote))
        (copy.folder / _USES).mkdir(parents=True, exist_ok=True)
        with copy.lock():  # Who waits here finds it whole then.
            self._use(copy)
            if not _is_whole(copy, remote):
                shutil.rmtree(copy.folder / _FILES, ignore_errors=True)
                self._make_room(copy, remote)
                log.info("copying", source=remote.source, gigabytes=round(remote.size_bytes / _GB, 3))
                download(remote, copy.folder / _PARTIAL)
                (copy.folder / _PARTIAL).rename(copy.folder / _FILES)
            (copy.folder / _USED).touch()
        files = copy.folder / _FILES
        return files / remote.files[0].path if remote.is_file else files

    def release(self) -> None:
        """Nothing that it gave is used any more."""
        while self._uses:
            use = self._uses.pop()
            use.release()
            Path(use.lock_file).unlink(missing_ok=True)

    def _use(self, copy: _Copy) -> None:
        # Models are loaded in a thread that ends.
        use = FileLock(copy.folder / _USES / f"{os.getpid()}-{uuid.uuid4().hex[:8]}", thread_local=False)
        use.acquire()
        self._uses.append(use)

    def _make_room(self, copy: _Copy, remote: RemoteSource) -> None:
        """Have others go, the least recently used first, until a copy fits; it has its room then."""
        with FileLock(self.root / "room.lock"):
            (copy.folder / _PARTIAL).mkdir(exist_ok=True)
            (copy.folder / _BYTES).write_text("0")
            for other in self._least_recently_used():
                if self._fits(copy, remote):
                    break
                if other.folder != copy.folder and other.remove():
                    log.info("copy removed", folder=str(other.folder))
            if not self._fits(copy, remote):
                raise NoRoom(self._no_room(remote))
            (copy.folder / _BYTES).write_text(str(remote.size_bytes))

    def _least_recently_used(self) -> list[_Copy]:
        return sorted((each for each in self._copies() if each.size_bytes), key=lambda each: each.used_at)

    def _fits(self, copy: _Copy, remote: RemoteSource) -> bool:
        here = sum(file.stat().st_size for file in (copy.folder / _PARTIAL).rglob("*") if file.is_file())
        is_on_disk = shutil.disk_usage(self.root).free > remote.size_bytes - here
        return is_on_disk and sum(each.size_bytes for each in self._copies()) + remote.size_bytes <= self.most_bytes

    def _copies(self) -> Iterator[_Copy]:
        return (_Copy(folder) for folder in self.root.iterdir() if folder.is_dir())

    def _no_room(self, remote: RemoteSource) -> str:
        used = sum(each.size_bytes for each in self._copies())
        return (
            f"{remote.source} has {remote.size_bytes / _GB:.3g} GB, and {self.root} room for "
            f"{self.most_bytes / _GB:.3g} GB, of which {used / _GB:.3g} GB are in use, on a disk with "
            f"{shutil.disk_usage(self.root).free / _GB:.3g} GB free; set IMAGEMILL_WORKER_MODEL_CACHE_GB to more, or "
            "IMAGEMILL_WORKER_MODEL_CACHE_DIR to a larger disk"
        )


def _name_of(remote: RemoteSource) -> str:
    name = remote.source.rstrip("/").rpartition("/")[2]
    return f"{name}-{hashlib.sha256(remote.source.encode()).hexdigest()[:8]}-{remote.version}"


def _is_whole(copy: _Copy, remote: RemoteSource) -> bool:
    files = ((copy.folder / _FILES / each.path, each.size_bytes) for each in remote.files)
    return all(path.is_file() and path.stat().st_size == size for path, size in files)
