"""Copies the files of a source from a store. What is cut off goes on where it ended; what differs is thrown away."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import structlog
import tenacity

from storage.errors import StorageUnavailable
from workers.process.stored.listing import SUMS, RemoteFile, RemoteSource

log = structlog.get_logger()

_ATTEMPTS = 6  # for a file, each from where the last one ended
_LONGEST_WAIT_S = 10.0


class NotWhole(Exception):
    """A file is not what its checksum says: the end of a sentence."""


def download(remote: RemoteSource, folder: Path) -> None:
    """
    Copy all files of a source that are not in a folder yet, and hold them against their checksums.

    Raises:
        NotWhole: One differs from its checksum; it is gone from the folder.
        ObjectNotFound: One has gone, or changed, since they were listed.
        StorageUnavailable: Repeatedly; what has come stays.
        StorageMisconfigured
    """
    unknown = sum(each.sha256 is None for each in remote.files)
    if unknown:
        log.warning("no checksums", source=remote.source, files=unknown, advice=f"put {SUMS} beside them")
    for each in remote.files:
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StorageUnavailable),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=0.1, max=_LONGEST_WAIT_S),
            reraise=True,
        )
        retrying(_go_on, remote, each, path)
        _verify(remote, each, path)


def _go_on(remote: RemoteSource, file: RemoteFile, path: Path) -> None:
    """Fetch what is not here of a file."""
    if path.exists() and path.stat().st_size > file.size_bytes:
        path.unlink()
    with path.open("ab") as opened:
        start = opened.tell()
        if start < file.size_bytes:
            for piece in remote.store.pieces(file.key, start, file.etag):
                opened.write(piece)
            opened.flush()
            os.fsync(opened.fileno())
        if opened.tell() < file.size_bytes:
            raise StorageUnavailable(f"{remote.store.name} ended {file.key!r} before all of it had come")


def _verify(remote: RemoteSource, file: RemoteFile, path: Path) -> None:
    size = path.stat().st_size
    found = f"{size} bytes, and the store says {file.size_bytes}" if size != file.size_bytes else None
    if found is None and file.sha256 is not None:
        with path.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        found = None if sha256 == file.sha256 else f"SHA-256 {sha256[:12]}…, and {SUMS} says {file.sha256[:12]}…"
    if found is not None:
        path.unlink()
        raise NotWhole(f"{file.path} of {remote.source} has {found}; put it there again, or correct {SUMS}")
