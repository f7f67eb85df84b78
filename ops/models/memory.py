"""
What a model's weights take of a device, and which devices of this machine have as much.

In GB (10⁹ bytes), as cards are named, and `min_vram_gb` of an entry is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.catalogue.loading import GGUF_SUFFIX, Quantization
from ops.models.components import Component, Pipeline, component_of
from workers.loading.weights.component_sources import component_place
from workers.loading.weights.header import TensorHeader, read_header

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# Of a weight of a linear layer; nf4 has a scale of four bytes for each 64 weights.
_QUANTIZED_BYTES: Mapping[Quantization, float] = {"int8": 1, "fp8": 1, "nf4": 0.5 + 4 / 64}
_DENOISERS = ("transformer", "unet")
_STAY = ("vae",)  # on the device, where layers of others come and go
# How names of tensors begin in one file, of CompVis and those after them; the rest are the denoiser's.
_IN_ONE_FILE = {
    "text_encoder": ("cond_stage_model.", "conditioner.", "text_encoders."),
    "vae": ("first_stage_model.", "vae."),
}
_OF_UNETS = ("stable-diffusion", "stable-diffusion-xl")
_SHOWN = 3  # components, the largest


def with_components(pipeline: Pipeline, catalogue: Catalogue, model: Model) -> tuple[Pipeline, dict[str, int]]:
    """
    A pipeline with the components that an entry names, as far as they lie here: of a hub they count as its own.

    Returns:
        The pipeline, and bytes of those that stay in memory as they are in their file.

    Raises:
        ValueError: A file of them is no safetensors file.
    """
    components, kept = dict(pipeline.components), {}
    for name, said in model.components.items():
        place = Path(component_place(catalogue, model, name))
        if place.suffix == GGUF_SUFFIX:
            kept[name] = place.stat().st_size
            components.setdefault(name, Component(name=name, class_name=""))
        elif said.source is not None and place.exists():
            files = [place] if place.is_file() else _weights_of(place, said.variant or model.variant)
            tensors = [tensor for file in files for tensor in read_header(file).values()]
            components[name] = component_of(tensors, name)
    return replace(pipeline, components=components), kept


def pipeline_in(file: Path, family: str) -> Pipeline:
    """
    The components of a model in one file, as far as the names that trainers give their tensors tell them apart.

    Raises:
        ValueError: It is no safetensors file.
    """
    parts: dict[str, list[TensorHeader]] = {}
    for tensor, header in read_header(file).items():
        of = next((part for part, begins in _IN_ONE_FILE.items() if tensor.startswith(begins)), None)
        parts.setdefault(of or ("unet" if family in _OF_UNETS else "transformer"), []).append(header)
    return Pipeline(index={}, components={name: component_of(tensors, name) for name, tensors in parts.items()})


def weights_bytes(pipeline: Pipeline, model: Model, elsewhere: Mapping[str, int]) -> dict[str, int]:
    """
    Of each component that has weights, as a worker loads it; the largest first.

    Args:
        elsewhere: Bytes of components that stay as they are in a file of their own.
    """
    denoiser = next((name for name in _DENOISERS if name in pipeline.components), None)
    sizes = {
        name: elsewhere[name] if name in elsewhere else _bytes_of(each, model, is_denoiser=name == denoiser)
        for name, each in pipeline.components.items()
    }
    return dict(sorted(((name, size) for name, size in sizes.items() if size), key=lambda each: -each[1]))


def describe_weights(sizes: Mapping[str, int], model: Model) -> str:
    """For a person: how many bytes as its entry loads it, and which components have most of them."""
    largest = ", ".join(f"{name} {_gb(size)}" for name, size in [*sizes.items()][:_SHOWN])
    return f"weights take {_gb(sum(sizes.values()))} GB as {model.loaded_as} ({largest})"


def device_bytes(sizes: Mapping[str, int], model: Model) -> int:
    """How much of them a device holds at most; what is computed with them comes on top."""
    elsewhere = "text_encoder" if model.text_device == "cpu" else " "
    on_device = {name: size for name, size in sizes.items() if not name.startswith(elsewhere)}
    if model.offload == "group":
        return sum(size for name, size in on_device.items() if name in _STAY)
    return max(on_device.values(), default=0) if model.offload == "model" else sum(on_device.values())


def fitting(needed: int, cards_mib: Sequence[int]) -> tuple[bool, str]:
    """
    Whether so many bytes fit into any GPU of this machine, and for a person into which; True where there is none.

    Args:
        cards_mib: Memory of each, in their order.
    """
    if not cards_mib:
        return True, ""
    fits = [f"GPU {number} ({_gb(mib << 20)} GB)" for number, mib in enumerate(cards_mib) if needed < mib << 20]
    small = [f"GPU {number} ({_gb(mib << 20)} GB)" for number, mib in enumerate(cards_mib) if needed >= mib << 20]
    found = [f"fits into {', '.join(fits)}"] if fits else []
    found += [f"not into {', '.join(small)}"] if small else []
    return bool(fits), f"of a device {_gb(needed)} GB, which {', and '.join(found)}"


def _weights_of(folder: Path, variant: str | None) -> list[Path]:
    """Of a component's folder: those of the variant, where it has any."""
    files = sorted(folder.glob("*.safetensors"))
    own = [file for file in files if variant and f".{variant}" in file.name]
    return own or [file for file in files if file.name.count(".") == 1] or files


def _bytes_of(component: Component, model: Model, *, is_denoiser: bool) -> int:
    own = model.components.get(component.name)
    each = _BYTES[(own.dtype if own else None) or model.dtype]
    how = (own.quantization if own else None) or (model.quantization if is_denoiser else None)
    small = component.matrix_numbers if how else 0
    return (component.parameters - small) * each + int(small * (_QUANTIZED_BYTES[how] if how else 0))


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2g}" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f}"
