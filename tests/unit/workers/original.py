"""
Writes a pipeline of Stable Diffusion into one file, under the names that its first trainers gave the tensors: 1, 2, XL.

The other way round than diffusers' loading, as its `scripts/convert_diffusers_to_original_stable_diffusion.py` has it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_VAE = {
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
    "mid_block.attentions.0": "mid.attn_1",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}

_OPEN_CLIP = {
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "fc1": "c_fc",
    "fc2": "c_proj",
    "self_attn": "attn",
    "final_layer_norm": "ln_final",
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding": "positional_embedding",
}

Tensors = dict[str, torch.Tensor]


def save_original(pipeline: Any, file: Path, without: Sequence[str] = ()) -> None:
    """Write a pipeline, without the components or tensors whose new names begin so."""
    tensors = {f"model.diffusion_model.{_of_unet(name, pipeline)}": each for name, each in _all(pipeline.unet)}
    tensors |= {
        f"first_stage_model.{_of_vae(name, pipeline)}": _kernel(name, each) for name, each in _all(pipeline.vae)
    }
    is_xl = hasattr(pipeline, "text_encoder_2")
    is_open_clip = not is_xl and pipeline.text_encoder.config.hidden_act == "gelu"  # Stable Diffusion 2
    prefix = f"{'conditioner.embedders.0' if is_xl else 'cond_stage_model'}.transformer.text_model."
    if is_open_clip:
        tensors |= _of_open_clip(pipeline.text_encoder, "cond_stage_model.model")
    else:
        tensors |= {f"{prefix}{name.removeprefix('text_model.')}": each for name, each in _all(pipeline.text_encoder)}
    if is_xl:
        tensors |= _of_open_clip(pipeline.text_encoder_2, "conditioner.embedders.1.model")
    kept = {name: each.contiguous() for name, each in tensors.items() if not name.startswith(tuple(without))}
    save_file(kept, file, metadata={"format": "pt"})


def _of_open_clip(encoder: Any, prefix: str) -> Tensors:
    """Queries, keys and values are one matrix there."""
    tensors = {_renamed(name.removeprefix("text_model."), _OPEN_CLIP): each for name, each in _all(encoder)}
    if "text_projection.weight" in tensors:
        tensors["text_projection"] = tensors.pop("text_projection.weight").T
    tensors["positional_embedding"] = tensors.pop("positional_embedding.weight")
    for name in [each for each in tensors if ".attn.q_proj." in each]:
        parts = [tensors.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        tensors[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return {f"{prefix}.{name}": each for name, each in tensors.items()}


def _all(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(name, each) for name, each in module.state_dict().items() if "position_ids" not in name]


def _of_unet(name: str, pipeline: Any) -> str:
    layers = pipeline.unet.config.layers_per_block + 1
    ups = pipeline.unet.config.up_block_types
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
        way, block, kind, layer, rest = match.groups()
        number = layers * int(block) + int(layer)
        place = f"input_blocks.{number + 1}" if way == "down" else f"output_blocks.{number}"
        name = f"{place}.{0 if kind == 'resnets' else 1}.{rest}"
    elif match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
        name = f"input_blocks.{layers * (int(match[1]) + 1)}.0.op.{match[2]}"
    elif match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.(.*)", name):
        block = int(match[1])
        behind = 2 if "Attn" in ups[block] else 1
        name = f"output_blocks.{layers * block + layers - 1}.{behind}.{match[2]}"
    name = _renamed(name, _UNET)
    return _renamed(name, _RESNET) if "transformer_blocks" not in name else name


def _of_vae(name: str, pipeline: Any) -> str:
    last = len(pipeline.vae.config.block_out_channels) - 1
    match = re.match(r"(.*)(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    if match:
        front, way, block, kind, layer, rest = match.groups()
        place = int(block) if way == "down" else last - int(block)
        part = f"block.{layer}" if kind == "resnets" else f"{way}sample"
        name = f"{front}{way}.{place}.{part}.{rest}"
    return _renamed(name, _VAE)


def _renamed(name: str, names: dict[str, str]) -> str:
    for new, old in names.items():
        name = re.sub(rf"(^|\.){re.escape(new)}\.", rf"\g<1>{old}.", name)
    return name


def _kernel(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Attention's linear layers were convolutions of one pixel."""
    is_linear = re.search(r"attentions.*(to_q|to_k|to_v|to_out\.0)\.weight", name)
    return tensor[..., None, None] if is_linear else tensor
