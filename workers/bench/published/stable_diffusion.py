"""
Stable Diffusion at its published sizes: what a pass costs does not depend on what is in the weights.

The configurations are written after `stable-diffusion-v1-5/stable-diffusion-v1-5` and
`stabilityai/stable-diffusion-xl-base-1.0`; a test compares the numbers of parameters with the published ones.
"""

from __future__ import annotations

from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from workers.bench.published.model import Part, PublishedModel
from workers.bench.published.text_encoders import CLIP_BIG_G, CLIP_L, clip_tokenizer

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

STABLE_DIFFUSION_15 = PublishedModel(
    name="sd-1.5",
    family="stable-diffusion",
    pipeline=(
        StableDiffusionPipeline,
        {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    ),
    parts={
        "unet": Part(
            kind=UNet2DConditionModel,
            values={
                "sample_size": 64,
                "block_out_channels": (320, 640, 1280, 1280),
                "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
                "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
                "layers_per_block": 2,
                "attention_head_dim": 8,
                "cross_attention_dim": 768,
            },
        ),
        "vae": Part(kind=AutoencoderKL, values={**_VAE, "sample_size": 512, "scaling_factor": 0.18215}),
        "text_encoder": CLIP_L,
    },
    tokenizers={"tokenizer": clip_tokenizer},
    scheduler=(PNDMScheduler, {**_BETAS, "skip_prk_steps": True, "set_alpha_to_one": False}),
    steps=25,
    guidance_scale=7.5,
    sides=(512, 768),
)
STABLE_DIFFUSION_XL = PublishedModel(
    name="sdxl",
    family="stable-diffusion-xl",
    pipeline=(StableDiffusionXLPipeline, {"force_zeros_for_empty_prompt": True, "add_watermarker": False}),
    parts={
        "unet": Part(
            kind=UNet2DConditionModel,
            values={
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
        ),
        "vae": Part(
            kind=AutoencoderKL,
            values={**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
        ),
        "text_encoder": CLIP_L,
        "text_encoder_2": CLIP_BIG_G,
    },
    tokenizers={"tokenizer": clip_tokenizer, "tokenizer_2": clip_tokenizer},
    scheduler=(EulerDiscreteScheduler, {**_BETAS, "timestep_spacing": "leading"}),
    steps=30,
    guidance_scale=5.0,
)
