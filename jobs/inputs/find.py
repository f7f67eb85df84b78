"""
What a request names as an input is found: files, pictures of earlier jobs, objects, and what is sent or fetched.

What is fetched becomes a file of its caller, and so does what is sent inline, when its job is about to be written: jobs
need nothing that they cannot find again by themselves.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from jobs.errors import FileNotFound, InvalidRequest, JobNotFound, RecordUnreadable
from jobs.inputs.files import Files
from jobs.inputs.heads import MAX_BYTES, PictureRefused, head_of
from jobs.inputs.holding import Holder, Requester, input_of
from jobs.inputs.stored import InputStore
from jobs.inputs.urls import MAX_FETCH_S, UrlRefused, fetch
from jobs.kinds.inputs import Input, InputMark, Reference, ReferenceRefused, by_path, read_reference
from jobs.kinds.registry import DEFAULT, KINDS
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from jobs.view import view_of

MAX_FETCHES_S = 60.0  # of one request's URLs together, and what the last of them takes

_DATA_URL = re.compile(r"data:([a-z0-9.+/-]*)((?:;[a-z0-9=._-]+)*),", re.ASCII | re.IGNORECASE)  # RFC 2397


class Objects(Protocol):
    """
    The store. Its errors are its own, but for two.

    Raises:
        LookupError: There is no such object.
        OverflowError: It has more than `max_bytes`.
    """

    def get(self, key: str, max_bytes: int | None = None) -> bytes: ...


def names_inputs(fields: Mapping[str, Any]) -> bool:
    """Whether a request names any objects, so that `Finder.find` has something to do."""
    return any(fields.get(name) is not None for name in _input_fields(fields))


def names_hosts(fields: Mapping[str, Any]) -> bool:
    """Whether a request names URLs, so that `Finder.find` waits for other hosts, each for as long as it likes."""
    named = by_path({name: fields.get(name) for name in _input_fields(fields)}).values()
    return any("url" in each if isinstance(each, dict) else str(each).startswith("https:") for each in named)


def _input_fields(fields: Mapping[str, Any]) -> dict[str, InputMark]:
    kind = fields.get("kind", DEFAULT)
    return KINDS[kind].input_fields if isinstance(kind, str) and kind in KINDS else {}


class Finder:
    """
    Finds what requests name. It asks Redis, the store and other hosts, so it is for threads that may wait.

    Args:
        objects, files_in_store: The store, and the files in it.

    Attributes:
        holder: Keeps what it finds.
    """

    def __init__(
        self, settings: Settings, *, table: JobTable, files: Files, objects: Objects, files_in_store: InputStore
    ) -> None:
        self._settings = settings
        self._table = table
        self.holder = Holder(files, files_in_store)
        self._files = files
        self._objects = objects
        self._ways: dict[str, Callable[[Reference, Requester], Input]] = {
            "file": self._of_file,
            "data": self._of_data,
            "url": self._of_url,
            "job": self._of_job,
            "object": self._of_object,
        }

    def find(
        self, fields: Mapping[str, Any], *, scope: str | None, owner: str, max_mib: int | None = None
    ) -> dict[str, Any]:
        """
        The fields of a request, with what they name found. In Python a file may be named by its path, or given whole.

        Args:
            scope: Whose files and jobs may be named; None for everybody's.
            owner: Whose file becomes what is sent or fetched.
            max_mib: How much the owner's files may take; None for what the settings say.

        Raises:
            InvalidRequest: By the field's name, what is wrong with it, or that there is nothing of that name.
            FilesTooLarge: The owner has no room for what is fetched.
            RedisUnavailable, and the store's own errors.
        """
        requester = Requester(scope=scope, owner=owner, max_mib=max_mib, fetches_until=time.monotonic() + MAX_FETCHES_S)
        named = {name: mark for name, mark in _input_fields(fields).items() if fields.get(name) is not None}
        found = {name: self._find_all(name, fields[name], mark.most, requester) for name, mark in named.items()}
        return {**fields, **found}

    def _find_all(self, name: str, value: Any, most: int | None, requester: Requester) -> Input | list[Input]:
        """`most` is how many a list may have, of which nothing is looked for where there are more."""
        if most is None:
            return self._find(name, value, requester)
        if not isinstance(value, list | tuple):
            raise InvalidRequest(name, "should be a valid list")
        if len(value) > most:
            raise InvalidRequest(name, f"may name at most {most}, not {len(value)}")
        return [self._find(f"{name}.{place}", each, requester) for place, each in enumerate(value)]

    def _find(self, name: str, value: Any, requester: Requester) -> Input:
        if isinstance(value, Input):
            return value
        try:
            if isinstance(value, bytes | Path):
                return self.holder.sent(value if isinstance(value, bytes) else value.read_bytes(), requester)
            reference = read_reference(value)
            way = next(way for way in self._ways if getattr(reference, way) is not None)
            return self._ways[way](reference, requester)
        except OSError as exc:
            raise InvalidRequest(name, f"{value} cannot be read: {exc.strerror}") from exc
        except ReferenceRefused as exc:
            raise InvalidRequest(".".join(filter(None, (name, exc.path))), str(exc)) from exc
        except (PictureRefused, UrlRefused) as exc:
            raise InvalidRequest(name, str(exc)) from exc

    def _of_file(self, reference: Reference, requester: Requester) -> Input:
        assert reference.file is not None  # noqa: S101 - why this way was taken
        try:
            file = self._files.get(reference.file, requester.scope)
        except FileNotFound as exc:
            raise PictureRefused(str(exc)) from exc
        return input_of(file)

    def _of_data(self, reference: Reference, requester: Requester) -> Input:
        assert reference.data is not None  # noqa: S101 - why this way was taken
        head = _DATA_URL.match(reference.data)
        if head is None or not head[2].lower().endswith(";base64"):
            raise PictureRefused("this is no data URL: write data:image/png;base64, and the file in base64")
        text = reference.data[head.end() :]
        if len(text) * 3 // 4 > MAX_BYTES + 2:
            raise PictureRefused(f"it has more than {MAX_BYTES} bytes")
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise PictureRefused("what is behind base64, is not base64") from exc
        return self.holder.sent(data, requester)

    def _of_url(self, reference: Reference, requester: Requester) -> Input:
        assert reference.url is not None  # noqa: S101 - why this way was taken
        if (left_s := requester.fetches_until - time.monotonic()) <= 0:
            raise UrlRefused(f"the URLs of this request take more than {MAX_FETCHES_S:g} s")
        data = fetch(reference.url, self._settings, max_bytes=MAX_BYTES, max_s=min(left_s, MAX_FETCH_S))
        return self.holder.fetched(data, requester)

    def _of_job(self, reference: Reference, requester: Requester) -> Input:
        assert reference.job is not None  # noqa: S101 - why this way was taken
        index = reference.index or 0
        try:
            view = view_of(self._table.get(reference.job))
        except (JobNotFound, RecordUnreadable):
            view = None
        if view is None or requester.scope not in (None, view.caller):
            raise PictureRefused(f"there is no job {reference.job}")
        if view.status != Status.SUCCEEDED:
            state = "has not succeeded" if view.has_ended else "has not ended; submit this when it has succeeded"
            raise PictureRefused(f"job {reference.job} {state}")
        if index >= len(view.images):
            raise PictureRefused(f"job {reference.job} has no image {index}; it has {len(view.images)}, counted from 0")
        image = view.images[index]
        return Input(
            job=reference.job,
            index=index,
            bytes=image.bytes,
            sha256=image.sha256,
            width=image.width,
            height=image.height,
        )

    def _of_object(self, reference: Reference, requester: Requester) -> Input:
        assert reference.object is not None  # noqa: S101 - why this way was taken
        key = reference.object
        is_plain = not {"", ".", ".."} & set(key.split("/"))  # Of some stores a key is a path.
        if not is_plain or not any(
            key.startswith(each.replace("{caller}", requester.owner)) for each in self._settings.input_objects
        ):
            raise PictureRefused("the operator lets jobs have no objects of that name")
        try:
            data = self._objects.get(key, max_bytes=MAX_BYTES)
        except LookupError as exc:
            raise PictureRefused(f"there is no object {key!r} in the store") from exc
        except OverflowError as exc:
            raise PictureRefused(f"the object {key!r} has more than {MAX_BYTES} bytes") from exc
        head, sha256 = head_of(data), hashlib.sha256(data).hexdigest()
        return Input(object=key, bytes=len(data), sha256=sha256, width=head.width, height=head.height)
