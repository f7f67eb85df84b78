"""
Whether a model's folder is complete, as far as its files show. Nothing is loaded, and torch is not needed.

Worth asking first: for a pointer of git-lfs, a file that is cut short or a vocabulary that is missing, the libraries
that load give no reason that helps, or none at all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.catalogue.entry import Model

INDEX = "model_index.json"

_POINTER = b"version https://git-lfs.github.com/spec/"  # git-lfs, docs/spec.md
_COPY_AGAIN = "copy the model again"
_WHOLE = "put a whole diffusers folder there, as `save_pretrained` writes it"

# What diffusers and transformers look for, in this order; of a model in several files, the index that names them.
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
# Written by torch.save. Reading one may run what is in it; torch's weights_only has been got around (CVE-2025-32434).
_PICKLE_SUFFIXES = {".bin", ".ckpt", ".pt", ".pth"}
_SAVE_SAFELY = 'get it as safetensors, or make it so where you trust it: docs/models.md, "Pickles"'
_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".onnx_data", ".gguf"}
_NO_VOCABULARY = {"special_tokens_map.json", "added_tokens.json", "tokenizer_config.json", "config.json"}
_VOCABULARY_SUFFIXES = {".json", ".txt", ".model", ".tiktoken"}
_SAFETENSORS_LENGTH_BYTES = 8  # of the number in front of the header: safetensors' README, "Format"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a folder, and what to do about it: two parts of a sentence, without a full stop."""

    found: str
    advice: str


def not_loaded(model: Model) -> frozenset[str]:
    """Components that a worker leaves out, whatever the folder has."""
    return frozenset({"safety_checker"} if model.family == "stable-diffusion" else ())


def first_fault(folder: Path, leave_out: Collection[str] = ()) -> Fault | None:
    """
    The first thing that keeps a pipeline from being loaded from a folder; None where the files show none.

    Args:
        leave_out: Components that are not loaded.
    """
    try:
        return next(_faults(folder, leave_out), None)
    except OSError as exc:
        advice = "let the user that runs the worker read it"
        return Fault(found=f"{exc.filename or folder} cannot be read: {exc.strerror or exc}", advice=advice)


def _faults(folder: Path, leave_out: Collection[str]) -> Iterator[Fault]:
    if not (folder / INDEX).is_file():
        yield Fault(found=f"{folder} has no {INDEX}", advice=_WHOLE)
        return
    if fault := _unreadable(folder / INDEX):
        yield fault
        return
    index = json.loads((folder / INDEX).read_bytes())
    if not isinstance(index, dict):
        yield Fault(found=f"{folder / INDEX} holds no JSON object", advice=_COPY_AGAIN)
        return
    for name, named in index.items():
        if not name.startswith("_") and _is_component(named) and name not in leave_out:
            yield from _part_faults(folder, name, str(named[1]))


def _is_component(named: Any) -> bool:
    """`[library, class]`; both are null for one that the pipeline goes without."""
    return isinstance(named, list) and len(named) == 2 and all(isinstance(each, str) for each in named)


def _part_faults(folder: Path, name: str, class_name: str) -> Iterator[Fault]:
    part = folder / name
    if not part.is_dir():
        # diffusers then looks for its files in the folder itself.
        if not any(path.name != INDEX for path in folder.glob("*config.json")):
            yield Fault(found=f"{INDEX} names {name}, and there is no folder {part}", advice=_COPY_AGAIN)
        return
    files = sorted(path for path in part.iterdir() if path.is_file() or path.is_symlink())
    for file in files:
        if file.suffix not in _WEIGHT_SUFFIXES and (fault := _unreadable(file)):
            yield fault
    if "Tokenizer" in class_name:
        yield from _vocabulary_faults(part, files, class_name)
    elif not any(file.name.endswith("config.json") for file in files):
        yield Fault(found=f"{part} has no configuration, such as config.json", advice=_COPY_AGAIN)
    elif part / "config.json" in files and not class_name.endswith(("Processor", "Extractor", "Scheduler")):
        yield from _weight_faults(part, files)


def _unreadable(file: Path) -> Fault | None:
    if not file.exists():
        return Fault(found=f"{file} links to what is not there", advice=_COPY_AGAIN)
    if _is_pointer(file):
        return _pointer_fault(file)
    if file.suffix == ".json":
        try:
            json.loads(file.read_bytes())
        except ValueError as exc:
            return Fault(found=f"{file} is not valid JSON: {exc}", advice=_COPY_AGAIN)
    return None


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER


def _pointer_fault(file: Path) -> Fault:
    return Fault(
        found=f"{file} is a git-lfs pointer, not the file itself",
        advice=f"install git-lfs, and run `git lfs pull` in {file.parent}",
    )


def _pickle_fault(file: Path) -> Fault:
    return Fault(found=f"{file} is a pickle, which may run code while it is loaded", advice=_SAVE_SAFELY)


def _vocabulary_faults(part: Path, files: list[Path], class_name: str) -> Iterator[Fault]:
    """Without one, transformers makes a tokenizer all the same, to which every word is the same unknown one."""
    if class_name.startswith("ByT5"):  # Its vocabulary are the 256 bytes.
        return
    if not any(file.suffix in _VOCABULARY_SUFFIXES and file.name not in _NO_VOCABULARY for file in files):
        yield Fault(found=f"{part} has no vocabulary, such as tokenizer.json", advice=_COPY_AGAIN)


def _weight_faults(part: Path, files: list[Path]) -> Iterator[Fault]:
    weights = _weights_of(part)
    pickles = [file for file in files if file.suffix in _PICKLE_SUFFIXES]
    if pickles and not any(file.suffix in _WEIGHT_SUFFIXES - _PICKLE_SUFFIXES for file in files):
        yield _pickle_fault(pickles[0])
    elif not weights and not any(file.suffix in _WEIGHT_SUFFIXES for file in files):
        yield Fault(found=f"{part} has no weights, such as {_WEIGHTS[0]} or {_WEIGHTS[1]}", advice=_COPY_AGAIN)
    for file in weights:
        if not file.exists():
            yield Fault(found=f"{file} is not there, and the model's index names it", advice=_COPY_AGAIN)
        elif file.suffix in _PICKLE_SUFFIXES:
            yield _pickle_fault(file)
        elif _is_pointer(file):
            yield _pointer_fault(file)
        elif file.suffix == ".safetensors" and (wrong := _wrong_length(file)):
            yield Fault(found=f"{file} {wrong}", advice=_COPY_AGAIN)


def _weights_of(part: Path) -> list[Path]:
    for name in _WEIGHTS:
        if (part / name).exists():
            return [part / name]
        index = part / f"{name}.index.json"
        if index.exists():
            return [part / shard for shard in _shards(index)]
    return []


def _shards(index: Path) -> list[str]:
    try:
        return sorted({str(shard) for shard in json.loads(index.read_bytes())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # Invalid JSON is reported already; the library that loads it reports anything else.


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
