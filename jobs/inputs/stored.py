"""Files together with their objects in the store, so that neither stays without the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from jobs.errors import FileInUse, FileNotFound, FilesTooLarge
from jobs.inputs.files import File, Files
from jobs.inputs.heads import Head


class Upload(Protocol):
    """An object that comes in pieces."""

    def write(self, data: bytes) -> None: ...


class InputStore(Protocol):
    """Where files lie."""

    def upload(self, file_id: str, content_type: str) -> AbstractContextManager[Upload]: ...
    def delete(self, file_ids: Sequence[str]) -> None: ...


class StoredFiles:
    """All of it may raise `RedisUnavailable`, and the store's own errors. Safe to use from many threads."""

    def __init__(self, files: Files, in_store: InputStore) -> None:
        self._files = files
        self._in_store = in_store

    def add(self, file: File, data: bytes, max_mib: int | None) -> File:
        """
        Keep a file that is here whole. Arguments, answer and errors as of `Files.add`.

        Nothing stays of it where it is not kept, or its caller has it already.
        """
        self._files.begin(file.id)
        with self._in_store.upload(file.id, file.content_type) as upload:
            upload.write(data)
        try:
            kept = self._files.add(file, max_mib)
        except FilesTooLarge:
            self.clear(file.id)
            raise
        if kept.id != file.id:
            self.clear(file.id)
        return kept

    def delete(self, file_id: str) -> None:
        """Have a file go, whosever it is; one that a job needs stays."""
        try:
            self._files.delete(file_id, None)
        except (FileNotFound, FileInUse):
            return
        self.clear(file_id)

    def clear(self, file_id: str) -> None:
        """Leave nothing of a file that nobody finds any more, or that never was one."""
        self._in_store.delete([file_id])
        self._files.forget(file_id)


def file_of(
    head: Head, *, file_id: str, caller: str, filename: str, purpose: str, size_bytes: int, sha256: str, kept_s: float
) -> File:
    """A file that came just now, and is kept for so long; later, where a job needs it."""
    created_at = float(int(time.time()))
    return File(
        id=file_id,
        caller=caller,
        filename=filename,
        purpose=purpose,
        content_type=head.content_type,
        size_bytes=size_bytes,
        sha256=sha256,
        width=head.width,
        height=head.height,
        created_at=created_at,
        expires_at=created_at + kept_s,
    )
