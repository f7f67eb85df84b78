"""
Published models at their real sizes, with random weights: what a pass costs does not depend on what is in it.

The configurations are written after `stable-diffusion-v1-5/stable-diffusion-v1-5` and
`stabilityai/stable-diffusion-xl-base-1.0`; a test compares the numbers of parameters with the published ones. Their
vocabularies are not here, so prompts become tokens by the built-in model's, which changes nothing in the sizes: texts
have 77 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec

_TOKENIZER = Path(__file__).resolve().parents[2] / "builtin" / "model" / "tokenizer"

_PIPELINES: dict[str, Any] = {
    "stable-diffusion": StableDiffusionPipeline,
    "stable-diffusion-xl": StableDiffusionXLPipeline,
}

Configuration = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """
    One model family's published member.

    Attributes:
        family: As in the catalogue.
        unet, vae: What differs from diffusers' own defaults.
        text_encoders: One, or two of which the second has a projection.
        scheduler: Its class in diffusers, and its configuration.
        guidance_scale: The pipeline's default.
    """

    name: str
    family: str
    unet: Configuration
    vae: Configuration
    text_encoders: tuple[Configuration, ...]
    scheduler: tuple[str, Configuration]
    guidance_scale: float
    pipeline: Configuration = field(default_factory=dict)


_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}
_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
}
_CLIP_L = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
_CLIP_BIG_G = {
    **_CLIP_L,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}

STABLE_DIFFUSION_15 = Published(
    name="sd-1.5",
    family="stable-diffusion",
    unet={
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
    },
    vae={**_VAE, "sample_size": 512, "scaling_factor": 0.18215},
    text_encoders=(_CLIP_L,),
    scheduler=("PNDMScheduler", {**_BETAS, "skip_prk_steps": True, "set_alpha_to_one": False}),
    guidance_scale=7.5,
    pipeline={"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
)
STABLE_DIFFUSION_XL = Published(
    name="sdxl",
    family="stable-diffusion-xl",
    unet={
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 2,
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    vae={**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
    text_encoders=(_CLIP_L, _CLIP_BIG_G),
    scheduler=("EulerDiscreteScheduler", {**_BETAS, "timestep_spacing": "leading"}),
    guidance_scale=5.0,
    pipeline={"force_zeros_for_empty_prompt": True, "add_watermarker": False},
)


def build(published: Published, device: torch.device, dtype: str, seed: int = 0) -> Any:
    """A diffusers pipeline on a device, with random weights."""
    torch.manual_seed(seed)
    length = published.text_encoders[0]["max_position_embeddings"]
    tokenizer = CLIPTokenizer.from_pretrained(_TOKENIZER, model_max_length=length)
    with torch.device(device):
        models = {"unet": UNet2DConditionModel(**published.unet), "vae": AutoencoderKL(**published.vae)}
        for suffix, configuration in zip(("", "_2"), published.text_encoders, strict=False):
            ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
            text_model = CLIPTextModelWithProjection if suffix else CLIPTextModel
            models[f"text_encoder{suffix}"] = text_model(CLIPTextConfig(**configuration, **ids))
    for model in models.values():
        torch.nn.Module.to(
            model, device=device, dtype=getattr(torch, dtype)
        )  # diffusers' own warns of modules that it does not have.
        model.eval()
    tokenizers = {name.replace("text_encoder", "tokenizer"): tokenizer for name in models if "text" in name}
    scheduler, configuration = published.scheduler
    parts = models | tokenizers | {"scheduler": getattr(diffusers, scheduler).from_config(configuration)}
    return _PIPELINES[published.family](**parts, **published.pipeline)


def entry_of(published: Published, side: int, steps: int, dtype: str) -> Model:
    """What a catalogue would say of it. `side` in pixels."""
    fields = {
        "name": f"{published.name}-{side}",
        "source": "random weights",
        "revision": "random",
        "dtype": dtype,
        "family": published.family,
        "schedulers": ("default",),
        "defaults": {
            "width": side,
            "height": side,
            "num_inference_steps": steps,
            "guidance_scale": published.guidance_scale,
            "scheduler": "default",
        },
        "limits": {"min_side": 8, "max_side": side, "max_steps": 1_000, "max_n": 1},
    }
    return Model.model_validate(fields)


def spec_of(entry: Model, seed: int) -> GenerateSpec:
    """A job of default parameters, with a prompt of its own."""
    fields = {"model": entry.name, "prompt": f"a picture of {seed} things", "seed": seed}
    return GenerateSpec.model_validate(entry.defaults.model_dump() | fields)
