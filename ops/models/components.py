"""The components of a pipeline, as `model_index.json`, their configurations and the headers of their weights say."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ops.models.files import Files
from workers.loading.weights.files import PICKLE_SUFFIXES
from workers.loading.weights.folder import INDEX
from workers.loading.weights.header import TensorHeader

# What diffusers and transformers look for, in this order.
_STEMS = ("diffusion_pytorch_model", "model")
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>.+?))?(?:-\d{5}-of-\d{5})?\.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """
    One component.

    Attributes:
        class_name: Of diffusers or transformers.
        config: Its `config.json`; empty where it has none.
        numbers: How many of each dtype it has, in the words of safetensors.
        matrix_numbers: How many of all are in matrices, which a quantization makes smaller.
    """

    name: str
    class_name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    matrix_numbers: int = 0

    @property
    def parameters(self) -> int:
        """How many numbers it has in all."""
        return sum(self.numbers.values())

    @property
    def dtype(self) -> str | None:
        """That most of its numbers have; None where it has none."""
        return max(self.numbers, key=self.numbers.__getitem__, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """
    A whole one: the index, and its components by name.

    Attributes:
        variant: Of the weights, where a component has no others: "fp16".
    """

    index: Mapping[str, Any]
    components: Mapping[str, Component]
    variant: str | None = None

    @property
    def class_name(self) -> str:
        """Of diffusers; empty where the index names none that diffusers has."""
        named = self.index.get("_class_name")
        return named if isinstance(named, str) else ""

    @property
    def denoiser(self) -> Component | None:
        """The component that the denoising steps run: the largest of those that may be it."""
        found = [each for name, each in self.components.items() if re.match(r"(unet|transformer|prior_prior)", name)]
        return max(found, key=lambda each: each.parameters, default=None)

    @property
    def parameters(self) -> int:
        """How many numbers all have."""
        return sum(each.parameters for each in self.components.values())

    def config(self, key: str) -> Any:
        """What "transformer.guidance_embeds" is: of a component's configuration, or, without a dot, of the index."""
        name, _, rest = key.rpartition(".")
        if not name:
            return self.index.get(rest)
        return self.components[name].config.get(rest) if name in self.components else None


def read_pipeline(files: Files, leave_out: Collection[str] = (), variant: str | None = None) -> Pipeline:
    """
    What the files of a pipeline say.

    Args:
        leave_out: Components that are not loaded.
        variant: Of the weights; None for plain ones, or the one that is needed where a component has no plain ones.

    Raises:
        ValueError: A file is not what its name says.
    """
    names, index = files.names(), files.read_json(INDEX)
    parts = {
        name: str(named[1])
        for name, named in index.items()
        if isinstance(named, list) and len(named) == 2 and isinstance(named[1], str) and not name.startswith("_")
    }
    loaded = {name: kind for name, kind in parts.items() if name not in leave_out}
    variant = variant or needed_variant(names)
    components = {name: _read_component(files, names, name, kind, variant) for name, kind in loaded.items()}
    return Pipeline(index=index, components=components, variant=variant)


def needed_variant(names: Collection[str]) -> str | None:
    """
    The variant of weights without which a component would have none; None where all have plain ones.

    Args:
        names: Of the files of a model.
    """
    variants: dict[str, set[str]] = defaultdict(set)
    for name in names:
        folder, _, file = name.rpartition("/")
        if match := _WEIGHTS.fullmatch(file):
            variants[folder].add(match["variant"] or "")
    return min((min(each) for each in variants.values() if "" not in each), default=None)


def pickled_component(names: Collection[str], leave_out: Collection[str] = ()) -> str | None:
    """
    The first component whose weights are in pickles alone, which no worker loads; None where none is.

    Args:
        names: Of the files of a model.
    """
    suffixes: dict[str, set[str]] = defaultdict(set)
    for name in names:
        folder, _, file = name.rpartition("/")
        suffixes[folder].add(PurePosixPath(file).suffix)
    pickled = (
        folder
        for folder, found in suffixes.items()
        if folder and folder not in leave_out and found & PICKLE_SUFFIXES and ".safetensors" not in found
    )
    return min(pickled, default=None)


def component_of(
    tensors: Iterable[TensorHeader], name: str, class_name: str = "", config: Mapping[str, Any] | None = None
) -> Component:
    """A component that has these tensors."""
    numbers, matrix_numbers = Counter[str](), 0
    for tensor in tensors:
        numbers[tensor.dtype] += tensor.numbers
        matrix_numbers += tensor.numbers if len(tensor.shape) == 2 else 0
    return Component(
        name=name, class_name=class_name, config=config or {}, numbers=dict(numbers), matrix_numbers=matrix_numbers
    )


def _read_component(files: Files, names: Collection[str], name: str, class_name: str, variant: str | None) -> Component:
    own = {each.removeprefix(f"{name}/") for each in names if each.startswith(f"{name}/")}
    config = files.read_json(f"{name}/config.json") if "config.json" in own else {}
    headers = [files.read_header(f"{name}/{file}") for file in _weights(files, name, own, variant)]
    return component_of([tensor for each in headers for tensor in each.values()], name, class_name, config)


def _weights(files: Files, part: str, own: Collection[str], variant: str | None) -> list[str]:
    """The files that a component's weights are loaded from: those of the variant, where it has them."""
    for middle in (f".{variant}", "") if variant else ("",):
        for stem in _STEMS:
            if f"{stem}{middle}.safetensors" in own:
                return [f"{stem}{middle}.safetensors"]
            index = f"{stem}.safetensors.index{middle}.json"
            if index in own:
                shards = files.read_json(f"{part}/{index}").get("weight_map", {})
                return sorted({str(each) for each in shards.values()} & {*own})
    return []
