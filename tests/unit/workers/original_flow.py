"""
Writes a transformer into one file, under the names that its first trainers gave the tensors.

The other way round than diffusers' loaders/single_file_utils.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

_Z_IMAGE = {
    "all_final_layer.2-1.": "final_layer.",
    "all_x_embedder.2-1.": "x_embedder.",
    ".attention.to_out.0.": ".attention.out.",
    ".attention.norm_k.": ".attention.k_norm.",
    ".attention.norm_q.": ".attention.q_norm.",
}
_FLUX2 = {
    r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj": r"single_blocks.\1.linear1",
    r"^single_transformer_blocks\.(\d+)\.attn\.to_out": r"single_blocks.\1.linear2",
    r"^single_transformer_blocks\.(\d+)\.attn\.norm_(q|k)\.weight": r"single_blocks.\1.norm.\2.scale",
    r"^transformer_blocks\.(\d+)\.attn\.norm_added_(q|k)\.weight": r"double_blocks.\1.txt_attn.norm.\2.scale",
    r"^transformer_blocks\.(\d+)\.attn\.norm_(q|k)\.weight": r"double_blocks.\1.img_attn.norm.\2.scale",
    r"^transformer_blocks\.(\d+)\.attn\.to_out\.0": r"double_blocks.\1.img_attn.proj",
    r"^transformer_blocks\.(\d+)\.attn\.to_add_out": r"double_blocks.\1.txt_attn.proj",
    r"^transformer_blocks\.(\d+)\.ff_context\.linear_in": r"double_blocks.\1.txt_mlp.0",
    r"^transformer_blocks\.(\d+)\.ff_context\.linear_out": r"double_blocks.\1.txt_mlp.2",
    r"^transformer_blocks\.(\d+)\.ff\.linear_in": r"double_blocks.\1.img_mlp.0",
    r"^transformer_blocks\.(\d+)\.ff\.linear_out": r"double_blocks.\1.img_mlp.2",
    r"^transformer_blocks\.(\d+)\.attn\.qkv\.": r"double_blocks.\1.img_attn.qkv.",
    r"^transformer_blocks\.(\d+)\.attn\.added_qkv\.": r"double_blocks.\1.txt_attn.qkv.",
    r"\.norm\.q\.scale$": ".norm.query_norm.scale",
    r"\.norm\.k\.scale$": ".norm.key_norm.scale",
    r"^time_guidance_embed\.timestep_embedder\.linear_1": "time_in.in_layer",
    r"^time_guidance_embed\.timestep_embedder\.linear_2": "time_in.out_layer",
    r"^time_guidance_embed\.guidance_embedder\.linear_1": "guidance_in.in_layer",
    r"^time_guidance_embed\.guidance_embedder\.linear_2": "guidance_in.out_layer",
    r"^(\w+_stream_modulation\w*)\.linear": r"\1.lin",
    r"^x_embedder": "img_in",
    r"^context_embedder": "txt_in",
    r"^proj_out": "final_layer.linear",
    r"^norm_out\.linear": "final_layer.adaLN_modulation.1",
}


def save_z_image(pipeline: Any, file: Path) -> None:
    """Of Z-Image: queries, keys and values are one matrix."""
    tensors = _together(pipeline.transformer.state_dict(), ("to_q", "to_k", "to_v"), "qkv")
    for new, old in _Z_IMAGE.items():
        tensors = {name.replace(new, old): each for name, each in tensors.items()}
    save_file(tensors, file)


def save_flux2(pipeline: Any, file: Path) -> None:
    """Of FLUX.2: likewise, and shift goes before scale."""
    tensors = _together(pipeline.transformer.state_dict(), ("to_q", "to_k", "to_v"), "qkv")
    tensors = _together(tensors, ("add_q_proj", "add_k_proj", "add_v_proj"), "added_qkv")
    tensors["norm_out.linear.weight"] = torch.cat(tensors["norm_out.linear.weight"].chunk(2)[::-1])
    for new, old in _FLUX2.items():
        tensors = {re.sub(new, old, name): each for name, each in tensors.items()}
    save_file(tensors, file)


def _together(tensors: dict[str, torch.Tensor], parts: tuple[str, ...], whole: str) -> dict[str, torch.Tensor]:
    """With tensors that others keep apart in one, along their first side."""
    left = {name: each.contiguous() for name, each in tensors.items()}
    first = f".{parts[0]}."
    for name in [each for each in left if first in each]:
        left[name.replace(first, f".{whole}.")] = torch.cat([left.pop(name.replace(parts[0], part)) for part in parts])
    return left
