"""What a store does, whatever it is: the rest of the system knows no more of it than this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from storage.advice import Advice
from storage.errors import NotSupported, StorageError
from storage.keys import root_of
from storage.settings import StorageSettings

PART_BYTES = 8 << 20  # Of an upload: as much as one holds in memory at a time.

_WRITE_CHECK = "write-check"  # name of an object that no job has


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """
    What a listing says of an object.

    Attributes:
        modified_at: Unix time, seconds, by the store's clock.
        etag: What the store calls this content (RFC 9110, 8.8.3), without quotes; empty where it does not say.
    """

    key: str
    size_bytes: int
    modified_at: float
    etag: str = ""


class Upload(ABC):
    """
    An object that comes in pieces, whole or not at all: one thread at a time writes it.

    As the context of a block it is finished where that ends, and aborted where it raises.
    """

    @abstractmethod
    def write(self, piece: bytes) -> None:
        """
        Add the next bytes; waits while some of them are sent.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """

    @abstractmethod
    def finish(self) -> None:
        """Make an object of what was written. Raises as `write` does."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing of it; another object of that key stays. Raises nothing: what fails here is logged."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.finish()
        except BaseException:
            self.abort()
            raise


class _Collected(Upload):
    """All of it in memory, for a store that takes objects whole."""

    def __init__(self, store: Store, key: str, content_type: str) -> None:
        self._store, self._key, self._content_type = store, key, content_type
        self._body = bytearray()

    def write(self, piece: bytes) -> None:
        self._body += piece

    def finish(self) -> None:
        self._store.put(self._key, bytes(self._body), self._content_type)

    def abort(self) -> None:
        self._body.clear()


class Store(Protocol):
    """
    One place for objects. Safe to use from many threads.

    A backend is a class that inherits from it; what is not abstract may stay as it is.

    Attributes:
        label: Of the backend, as the doctor calls it: "S3".
        place: What a store of it is, likewise: "bucket".
        settings_class: What it is made from.
        settings: Its own.
    """

    label: ClassVar[str]
    place: ClassVar[str]
    settings_class: ClassVar[type[StorageSettings]]
    settings: StorageSettings

    @abstractmethod
    def __init__(self, settings: Any) -> None:
        """
        Nothing is asked yet.

        Args:
            settings: Of its `settings_class`.

        Raises:
            StorageMisconfigured: They cannot work.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """The store, for a sentence, without secrets: "S3 at https://s3.example.com"."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where in it our objects lie, for a sentence: "bucket/prefix"."""

    @property
    def advice(self) -> Advice:
        """Advice for a person when it fails."""
        return Advice()

    @abstractmethod
    def prepare(self) -> None:
        """
        Make sure that the place is there and may be used; makes it where it is missing and that is allowed.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """

    @abstractmethod
    def check(self) -> None:
        """
        Ask whether the place is there and may be used.

        Raises:
            ObjectNotFound: There is no such place.
            StorageUnavailable, StorageMisconfigured
        """

    def check_write(self, size_bytes: int = 1) -> None:
        """
        Ask whether objects of a size may be written: writes one, and takes it away where that is allowed.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        key = f"{root_of(self.settings.prefix)}{_WRITE_CHECK}"
        self.put(key, b"-" * size_bytes, "text/plain")
        with suppress(StorageError):  # It is one object, under one key for ever.
            self.delete(key)

    @abstractmethod
    def put(self, key: str, body: bytes, content_type: str) -> None:
        """
        Store an object, whole or not at all; another one of that key is replaced.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """

    def upload(self, key: str, content_type: str) -> Upload:
        """Begin an object that comes in pieces; nothing is asked yet. It is there when it is finished."""
        return _Collected(self, key, content_type)

    def drop_uploads(self, prefix: str) -> int:
        """
        Take away what is there of uploads that have not ended, of keys that begin so: their process may be dead.

        Returns how many these were. One that goes on will fail.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        return 0

    @abstractmethod
    def get(self, key: str, max_bytes: int | None = None) -> bytes:
        """
        Read an object.

        Raises:
            ObjectTooLarge: It has more than `max_bytes`; it is not read then.
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """

    def pieces(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        """
        Read an object piece by piece.

        Args:
            start: The first byte.
            etag: Of the content that is meant; empty for any.

        Raises:
            StorageUnavailable: Also in the middle: what has come is right, and the rest may be asked for.
            ObjectNotFound: It is not there, or has another content.
            StorageMisconfigured
        """
        yield self.get(key)[start:]

    def other_place(self, place: str) -> Store:
        """
        Another place of the same store, with the same keys: of S3, a bucket. Nothing is asked yet.

        Raises:
            NotSupported: It has but one.
            StorageMisconfigured: The name is none.
        """
        raise NotSupported(f"{self.name} has no other {self.place} than its own, so not {place!r}")

    def size(self, key: str) -> int:
        """
        How many bytes an object has.

        Raises:
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        return len(self.get(key))

    @abstractmethod
    def delete(self, key: str) -> None:
        """
        Take an object away; one that is not there is no error.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """

    def delete_many(self, keys: Sequence[str]) -> None:
        """
        Take objects away; those that are not there are no error.

        Raises:
            StorageUnavailable
            StorageMisconfigured: It refuses some of them; others may be gone.
        """
        for key in keys:
            self.delete(key)

    @abstractmethod
    def link(self, key: str, content_type: str, expiry_s: int | None = None) -> str:
        """
        A URL that gives the object to anyone who has it, for so many seconds; None for what the settings say.

        Raises:
            StorageMisconfigured: There is nothing to sign it with.
        """

    @abstractmethod
    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        """
        List objects in the order of their keys (of their bytes in UTF-8).

        Args:
            prefix: What their keys begin with.
            after: Only those whose keys come behind this one.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """

    def retention_rule(self) -> int | None:
        """
        After how many days the store itself deletes what jobs have made; None for never.

        Raises:
            NotSupported: It deletes nothing by itself.
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        raise NotSupported(f"{self.name} has no lifecycle rules")

    def expiry_days(self, key: str) -> int | None:
        """
        After how many days the store itself deletes an object, by any rule that it has; None for never.

        Raises:
            NotSupported: It deletes nothing by itself.
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        raise NotSupported(f"{self.name} has no lifecycle rules")

    def set_retention_rule(self, days: int, *, whole_place: bool = False) -> None:
        """
        Have the store delete what jobs have made, `days` days after its upload; rules of others stay, and so do
        uploaded files, for which jobs may wait.

        Args:
            days: At least one.
            whole_place: Without a prefix the rule may be for what is others', and this has to be said.

        Raises:
            NotSupported: It deletes nothing by itself.
            StorageMisconfigured: There is no prefix, and the whole place was not asked for; or the store refuses.
            ObjectNotFound, StorageUnavailable
        """
        raise NotSupported(f"{self.name} has no lifecycle rules")

    def remove_retention_rule(self) -> bool:
        """Take our rule away; returns whether there was one. Raises as `retention_rule` does."""
        raise NotSupported(f"{self.name} has no lifecycle rules")
