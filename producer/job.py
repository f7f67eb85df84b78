"""Handles: a submitted job, and the images that it made."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PillowImage

from jobs.events import Event
from jobs.record import ImageRecord, JobRecord
from storage.s3 import ImageStore

if TYPE_CHECKING:
    from producer.client import Client


class Image:
    """One image of a finished job; read from storage when asked for."""

    def __init__(self, record: ImageRecord, store: ImageStore) -> None:
        self.record = record
        self._store = store

    def read(self) -> bytes:
        """The file as it is stored."""
        return self._store.get(self.record.key)

    def open(self) -> PillowImage.Image:
        """The picture."""
        return PillowImage.open(io.BytesIO(self.read()))

    def save(self, path: str | Path) -> Path:
        """Write the file as it is stored; `path` names it, and its suffix changes nothing."""
        target = Path(path)
        target.write_bytes(self.read())
        return target

    def url(self, expiry_s: int | None = None) -> str:
        """A fresh presigned link."""
        return self._store.link(self.record.key, self.record.content_type, expiry_s)

    def thumbnail_url(self, expiry_s: int | None = None) -> str | None:
        """A fresh presigned link to the thumbnail, if one was asked for."""
        key = self.record.thumbnail_key
        return self._store.link(key, "image/webp", expiry_s) if key else None


class Job:
    """A submitted job. Every method asks Redis anew."""

    def __init__(self, job_id: str, client: Client) -> None:
        self.id = job_id
        self._client = client

    def status(self) -> JobRecord:
        """Where it stands. Raises `JobNotFound`."""
        return self._client.status(self.id)

    def wait(self, timeout_s: float | None = None) -> JobRecord:
        """The record at its end, however it ended. Raises `WaitTimeout`."""
        return self._client.wait(self.id, timeout_s)

    def events(self, after: str = "0") -> Iterator[Event]:
        """Its events as they come, up to its end."""
        return self._client.events(self.id, after)

    def cancel(self) -> JobRecord:
        """Ask for its end; returns where it stands now."""
        return self._client.cancel(self.id)

    def images(self, timeout_s: float | None = None) -> list[Image]:
        """
        Wait for the job's end and return its images.

        Raises:
            JobFailed: It ended without images.
            WaitTimeout: It did not end in time.
        """
        return self._client.images(self.wait(timeout_s))

    def __repr__(self) -> str:
        return f"Job({self.id!r})"
