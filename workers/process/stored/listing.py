"""What a store has of a source: its files, and the checksums that somebody put beside them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from storage.errors import ObjectNotFound, StorageMisconfigured
from storage.store import Store, StoredObject

SUMS = "SHA256SUMS"  # as `sha256sum` of coreutils writes it: a hash, two characters, a path

_SUM = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?:\./)?(?P<path>.+)")
_LARGEST_SUMS = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """
    One file.

    Attributes:
        path: Inside of the source; of a source that is one file, its name.
        etag: Of its content: it tells another content, and is no hash of it where the object came in several parts, or
            is encrypted by a key of its own (Amazon S3 API, "Object").
        sha256: By `SHA256SUMS`; None where that does not name it.
    """

    path: str
    key: str
    size_bytes: int
    etag: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSource:
    """
    A source as a store has it now.

    Attributes:
        is_file: Whether it is one file, not a folder.
    """

    source: str
    store: Store
    files: tuple[RemoteFile, ...]
    is_file: bool

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(each.size_bytes for each in self.files)

    @property
    def version(self) -> str:
        """The same for the same files; another one when one of them changes."""
        said = "\n".join(f"{each.path} {each.size_bytes} {each.etag} {each.sha256}" for each in self.files)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def list_source(store: Store, source: str) -> RemoteSource:
    """
    Ask a store what it has.

    Args:
        store: Any place of it.
        source: `s3://bucket/key`, of a folder or of one file.

    Raises:
        ObjectNotFound: Nothing is there.
        StorageUnavailable, StorageMisconfigured
    """
    parts = urlsplit(source)
    there, key = store.other_place(parts.netloc), parts.path.strip("/")
    is_file = PurePosixPath(key).suffix in (".safetensors", ".gguf")
    folder = key.rpartition("/")[0] if is_file else key
    beside = f"{folder}/" if folder else ""
    found = there.objects(key if is_file else beside)
    listed = [each for each in found if not each.key.endswith("/") and (each.key == key or not is_file)]
    if not listed:
        raise ObjectNotFound(f"{there.name} has nothing at {source}")
    sums = _sums(there, f"{beside}{SUMS}")
    files = [_file(each, beside, sums) for each in listed]
    return RemoteSource(
        source=source, store=there, files=tuple(each for each in files if each.path != SUMS), is_file=is_file
    )


def _file(found: StoredObject, beside: str, sums: Mapping[str, str]) -> RemoteFile:
    path = found.key.removeprefix(beside)
    if ".." in path.split("/"):
        raise StorageMisconfigured(f"{found.key!r} is no name of a file below {beside!r}")
    return RemoteFile(path=path, key=found.key, size_bytes=found.size_bytes, etag=found.etag, sha256=sums.get(path))


def _sums(store: Store, key: str) -> dict[str, str]:
    """Of each path that the file of checksums names; empty where there is none."""
    try:
        text = store.get(key, _LARGEST_SUMS).decode()
    except ObjectNotFound:
        return {}
    found = (_SUM.fullmatch(line.strip()) for line in text.splitlines())
    return {match["path"]: match["sum"] for match in found if match}
