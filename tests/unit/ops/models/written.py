"""Folders of models as their files show them, written by hand: nothing in them could be loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNET_CONFIG = {"sample_size": 64, "in_channels": 4, "time_cond_proj_dim": None}
VAE_CONFIG = {"block_out_channels": [128, 256, 512, 512]}


def write_safetensors(file: Path, tensors: Mapping[str, tuple[str, list[int]]]) -> None:
    """A file with tensors of zeros: each a dtype of four bytes or of two, and a shape."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = 4 if dtype == "F32" else 2
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def write_stable_diffusion(folder: Path, dtype: str = "F16", **index: Any) -> Path:
    """Of Stable Diffusion 1.5's form, with few weights."""
    classes = {
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", **classes, **index})
    write_json(folder / "scheduler" / "scheduler_config.json", {})
    write_json(folder / "tokenizer" / "vocab.json", {"a": 0})
    for name, config, weights in (
        ("text_encoder", {}, "model.safetensors"),
        ("unet", UNET_CONFIG, "diffusion_pytorch_model.safetensors"),
        ("vae", VAE_CONFIG, "diffusion_pytorch_model.safetensors"),
    ):
        write_json(folder / name / "config.json", config)
        write_safetensors(folder / name / weights, {"first": (dtype, [3, 2]), "second": (dtype, [4])})
    return folder
