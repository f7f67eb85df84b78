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


def write_gguf(file: Path, tensors: Mapping[str, tuple[int, list[int]]]) -> None:
    """A header alone, with values of each kind: each tensor a type in ggml's numbers, and a shape as torch has it."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little")

    def text(value: str) -> bytes:
        return number(len(value), 8) + value.encode()

    values = [
        text("general.architecture") + number(8, 4) + text("lumina2"),
        text("general.quantization_version") + number(4, 4) + number(2, 4),
        text("some.words") + number(9, 4) + number(8, 4) + number(2, 8) + text("a") + text("b"),
        text("some.numbers") + number(9, 4) + number(6, 4) + number(2, 8) + bytes(8),
    ]
    content = b"GGUF" + number(3, 4) + number(len(tensors), 8) + number(len(values), 8) + b"".join(values)
    for name, (kind, shape) in tensors.items():
        sides = b"".join(number(side, 8) for side in reversed(shape))
        content += text(name) + number(len(shape), 4) + sides + number(kind, 4) + number(0, 8)
    file.write_bytes(content)
