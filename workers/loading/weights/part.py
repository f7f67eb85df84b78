"""Whether the folder of one component of a pipeline is complete, as far as its files show."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from workers.loading.errors import Fault
from workers.loading.weights.files import (
    COPY_AGAIN,
    PICKLE_SUFFIXES,
    is_pointer,
    pickle_fault,
    pointer_fault,
    unread_fault,
    weights_fault,
)
from workers.loading.weights.header import read_header

# What diffusers and transformers look for, in this order; of a model in several files, the index that names them.
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_VARIANT = re.compile(r"(?:diffusion_pytorch_model|model)\.(?P<variant>.+?)(?:-\d{5}-of-\d{5})?\.safetensors")
_WEIGHT_SUFFIXES = {".safetensors", *PICKLE_SUFFIXES, ".msgpack", ".h5", ".onnx", ".onnx_data", ".gguf"}
_NO_VOCABULARY = {"special_tokens_map.json", "added_tokens.json", "tokenizer_config.json", "config.json"}
_VOCABULARY_SUFFIXES = {".json", ".txt", ".model", ".tiktoken"}


def part_faults(
    part: Path, class_name: str, variant: str | None = None, *, has_weights: bool = True
) -> Iterator[Fault]:
    """
    What keeps a component from being loaded.

    Args:
        class_name: Of diffusers or transformers, as `model_index.json` has it.
        variant: Of its weights; where it has none, its others are loaded.
        has_weights: Whether it needs them.
    """
    files = files_of(part)
    for file in files:
        if (file.suffix not in _WEIGHT_SUFFIXES or not file.exists()) and (fault := unreadable(file)):
            yield fault
    if "Tokenizer" in class_name:
        yield from _vocabulary_faults(part, files, class_name)
    elif not any(file.name.endswith("config.json") for file in files):
        yield Fault(found=f"{part} has no configuration, such as config.json", advice=COPY_AGAIN)
    elif part / "config.json" in files and not class_name.endswith(("Processor", "Extractor", "Scheduler")):
        yield from _weight_faults(part, files, variant, needed=has_weights)


def first_part_fault(part: Path, variant: str | None) -> Fault | None:
    """The first thing of any component's folder, whatever its class is; None where none shows."""
    try:
        return next(part_faults(part, "", variant), None)
    except OSError as exc:
        return unread_fault(part, exc)


def unreadable(file: Path) -> Fault | None:
    """What is wrong with a file that is no weights; None where nothing shows."""
    if not file.exists():
        return Fault(found=f"{file} links to what is not there", advice=COPY_AGAIN)
    if is_pointer(file):
        return pointer_fault(file)
    if file.suffix == ".json":
        try:
            json.loads(file.read_bytes())
        except ValueError as exc:
            return Fault(found=f"{file} is not valid JSON: {exc}", advice=COPY_AGAIN)
    return None


def _vocabulary_faults(part: Path, files: Sequence[Path], class_name: str) -> Iterator[Fault]:
    """Without one, transformers makes a tokenizer all the same, to which every word is the same unknown one."""
    if class_name.startswith("ByT5"):  # Its vocabulary are the 256 bytes.
        return
    if not any(file.suffix in _VOCABULARY_SUFFIXES and file.name not in _NO_VOCABULARY for file in files):
        yield Fault(found=f"{part} has no vocabulary, such as tokenizer.json", advice=COPY_AGAIN)


def _weight_faults(part: Path, files: Sequence[Path], variant: str | None, *, needed: bool) -> Iterator[Fault]:
    there = variants_of(files)
    weights = _weights_of(part, variant if variant in there else None)
    pickles = [file for file in files if file.suffix in PICKLE_SUFFIXES]
    if pickles and not any(file.suffix in _WEIGHT_SUFFIXES - PICKLE_SUFFIXES for file in files):
        yield pickle_fault(pickles[0])
    elif needed and not weights and there:
        found = f"{part} has weights of variant {', '.join(sorted(there))} alone"
        yield Fault(found=found, advice=f'set variant = "{min(there)}" of its entry in models.toml')
    elif needed and not weights and not any(file.suffix in _WEIGHT_SUFFIXES for file in files):
        yield Fault(found=f"{part} has no weights, such as {_WEIGHTS[0]} or {_WEIGHTS[1]}", advice=COPY_AGAIN)
    for file in weights:
        if not file.exists():
            yield Fault(found=f"{file} is not there, and the model's index names it", advice=COPY_AGAIN)
        elif fault := weights_fault(file):
            yield fault
        elif absent := sorted(weights[file] - read_header(file).keys()):
            named = f"{absent[0]} and {len(absent) - 1} more" if len(absent) > 1 else absent[0]
            yield Fault(found=f"{file} has no {named}, which the model's index says it has", advice=COPY_AGAIN)


def variants_of(files: Sequence[Path]) -> set[str]:
    """Of which a component has weights that can be loaded."""
    found = (_VARIANT.fullmatch(file.name) for file in files)
    return {match["variant"] for match in found if match}


def files_of(part: Path) -> list[Path]:
    """Those of a component, sorted; links, too, that lead nowhere."""
    return sorted(path for path in part.iterdir() if path.is_file() or path.is_symlink())


def _weights_of(part: Path, variant: str | None) -> dict[Path, set[str]]:
    """Files that are loaded, each with the tensors that an index says it has."""
    middle = f".{variant}" if variant else ""
    for name in _WEIGHTS:
        whole = part / f"{name.removesuffix('.safetensors')}{middle}.safetensors"
        if whole.exists():
            return {whole: set()}
        index = part / f"{name}.index{middle}.json"
        if index.exists():
            return {part / shard: tensors for shard, tensors in _shards(index).items()}
    return {}


def _shards(index: Path) -> dict[str, set[str]]:
    shards: dict[str, set[str]] = defaultdict(set)
    try:
        for tensor, shard in sorted(
            json.loads(index.read_bytes())["weight_map"].items(), key=lambda each: str(each[1])
        ):
            shards[str(shard)].add(tensor)
        return shards
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # Invalid JSON is reported already; the library that loads it reports anything else.
