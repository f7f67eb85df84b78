"""What a finished job made, in storage: its images, and other objects."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image as PillowImage

from jobs.errors import JobFailed
from jobs.table.record import Artifact as StoredArtifact
from jobs.table.states import Status
from jobs.view import Image as StoredImage
from jobs.view import JobView, check_kept
from storage.store import Store

Record = TypeVar("Record", StoredArtifact, StoredImage)


class _Stored(Generic[Record]):
    """One object of a finished job; read from storage when asked for."""

    def __init__(self, record: Record, store: Store) -> None:
        self.record: Record = record
        self._store = store

    def read(self) -> bytes:
        """The file as it is stored."""
        return self._store.get(self.record.key)

    def save(self, path: str | Path) -> Path:
        """Write the file as it is stored; `path` names it, and its suffix changes nothing."""
        target = Path(path)
        target.write_bytes(self.read())
        return target

    def url(self, expiry_s: int | None = None) -> str:
        """A fresh presigned link."""
        return self._store.link(self.record.key, self.record.content_type, expiry_s)


class Artifact(_Stored[StoredArtifact]):
    """Another object than an image."""


class Image(_Stored[StoredImage]):
    """One image."""

    def open(self) -> PillowImage.Image:
        """The picture."""
        return PillowImage.open(io.BytesIO(self.read()))

    def thumbnail_url(self, expiry_s: int | None = None) -> str | None:
        """A fresh presigned link to the thumbnail, if one was asked for."""
        key = self.record.thumbnail_key
        return self._store.link(key, "image/webp", expiry_s) if key else None


def images_of(record: JobView, store: Store) -> list[Image]:
    """The images of a job that has ended. Raises as `Job.images` does."""
    _check_success(record)
    return [Image(image, store) for image in record.images]


def artifacts_of(record: JobView, store: Store) -> list[Artifact]:
    """The other objects of a job that has ended. Raises as `images_of` does."""
    _check_success(record)
    return [Artifact(each, store) for each in record.artifacts]


def _check_success(record: JobView) -> None:
    check_kept(record)
    if record.status is not Status.SUCCEEDED:
        error = record.error
        raise JobFailed(
            record.id,
            error.code if error else record.status,
            error.message if error else f"the job was {record.status}",
        )
