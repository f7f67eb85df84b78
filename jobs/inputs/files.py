"""
The table of uploaded files: whose they are, and which jobs need them. The files themselves lie in the store.

A file goes in two steps: its record is `going` from the moment in which nobody may have it any more, and is there until
its object is gone. So a process that dies in between leaves both to the next sweep.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import redis

from jobs import names
from jobs.errors import FileInUse, FileNotFound, FilesTooLarge
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts, as_mapping

Order = Literal["asc", "desc"]

LEAST_COUNTED_BYTES = 64 << 10  # Or a caller could have millions of files, whose records take Redis' memory.

_Scored = list[tuple[str, float]]  # Here, for a class with a `list` of its own.

_ID = re.compile(r"file-[A-Za-z0-9]{24}")
_LETTERS = string.ascii_letters + string.digits
_UPLOAD_S = 6 * 3600  # Longer than any upload may take; of one that has not ended by then, the process has died.
_LISTED_AT_ONCE = 500
_MOST_LOOKS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    An uploaded file.

    Attributes:
        id: As `new_file_id` makes it.
        caller: Whose it is; nobody else sees it.
        filename: As its caller called it; nothing is done with it.
        purpose: Likewise.
        content_type: Of its format, as its bytes say.
        sha256: Of its bytes, in hex.
        width, height: In pixels, as it is shown; None for what is no picture.
        created_at, expires_at: Unix time, seconds. It stays for longer while a job needs it; None for ever.
    """

    id: str
    caller: str
    filename: str
    purpose: str
    content_type: str
    size_bytes: int
    sha256: str
    width: int | None
    height: int | None
    created_at: float
    expires_at: float | None


def new_file_id() -> str:
    """An id that nobody can guess: 142 random bits."""
    return "file-" + "".join(secrets.choice(_LETTERS) for _ in range(24))


def is_file_id(text: str) -> bool:
    """Whether a file may have this id: it goes into Redis keys and object keys."""
    return _ID.fullmatch(text) is not None


class Files:
    """The table. All of it may raise `RedisUnavailable`. Safe to use from many threads."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)

    def begin(self, file_id: str) -> None:
        """An upload begins: where its process dies, what it left in the store goes. Raises `RedisFull`, too."""
        self._scripts.run("file_begin", id=file_id, within_s=_UPLOAD_S)

    def add(self, file: File, max_mib: int | None = None) -> File:
        """
        Write the record of a file whose object is in the store.

        Args:
            max_mib: How much its caller's files may take; None for what the settings say.

        Returns:
            The one that is kept: this one, or the file of the same bytes and purpose that its caller has already, which
            is now kept for as long as this one would be. Then this one's object is to be deleted, and `forget` it.

        Raises:
            FilesTooLarge: Its caller's files would take too much.
            RedisFull
        """
        max_bytes = self._max_bytes(max_mib)
        answer, *rest = self._scripts.run("file_add", id=file.id, record=_record_of(file), max_bytes=max_bytes)
        if answer == "no room":
            raise FilesTooLarge(file.caller, max_bytes)
        file_id, fields = rest
        return _read(file_id, as_mapping(fields))

    def get(self, file_id: str, caller: str | None) -> File:
        """
        One file.

        Args:
            caller: Whose files; None for the operator, who sees everybody's.

        Raises:
            FileNotFound: There is none, or it is another caller's.
        """
        with map_errors(self._settings):
            fields = self._fields_of(file_id)
        if not _is_there(fields) or caller not in (None, fields["caller"]):
            raise FileNotFound(file_id)
        return _read(file_id, fields)

    def kept(self) -> dict[str, int]:
        """How many bytes the files of each caller count."""
        with map_errors(self._settings):
            found = cast("dict[str, str]", self._redis.hgetall(names.FILE_BYTES))
        return {caller: int(size) for caller, size in found.items()}

    def use(self, file_id: str, job_id: str, kept_s: float = 0.0) -> None:
        """
        A job is about to be submitted that needs a file: from now on it stays until that job has ended.

        It has to be submitted within an hour.

        Args:
            kept_s: That it stays from now on at the least, whatever becomes of the job.

        Raises:
            FileNotFound: There is none any more.
            RedisFull
        """
        if not is_file_id(file_id) or not self._scripts.run("file_use", id=file_id, job_id=job_id, kept_s=kept_s):
            raise FileNotFound(file_id)

    def let(self, file_id: str, job_id: str) -> None:
        """A job that was about to be submitted is not: it does not need the file."""
        with map_errors(self._settings):
            self._redis.zrem(names.file_jobs_key(file_id), job_id)

    def delete(self, file_id: str, caller: str | None) -> File:
        """
        Have a file go: nobody finds it any more. Its object is to be deleted, and `forget` it then.

        Raises:
            FileNotFound: There is none, or it is another caller's.
            FileInUse: A job that has not ended needs it.
        """
        if not is_file_id(file_id):
            raise FileNotFound(file_id)
        token = secrets.token_hex(8)
        while True:
            answer, *rest = self._scripts.run("file_delete", id=file_id, caller=caller, token=token)
            if answer == "going":
                return _read(file_id, as_mapping(rest[0]))
            if answer == "missing":
                raise FileNotFound(file_id)
            if answer == "yes":
                raise FileInUse(file_id)

    def due(self, most: int) -> list[File]:
        """
        Files that have expired and that no job needs, and those whose objects are not known to be gone: nobody finds
        them any more. Their objects are to be deleted, and `forget` them then; until that they are due.

        Args:
            most: How many at most.
        """
        token = secrets.token_hex(8)
        for _ in range(_MOST_LOOKS):
            looked, found = self._scripts.run("file_due", most=most, token=token)
            if found or looked < most:  # Else jobs need all of these, which are looked at again later.
                return [_read(file_id, as_mapping(each)) for file_id, each in zip(found[::2], found[1::2], strict=True)]
        return []

    def lost(self, most: int) -> list[str]:
        """Ids of uploads whose processes have died: what is in the store of them is to go, and `forget` them then."""
        return list(self._scripts.run("file_lost", most=most))

    def forget(self, file_id: str) -> None:
        """There is no object of it any more, so there is nothing else of it, either."""
        self._scripts.run("file_forget", id=file_id)

    def list(
        self,
        caller: str | None,
        *,
        limit: int,
        after: str | None = None,
        purpose: str | None = None,
        order: Order = "desc",
    ) -> list[File]:
        """
        Files of a caller (None: everybody's), by the time of their upload.

        Args:
            limit: How many at most.
            after: Only those behind this one.
            order: `desc` for the newest first.

        Raises:
            FileNotFound: `after` is no file of this list (any more).
        """
        key = names.FILES if caller is None else names.files_key(caller)
        if caller is not None and purpose is not None:
            key = names.files_for_key(caller, purpose)
        found: list[File] = []
        with map_errors(self._settings):
            for file_id, fields in self._walk(key, after, order, limit):
                if _is_there(fields) and purpose in (None, fields["purpose"]):
                    found.append(_read(file_id, fields))
                if len(found) == limit:
                    break
        return found

    def _max_bytes(self, max_mib: int | None) -> int:
        return (self._settings.max_file_mib if max_mib is None else max_mib) << 20

    def _fields_of(self, file_id: str) -> dict[str, str]:
        return cast("dict[str, str]", self._redis.hgetall(names.file_key(file_id))) if is_file_id(file_id) else {}

    def _walk(self, key: str, after: str | None, order: Order, limit: int) -> Iterator[tuple[str, dict[str, str]]]:
        """Files and their records in order, some at a time."""
        behind = "-inf" if order == "asc" else "+inf"
        if after is not None:
            place = self._redis.zscore(key, after)
            if place is None:
                raise FileNotFound(after)
            behind = f"({place:.0f}"
        while True:
            some = self._page(key, behind, order, min(limit, _LISTED_AT_ONCE))
            pipeline = self._redis.pipeline(transaction=False)
            for file_id, _ in some:
                pipeline.hgetall(names.file_key(file_id))
            yield from zip((file_id for file_id, _ in some), pipeline.execute(), strict=True)
            if not some:
                return
            behind = f"({some[-1][1]:.0f}"

    def _page(self, key: str, behind: str, order: Order, most: int) -> _Scored:
        if order == "asc":
            found = self._redis.zrangebyscore(key, behind, "+inf", start=0, num=most, withscores=True)
        else:
            found = self._redis.zrevrangebyscore(key, behind, "-inf", start=0, num=most, withscores=True)
        return cast("_Scored", found)


def _counted(size_bytes: int) -> int:
    return max(size_bytes, LEAST_COUNTED_BYTES)


def _record_of(file: File) -> dict[str, str | int]:
    written = {name: value for name, value in asdict(file).items() if value is not None and name != "id"}
    times = {name: f"{value:.6f}" for name, value in written.items() if isinstance(value, float)}
    return {**written, **times, "counted": _counted(file.size_bytes)}


def _is_there(fields: dict[str, str]) -> bool:
    return "caller" in fields and "going" not in fields


def _read(file_id: str, fields: dict[str, Any]) -> File:
    def number(name: str) -> int | None:
        return int(fields[name]) if name in fields else None

    return File(
        id=file_id,
        caller=fields["caller"],
        filename=fields["filename"],
        purpose=fields["purpose"],
        content_type=fields["content_type"],
        size_bytes=int(fields["size_bytes"]),
        sha256=fields["sha256"],
        width=number("width"),
        height=number("height"),
        created_at=float(fields["created_at"]),
        expires_at=float(fields["expires_at"]) if "expires_at" in fields else None,
    )
