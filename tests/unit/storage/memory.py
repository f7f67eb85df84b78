"""A store of the tests' own: a dictionary. It takes the least that a backend has to have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from pydantic_settings import SettingsConfigDict

from storage.errors import ObjectNotFound, ObjectTooLarge
from storage.settings import StorageSettings
from storage.store import Store, StoredObject


class MemorySettings(StorageSettings):
    """Of a store in memory."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_STORAGE_MEMORY_")

    backend: ClassVar[str] = "memory"

    color: str = "white"
    port: int = 21


class MemoryStore(Store):
    """Objects in memory."""

    label = "Memory"
    place = "dictionary"
    settings_class = MemorySettings
    settings: MemorySettings

    def __init__(self, settings: MemorySettings) -> None:
        self.settings = settings
        self._objects: dict[str, tuple[bytes, float]] = {}

    @property
    def name(self) -> str:
        return f"the {self.settings.color} store"

    @property
    def where(self) -> str:
        return f"memory/{self.settings.prefix}".rstrip("/")

    def prepare(self) -> None:
        """It is there."""

    def check(self) -> None:
        """It is there."""

    def put(self, key: str, body: bytes, content_type: str) -> None:
        self._objects[key] = (body, time.time())

    def get(self, key: str, max_bytes: int | None = None) -> bytes:
        if key not in self._objects:
            raise ObjectNotFound(f"{self.name} has no {key!r}")
        body, _ = self._objects[key]
        if max_bytes is not None and len(body) > max_bytes:
            raise ObjectTooLarge(f"{key!r} has {len(body)} bytes, more than {max_bytes}")
        return body

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def link(self, key: str, content_type: str, expiry_s: int | None = None) -> str:
        return f"memory:{key}"

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        for key in sorted(key for key in self._objects if key.startswith(prefix) and key > after):
            body, modified_at = self._objects[key]
            yield StoredObject(key=key, size_bytes=len(body), modified_at=modified_at)
