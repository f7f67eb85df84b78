"""Published models of the same parts, but so small that a CPU makes their pictures at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workers.bench.published.model import Configuration, Part, PublishedModel

SIDES = (64, 32)  # in pixels

_CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
_UNET: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "sample_size": 8,
}
_UNET_VAE = {"block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 64}
_VAE = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
}
_QWEN3 = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 28,  # Of klein, layers 9, 18 and 27 are read.
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}
_QWEN_VL = {
    "text_config": {
        "vocab_size": 300,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
    },
    "vision_config": {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
}

# What is changed of each part, by the family.
_CHANGES: Mapping[str, Mapping[str, Configuration]] = {
    "stable-diffusion": {
        "unet": {**_UNET, "cross_attention_dim": 16},
        "vae": _UNET_VAE,
        "text_encoder": _CLIP,
    },
    "stable-diffusion-xl": {
        "unet": {
            **_UNET,
            "cross_attention_dim": 32,
            "transformer_layers_per_block": (1, 1),
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 6 * 4 + 16,
        },
        "vae": _UNET_VAE,
        "text_encoder": _CLIP,
        "text_encoder_2": _CLIP,
    },
    "z-image": {
        "transformer": {
            "in_channels": 4,
            "dim": 32,
            "n_layers": 2,
            "n_refiner_layers": 1,
            "n_heads": 2,
            "n_kv_heads": 2,
            "cap_feat_dim": 16,
            "axes_dims": [8, 4, 4],
        },
        "vae": _VAE,
        "text_encoder": _QWEN3,
    },
    "flux2-klein": {
        "transformer": {
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 3 * 16,
            "axes_dims_rope": (4, 4, 4, 4),
        },
        "vae": _VAE,
        "text_encoder": _QWEN3,
    },
    "flux": {
        "transformer": {
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "pooled_projection_dim": 16,
            "axes_dims_rope": (4, 4, 8),
        },
        "vae": _VAE,
        "text_encoder": _CLIP,
        "text_encoder_2": {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4},
    },
    "qwen-image": {
        "transformer": {
            "in_channels": 16,
            "out_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 3,
            "joint_attention_dim": 16,
            "axes_dims_rope": (8, 4, 4),
        },
        "vae": {
            "base_dim": 8,
            "z_dim": 4,
            "dim_mult": [1, 2, 4],
            "num_res_blocks": 1,
            "temperal_downsample": [False, True],
            "latents_mean": [0.1, -0.2, 0.3, 0.0],
            "latents_std": [1.5, 2.0, 0.8, 1.0],
        },
        "text_encoder": _QWEN_VL,
    },
}


def small(published: PublishedModel) -> PublishedModel:
    """The same model of the same parts; sides are 64 and 32 pixels, and a usual job has three steps."""
    changes = _CHANGES[published.family]

    def smaller(name: str, part: Part) -> Part:
        return replace(part, values={**part.values, **changes[name]})

    parts = {name: smaller(name, part) for name, part in published.parts.items()}
    return replace(published, name=f"small-{published.name}", parts=parts, sides=SIDES, steps=3)
