"""
The answers to a batch, on disk until the request has been read: so much for each request, and so much for all.

Room is made before jobs are queued, on the disk itself, so that no job is queued without an answer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from tempfile import TemporaryFile
from typing import IO

import structlog

from producer.api.http.errors import AnswerTooLong, SpoolFull

log = structlog.get_logger()

MOST_BYTES = 64 << 20  # Of a request. 100,000 lines with long names and a warning each take half of it.
MOST_BYTES_OF_ALL = 1 << 30


class Spools:
    """Those of one process."""

    def __init__(self) -> None:
        self._used_bytes = 0
        self._lock = threading.Lock()

    def open(self) -> Spool:
        """For one request. Raises `SpoolFull`."""
        return Spool(self)

    def take(self, size: int) -> None:
        """Raises `SpoolFull` where all together would have too much."""
        with self._lock:
            if self._used_bytes + size > MOST_BYTES_OF_ALL:
                raise SpoolFull
            self._used_bytes += size

    def give_back(self, size: int) -> None:
        """Of what was taken."""
        with self._lock:
            self._used_bytes -= size


class Spool:
    """One request's. It is used by one thread at a time."""

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._end = self._reserved = 0
        try:
            self._file: IO[bytes] = TemporaryFile(buffering=0)  # noqa: SIM115  # closed when it has been sent
        except OSError as exc:
            raise _full(exc) from exc

    def reserve(self, size: int) -> None:
        """
        Make room for so many bytes more.

        Raises:
            AnswerTooLong, SpoolFull: There is none.
        """
        more = self._end + size - self._reserved
        if more <= 0:
            return
        if self._reserved + more > MOST_BYTES:
            raise AnswerTooLong(MOST_BYTES)
        self._spools.take(more)
        try:
            self._write(self._reserved, bytes(more))  # A file with a hole has no room.
        except OSError as exc:
            self._spools.give_back(more)
            raise _full(exc) from exc
        self._reserved += more

    def write(self, lines: Iterable[bytes]) -> None:
        """Write what there is room for."""
        text = b"".join(lines)
        self._write(self._end, text)
        self._end += len(text)

    def read(self, behind: int, size: int) -> bytes:
        """What was written, from there on; nothing at the end."""
        return os.pread(self._file.fileno(), min(size, self._end - behind), behind)

    def close(self) -> None:
        """Give the disk back what it had."""
        self._file.close()
        self._spools.give_back(self._reserved)
        self._reserved = 0

    def _write(self, at: int, text: bytes) -> None:
        rest = memoryview(text)
        while rest:
            written = os.pwrite(self._file.fileno(), rest, at)
            rest, at = rest[written:], at + written


def _full(exc: OSError) -> SpoolFull:
    log.warning("no room for the answers to batches", reason=str(exc))
    return SpoolFull()
