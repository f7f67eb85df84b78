"""
One uploaded file, as it comes: looked at, counted and hashed on its way to the store, and never whole in memory.

What breaks off leaves nothing: no object, no part of one, no record. Where the process dies, `producer.files.sweep` of
another one sees to that.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import structlog

from jobs.errors import FileTooLarge, ImagemillError, InvalidRequest
from jobs.inputs.files import File, Files, new_file_id
from jobs.inputs.heads import Head, PassingPicture, PictureRefused
from jobs.inputs.stored import StoredFiles, file_of
from storage.errors import StorageError
from storage.inputs import Inputs
from storage.store import Upload

log = structlog.get_logger()

FIELD = "file"
PIECE_BYTES = 256 << 10  # A good size for what is given to `Intake.write`.

# What OpenAI's clients say a file is for. It is kept and shown; whatever it says, a file is a picture.
Purpose = Literal["vision", "user_data", "assistants", "batch", "fine-tune", "evals"]
PURPOSES: tuple[str, ...] = get_args(Purpose)

FILENAME_CHARS = 255


class Intake:
    """
    Takes one file in. Its calls block, and wait for each other.

    Attributes:
        id: Of the file, unless its caller has one of the same bytes.
        size_bytes: What has come.
        head: What the file says of itself, when all has come.
    """

    def __init__(self, files: Files, inputs: Inputs, *, max_bytes: int, field: str = FIELD) -> None:
        """`field`: what it is called where something is wrong with it."""
        self.id = new_file_id()
        self.size_bytes = 0
        self.head: Head | None = None
        self._files, self._inputs = files, inputs
        self._stored = StoredFiles(files, inputs)
        self._max_bytes, self._field = max_bytes, field
        self._picture = PassingPicture()
        self._sha256 = hashlib.sha256()
        self._upload: Upload | None = None  # None until the format is known, and again at the end.
        self._beginning = bytearray()  # What came before that.
        self._has_begun = self._is_over = self._is_kept = False
        self._lock = threading.Lock()  # Who is canceled may abort while another thread still writes.

    def write(self, piece: bytes) -> None:
        """
        Take the next bytes; waits while they are sent.

        Raises:
            FileTooLarge
            InvalidRequest: It is no picture that can be taken.
            StorageUnavailable, StorageMisconfigured, RedisUnavailable, RedisFull
        """
        with self._lock:
            self._check_open()
            self.size_bytes += len(piece)
            if self.size_bytes > self._max_bytes:
                raise FileTooLarge(self._field, self._max_bytes)
            try:
                self._picture.feed(piece)
            except PictureRefused as exc:
                raise InvalidRequest(self._field, str(exc)) from exc
            self._sha256.update(piece)
            if self._upload is not None:
                self._upload.write(piece)
                return
            self._beginning += piece
            if self._picture.content_type is not None:
                self._begin(self._picture.content_type)

    def end(self) -> Head:
        """
        All has come, and is in the store from now on; nobody has it yet.

        Raises:
            InvalidRequest: It is no picture that can be taken, or not all of one.
            StorageUnavailable, StorageMisconfigured
        """
        with self._lock:
            self._check_open()
            return self._end()

    def finish(
        self,
        caller: str,
        *,
        filename: str,
        purpose: str,
        expires_after_s: float,
        max_mib: int | None = None,
    ) -> File:
        """
        Keep the file, which has ended with this at the latest.

        Args:
            filename: What its caller calls it; without control characters, and cut to `FILENAME_CHARS`.
            expires_after_s: After how many seconds it goes; later, where a job needs it.
            max_mib: How much the caller's files may take; None for what the settings say.

        Returns:
            The file, or the one of the same bytes that the caller has already.

        Raises:
            InvalidRequest: It is no picture that can be taken, or not all of one.
            FilesTooLarge
            StorageUnavailable, StorageMisconfigured, RedisUnavailable, RedisFull
        """
        with self._lock:
            self._check_open()
            file = file_of(
                self._end(),
                file_id=self.id,
                caller=caller,
                filename=_shown(filename),
                purpose=purpose,
                size_bytes=self.size_bytes,
                sha256=self._sha256.hexdigest(),
                kept_s=expires_after_s,
            )
            kept = self._files.add(file, max_mib)
            self._is_over = True
            self._is_kept = kept.id == self.id
        if not self._is_kept:
            self._clear()
        return kept

    def take_back(self) -> None:
        """Have a file go that was just kept; it stays where its caller had it before, or a job needs it by now."""
        if not self._is_kept:
            return
        with _logging(self.id):
            self._stored.delete(self.id)

    def abort(self) -> None:
        """Leave nothing of it; nothing happens where it is kept. What fails here is logged, and left to the sweep."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._beginning.clear()
            if self._upload is not None:
                self._upload.abort()
                self._upload = None
        if self._has_begun:
            self._clear()

    def _end(self) -> Head:
        if self.head is None:
            try:
                head = self._picture.finish()
            except PictureRefused as exc:
                raise InvalidRequest(self._field, str(exc)) from exc
            assert self._upload is not None  # noqa: S101 - what has an end had a beginning
            self._upload.finish()
            self._upload = None
            self.head = head
        return self.head

    def _begin(self, content_type: str) -> None:
        self._files.begin(self.id)
        self._has_begun = True
        self._upload = self._inputs.upload(self.id, content_type)
        self._upload.write(bytes(self._beginning))
        self._beginning.clear()

    def _check_open(self) -> None:
        if self._is_over:
            raise RuntimeError("this file was kept or given up")

    def _clear(self) -> None:
        with _logging(self.id):
            self._stored.clear(self.id)


@contextmanager
def _logging(file_id: str) -> Iterator[None]:
    """What fails of clearing away is left to the sweep."""
    try:
        yield
    except (ImagemillError, StorageError) as exc:
        log.warning("an upload is not cleared away yet", file=file_id, reason=str(exc))


def _shown(filename: str) -> str:
    """Its last part: some send the path that it has with them."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(each for each in last if each.isprintable())[:FILENAME_CHARS]
