"""
Loads components with the weights of their linear layers in fewer bits, as an entry asks.

By the quantizers of diffusers and transformers, which make them smaller one by one while they are read: torchao's for a
byte a weight (int8, fp8), bitsandbytes' for half of one (nf4: Dettmers et al. 2023, "QLoRA", section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
import torch
import transformers

from jobs.catalogue.entry import Model
from jobs.catalogue.loading import Component
from workers.loading.errors import NotLoaded

_DENOISERS = ("transformer", "unet")  # what `quantization` of a whole entry is of


def check_device(entry: Model, device: torch.device) -> None:
    """
    Refuse what a device does not do.

    Raises:
        NotLoaded: It is a processor, and a quantization is for GPUs.
    """
    for line, how in entry.quantizations.items():
        if how == "nf4" and device.type == "cpu":
            raise NotLoaded(
                f'{line}: "nf4" is for GPUs, and this process computes on the processor: set min_vram_gb of '
                f'[models.{entry.name}] in models.toml, and such processes leave it out; or take "int8"'
            )


def naming_quantized(entry: Model, index: Mapping[str, Any]) -> Model:
    """
    The entry with what it asks of its denoiser as lines of that component.

    Args:
        index: What `model_index.json` of the pipeline says.

    Raises:
        NotLoaded: The pipeline has none.
    """
    if entry.quantization is None:
        return entry
    name = next((each for each in _DENOISERS if _is_there(index.get(each))), None)
    if name is None:
        raise NotLoaded(
            f"quantization: {index.get('_class_name')} has no {' and no '.join(_DENOISERS)}; name the component that "
            f'is to have it: [models.{entry.name}.components.NAME] with quantization = "{entry.quantization}"'
        )
    own = entry.components.get(name) or Component.model_construct()
    if (own.source or "").endswith(".gguf"):
        raise NotLoaded(f"quantization: components.{name} is a file of GGUF, which is quantized already; leave it out")
    named = own.model_copy(update={"quantization": own.quantization or entry.quantization})
    return entry.model_copy(update={"components": {**entry.components, name: named}})


def quantization_config(entry: Model, name: str, kind: Any) -> Any:
    """
    What `from_pretrained` of a component takes.

    Args:
        kind: Its class.

    Raises:
        NotLoaded: It has no weights.
    """
    how = entry.components[name].quantization
    if not issubclass(kind, torch.nn.Module):
        raise NotLoaded(f"components.{name}.quantization: {kind.__name__} has no weights; leave it out")
    library = transformers if issubclass(kind, transformers.PreTrainedModel) else diffusers
    if how == "nf4":
        dtype = getattr(torch, entry.components[name].dtype or entry.dtype)
        return library.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    return library.TorchAoConfig(Int8WeightOnlyConfig() if how == "int8" else Float8WeightOnlyConfig())


def quantize(component: Any, config: Any, name: str) -> Any:
    """
    A component that was loaded from one file, where diffusers takes every quantization for one that the file has.

    Raises:
        NotLoaded: It is one that is made while a component is loaded.
    """
    if not isinstance(config, diffusers.TorchAoConfig):
        raise NotLoaded(f'components.{name}.quantization: "nf4" is not made of one file; name a folder of it as source')
    from torchao.quantization import quantize_

    quantize_(component, config.quant_type)
    return check_quantized(component, name)


def check_quantized(component: Any, name: str) -> Any:
    """
    A component that was to be quantized, as it is.

    Raises:
        NotLoaded: Nothing of it was.
    """
    if not any(is_quantized(each) for each in component.parameters()):
        raise NotLoaded(f"components.{name}.quantization: it has no linear layers, so it has no effect; leave it out")
    return component


def is_quantized(parameter: Any) -> bool:
    """Whether a parameter is one of torchao's or bitsandbytes'."""
    return type(parameter).__module__.partition(".")[0] in ("torchao", "bitsandbytes")


def _is_there(named: Any) -> bool:
    return isinstance(named, list) and len(named) == 2 and named[1] is not None
