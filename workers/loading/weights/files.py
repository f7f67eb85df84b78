"""Whether a file of weights can be one that is loaded, as far as its first bytes and its length show."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from jobs.catalogue.loading import GGUF_SUFFIX
from workers.loading.errors import Fault

COPY_AGAIN = "copy the model again"

# Written by torch.save. Reading one may run what is in it; torch's weights_only has been got around (CVE-2025-32434).
PICKLE_SUFFIXES = {".bin", ".ckpt", ".pt", ".pth"}

_POINTER = b"version https://git-lfs.github.com/spec/"  # git-lfs, docs/spec.md
_GGUF = b"GGUF"  # ggml's docs/gguf.md, "File Structure"
_SAVE_SAFELY = 'get it as safetensors, or make it so where you trust it: docs/models.md, "Pickles"'
_SAFETENSORS_LENGTH_BYTES = 8  # of the number in front of the header: safetensors' README, "Format"


def file_fault(file: Path, suffixes: Collection[str] = (".safetensors",)) -> Fault | None:
    """
    What keeps a file, which is there, from being loaded as a model; None where nothing shows.

    Which user may read it is part of that.
    """
    try:
        fault = weights_fault(file)
    except OSError as exc:
        return unread_fault(file, exc)
    if fault is None and file.suffix not in suffixes:
        return Fault(found=f"{file} is no {' or '.join(suffixes)} file", advice="get the model as one")
    return fault


def weights_fault(file: Path) -> Fault | None:
    """
    What keeps a file of weights, which is there, from being loaded; None where nothing shows.

    Raises:
        OSError: It cannot be read.
    """
    if file.suffix in PICKLE_SUFFIXES:
        return pickle_fault(file)
    if is_pointer(file):
        return pointer_fault(file)
    if file.suffix == ".safetensors" and (wrong := _wrong_length(file)):
        return Fault(found=f"{file} {wrong}", advice=COPY_AGAIN)
    if file.suffix == GGUF_SUFFIX and not _begins_with(file, _GGUF):
        return Fault(found=f"{file} is no file of GGUF: it does not begin as one", advice=COPY_AGAIN)
    return None


def unread_fault(path: Path, exc: OSError) -> Fault:
    """Of a file or a folder that this user may not read."""
    advice = "let the user that runs the worker read it"
    return Fault(found=f"{exc.filename or path} cannot be read: {exc.strerror or exc}", advice=advice)


def is_pointer(file: Path) -> bool:
    """Whether git-lfs has put a pointer in the place of a file."""
    return _begins_with(file, _POINTER)


def _begins_with(file: Path, start: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(start)) == start


def pointer_fault(file: Path) -> Fault:
    """Of a file that is one."""
    return Fault(
        found=f"{file} is a git-lfs pointer, not the file itself",
        advice=f"install git-lfs, and run `git lfs pull` in {file.parent}",
    )


def pickle_fault(file: Path) -> Fault:
    """Of a file that is one."""
    return Fault(found=f"{file} is a pickle, which may run code while it is loaded", advice=_SAVE_SAFELY)


def _wrong_length(file: Path) -> str | None:
    """What contradicts the header of a safetensors file, which says where each tensor ends; None if nothing does."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = _SAFETENSORS_LENGTH_BYTES
        length = int.from_bytes(opened.read(start), "little")
        if not 0 < length <= size - start:
            return f"is cut short, or no safetensors file: it has {size} bytes"
        try:
            header = json.loads(opened.read(length))
            ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
            said = start + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "is no safetensors file: its header cannot be read"
    return None if said == size else f"has {size} bytes, and its header says {said}"
