"""
A model in one file: which published one its tensors are like, or the pipeline whose configuration it is given.

The names are those that its trainers gave its tensors: CHECKPOINT_KEY_NAMES and `infer_diffusers_model_type` of
diffusers' loaders/single_file_utils.py, which need torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ops.models.components import Component, Pipeline, read_pipeline
from ops.models.files import FolderFiles
from ops.models.published import class_of_family, published
from workers.loading.weights.header import TensorHeader

_DENOISER = "model.diffusion_model."  # before its tensors' names, where the file has other components, too

_XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
_CLIP = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
_CHROMA = "distilled_guidance_layer.in_proj.bias"
_FLUX = "double_blocks.0.img_attn.norm.key_norm.scale"
_FLUX_GUIDANCE, _FLUX_IN, _FLUX_CHANNELS = "guidance_in.in_layer.bias", "img_in.weight", 64
_SD3, _SD35_LARGE = "joint_blocks.0.context_block.adaLN_modulation.1.bias", "joint_blocks.37.x_block.mlp.fc1.weight"

Header = Mapping[str, TensorHeader]


def pipeline_of_file(header: Header, configuration: Path | None) -> Pipeline | None:
    """
    What a file makes with its configuration; None where its tensors are like none of a pipeline that is known.

    Args:
        header: Its tensors.
        configuration: A folder of such a pipeline; None for that of the published model that it is like.

    Raises:
        ValueError: A file of the configuration is not what its name says.
    """
    if configuration is not None:
        return _with_weights(read_pipeline(FolderFiles(configuration), leave_out=("safety_checker",)), header)
    name = like_published(header)
    return None if name is None else _with_weights(_as_published(name), header)


def like_published(header: Header) -> str | None:
    """The name, in published.toml, of the model that a file's tensors are like; None where it is like none."""
    names = {name.removeprefix(_DENOISER): each for name, each in header.items()}
    if _XL in names:
        return "sdxl"
    if _CLIP in names and any(name.startswith("input_blocks.") for name in names):
        return "sd15"
    if _SD35_LARGE in names:
        return "sd35-large"
    if _SD3 in names:
        return "sd35-medium"
    return _like_flux(names)


def _like_flux(names: Header) -> str | None:
    if _CHROMA in names:
        return "chroma"
    if _FLUX not in names or _FLUX_IN not in names or names[_FLUX_IN].shape[-1] != _FLUX_CHANNELS:
        return None  # With more channels it fills, or follows a depth map, which no job has.
    return "flux-dev" if _FLUX_GUIDANCE in names else "flux-schnell"


def _as_published(name: str) -> Pipeline:
    """A published model, as far as its configuration tells it from others."""
    model = published(name)
    index: dict[str, Any] = {"_class_name": class_of_family(model.entry["family"])}
    configs: dict[str, dict[str, Any]] = {part: {} for part in model.parameters}
    for key, value in model.told_by.items():
        part, _, rest = key.rpartition(".")
        (configs[part] if part else index)[rest] = value
    components = {part: Component(name=part, class_name="", config=config) for part, config in configs.items()}
    return Pipeline(index=index, components=components)


def _with_weights(pipeline: Pipeline, header: Header) -> Pipeline:
    """With all weights of a file as the denoiser's: which are of which component its names do not say alike."""
    numbers: Counter[str] = Counter()
    for tensor in header.values():
        numbers[tensor.dtype] += tensor.numbers
    bare = {name: replace(each, numbers={}) for name, each in pipeline.components.items()}
    denoiser = replace(pipeline, components=bare).denoiser
    if denoiser is None:
        return pipeline
    return replace(pipeline, components=bare | {denoiser.name: replace(denoiser, numbers=dict(numbers))}, variant=None)
