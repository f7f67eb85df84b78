"""
What a store has of a source, as a folder here: small files whole, of weights the header alone, as long as they are.

Whatever looks at folders then sees what is missing or cut short, and what the weights take, for a few megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.registry import open_store
from workers.process.stored.listing import RemoteFile, RemoteSource, list_source

_WEIGHTS = (".safetensors", ".gguf", ".bin", ".ckpt", ".pt", ".pth")
_SMALL_BYTES = 1 << 20
_LENGTH_BYTES = 8  # in front of the header of a safetensors file
_LARGEST_HEADER = 100 << 20  # bytes, as safetensors itself has it
_HEAD_BYTES = 4 << 20  # of what is no safetensors


@contextmanager
def mirrored(sources: list[str]) -> Iterator[dict[str, Path]]:
    """
    Such a folder, or file, of each source, for as long as the block lasts.

    Raises:
        ObjectNotFound: There is none.
        StorageUnavailable, StorageMisconfigured
    """
    with TemporaryDirectory(prefix="imagemill-models-") as folder:
        yield {source: _mirror(source, Path(folder).resolve() / str(number)) for number, source in enumerate(sources)}


def without_checksums(source: str) -> bool:
    """Whether nothing says what some of its files are to be. Raises as `mirrored` does."""
    return any(each.sha256 is None for each in list_source(open_store(), source).files)


def _mirror(source: str, folder: Path) -> Path:
    remote = list_source(open_store(), source)
    for each in remote.files:
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as opened:
            opened.write(_head(remote, each))
            opened.truncate(each.size_bytes)
    return folder / remote.files[0].path if remote.is_file else folder


def _head(remote: RemoteSource, file: RemoteFile) -> bytes:
    """Of a file, what tells whether it is one."""
    is_whole = file.size_bytes <= _SMALL_BYTES or not file.path.endswith(_WEIGHTS)
    wanted = file.size_bytes if is_whole else _LENGTH_BYTES if file.path.endswith(".safetensors") else _HEAD_BYTES
    head = bytearray()
    with closing(remote.store.pieces(file.key, 0, file.etag)) as pieces:  # type: ignore[type-var]
        for piece in pieces:
            head += piece
            if not is_whole and wanted == _LENGTH_BYTES:
                wanted += min(int.from_bytes(head[:_LENGTH_BYTES], "little"), _LARGEST_HEADER)
            if len(head) >= wanted:
                break
    return bytes(head[:wanted])
