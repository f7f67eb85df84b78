"""
Flow-matching models at their published sizes.

The configurations are those of `Tongyi-MAI/Z-Image-Turbo`, `black-forest-labs/FLUX.2-klein-4B` and `FLUX.1-dev`, and
`Qwen/Qwen-Image`; what is not written here is diffusers' own default, which is theirs. A test compares the numbers of
parameters.
"""

from __future__ import annotations

from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import Qwen3ForCausalLM, Qwen3Model

from workers.bench.published.model import Configuration, Part, PublishedModel
from workers.bench.published.text_encoders import CLIP_L, QWEN25_VL_7B, T5_XXL, clip_tokenizer, qwen3_4b
from workers.bench.tiny_parts import SHIFT_BY_SIZE, qwen_tokenizer, t5_tokenizer

_FLUX_VAE = Part(
    kind=AutoencoderKL,
    values={
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 16,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    },
)


def _true_guidance(scale: float) -> Configuration:
    """As Qwen-Image's call takes it: without a negative prompt it has none."""
    return {"true_cfg_scale": scale, "negative_prompt": [" "] if scale > 1 else None}


Z_IMAGE_TURBO = PublishedModel(
    name="z-image-turbo",
    family="z-image",
    guidance="true",
    pipeline=(ZImagePipeline, {}),
    parts={
        "transformer": Part(kind=ZImageTransformer2DModel),
        "vae": _FLUX_VAE,
        "text_encoder": qwen3_4b(Qwen3Model),
    },
    tokenizers={"tokenizer": qwen_tokenizer},
    scheduler=(FlowMatchEulerDiscreteScheduler, {"shift": 3.0}),
    steps=8,
    guidance_scale=0.0,
    mixed_scale=4.0,  # Turbo is used without; with it, it is as large as the model that it was distilled from.
    mixes_sizes=True,
)
FLUX2_KLEIN_4B = PublishedModel(
    name="flux2-klein-4b",
    family="flux2-klein",
    guidance="none",
    pipeline=(Flux2KleinPipeline, {"is_distilled": True}),
    parts={
        "transformer": Part(
            kind=Flux2Transformer2DModel,
            values={
                "num_layers": 5,
                "num_single_layers": 20,
                "num_attention_heads": 24,
                "joint_attention_dim": 3 * 2560,
                "guidance_embeds": False,
            },
        ),
        "vae": Part(kind=AutoencoderKLFlux2),
        "text_encoder": qwen3_4b(Qwen3ForCausalLM),
    },
    tokenizers={"tokenizer": qwen_tokenizer},
    scheduler=(FlowMatchEulerDiscreteScheduler, {"shift": 3.0, "use_dynamic_shifting": True}),
    steps=4,
    guidance_scale=0.0,
)
FLUX1_DEV = PublishedModel(
    name="flux.1-dev",
    family="flux",
    guidance="embedded",
    pipeline=(FluxPipeline, {}),
    parts={
        "transformer": Part(kind=FluxTransformer2DModel, values={"guidance_embeds": True}),
        "vae": _FLUX_VAE,
        "text_encoder": CLIP_L,
        "text_encoder_2": T5_XXL,
    },
    tokenizers={"tokenizer": clip_tokenizer, "tokenizer_2": t5_tokenizer},
    scheduler=(FlowMatchEulerDiscreteScheduler, SHIFT_BY_SIZE),
    steps=28,
    guidance_scale=3.5,
)
QWEN_IMAGE = PublishedModel(
    name="qwen-image",
    family="qwen-image",
    guidance="true",
    pipeline=(QwenImagePipeline, {}),
    parts={
        "transformer": Part(kind=QwenImageTransformer2DModel),
        "vae": Part(kind=AutoencoderKLQwenImage),
        "text_encoder": QWEN25_VL_7B,
    },
    tokenizers={"tokenizer": qwen_tokenizer},
    scheduler=(FlowMatchEulerDiscreteScheduler, {**SHIFT_BY_SIZE, "max_shift": 0.9, "max_image_seq_len": 8192}),
    steps=50,
    guidance_scale=4.0,
    mixed_scale=4.0,
    call=_true_guidance,
    sides=(1328, 512),
)
