"""
Flow-matching models at their published sizes, with random weights, and as small ones of the same parts.

The configurations are those of `Tongyi-MAI/Z-Image` and `black-forest-labs/FLUX.2-klein-4B`, whose text encoders are
`Qwen/Qwen3-4B`; what is not written here is diffusers' own default, which is theirs. A test compares the numbers of
parameters. Vocabularies are not here: a prompt has a token for each of its bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from workers.bench.tiny_parts import qwen_tokenizer

Configuration = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFlow:
    """
    A published model of a flow-matching family, or one made small.

    Attributes:
        family, guidance: As in the catalogue.
        pipeline, transformer, autoencoder, text_encoder: A class, and what differs from its defaults.
        guidance_scale: Of jobs that have guidance; None where the model has none.
        sides: In pixels, of the pictures that are measured.
        mixes_sizes: Whether jobs of several sizes share a pass.
    """

    name: str
    family: str
    guidance: Guidance
    pipeline: tuple[Any, Configuration]
    transformer: tuple[Any, Configuration]
    autoencoder: tuple[Any, Configuration]
    text_encoder: tuple[Any, Configuration]
    scheduler: Configuration
    guidance_scale: float | None
    sides: tuple[int, ...] = (1024, 512)
    mixes_sizes: bool = False


_QWEN3_4B: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40_960,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "tie_word_embeddings": True,
}

Z_IMAGE = PublishedFlow(
    name="z-image",
    family="z-image",
    guidance="true",
    pipeline=(ZImagePipeline, {}),
    transformer=(ZImageTransformer2DModel, {}),
    autoencoder=(
        AutoencoderKL,  # that of FLUX.1
        {
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
    ),
    text_encoder=(Qwen3Model, _QWEN3_4B),
    scheduler={"shift": 3.0},
    guidance_scale=4.0,
    mixes_sizes=True,
)
FLUX2_KLEIN_4B = PublishedFlow(
    name="flux2-klein-4b",
    family="flux2-klein",
    guidance="none",
    pipeline=(Flux2KleinPipeline, {"is_distilled": True}),
    transformer=(
        Flux2Transformer2DModel,
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 3 * 2560,
            "guidance_embeds": False,
        },
    ),
    autoencoder=(AutoencoderKLFlux2, {}),
    text_encoder=(Qwen3ForCausalLM, _QWEN3_4B),
    scheduler={"shift": 3.0, "use_dynamic_shifting": True},
    guidance_scale=None,
)
PUBLISHED = (Z_IMAGE, FLUX2_KLEIN_4B)

_SMALL_QWEN3 = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 28,  # Of klein, layers 9, 18 and 27 are read.
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}
_SMALL_AUTOENCODER = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
}
_SMALL_Z_IMAGE = {
    "in_channels": 4,
    "dim": 32,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": 16,
    "axes_dims": [8, 4, 4],
}
_SMALL_FLUX2 = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 3 * 16,
    "axes_dims_rope": (4, 4, 4, 4),
}


def small(published: PublishedFlow) -> PublishedFlow:
    """The same model of the same parts, so small that a CPU makes its pictures at once; sides are 64 and 32 pixels."""
    transformer = _SMALL_Z_IMAGE if published.family == "z-image" else _SMALL_FLUX2

    def smaller(part: tuple[Any, Configuration], changes: Configuration) -> tuple[Any, Configuration]:
        kind, configuration = part
        return kind, {**configuration, **changes}

    return PublishedFlow(
        name=f"small-{published.name}",
        family=published.family,
        guidance=published.guidance,
        pipeline=published.pipeline,
        transformer=smaller(published.transformer, transformer),
        autoencoder=smaller(published.autoencoder, _SMALL_AUTOENCODER),
        text_encoder=smaller(published.text_encoder, _SMALL_QWEN3),
        scheduler=published.scheduler,
        guidance_scale=published.guidance_scale,
        sides=(64, 32),
        mixes_sizes=published.mixes_sizes,
    )


def build_flow(published: PublishedFlow, device: torch.device, dtype: str, seed: int = 0) -> Any:
    """A diffusers pipeline with random weights, made on the device and in its dtype from the start."""
    torch.manual_seed(seed)
    with torch.device(device), _default_dtype(getattr(torch, dtype)):
        models = parts_of(published)
    _draw(models["transformer"])
    for model in models.values():
        model.eval()
    kind, configuration = published.pipeline
    scheduler = FlowMatchEulerDiscreteScheduler(**published.scheduler)
    pipeline = kind(**models, tokenizer=qwen_tokenizer(), scheduler=scheduler, **configuration)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def _draw(transformer: Any) -> None:
    """
    Weights with which a text changes the picture: as torch draws them, each layer makes its input √3 times smaller
    (He et al. 2015 has the gain), and behind many of them nothing is left of it.
    """
    for each in transformer.parameters():
        if each.dim() > 1:
            each.mul_(math.sqrt(3.0))
    for name in ("x_pad_token", "cap_pad_token"):  # Of Z-Image; as made they are whatever was in memory.
        if (token := getattr(transformer, name, None)) is not None:
            torch.nn.init.normal_(token, std=0.02)


def parts_of(published: PublishedFlow) -> dict[str, Any]:
    """Transformer, autoencoder and text encoder by their names in the pipeline; on torch's default device."""
    transformer, autoencoder = (kind(**given) for kind, given in (published.transformer, published.autoencoder))
    kind, given = published.text_encoder
    return {"transformer": transformer, "vae": autoencoder, "text_encoder": kind(Qwen3Config(**given))}


def flow_entry_of(published: PublishedFlow, dtype: str) -> Model:
    """What a catalogue would say of it."""
    side = max(published.sides)
    fields = {
        "name": published.name,
        "source": "random weights",
        "revision": "random",
        "dtype": dtype,
        "family": published.family,
        "guidance": published.guidance,
        "schedulers": ("default",),
        "defaults": {
            "width": side,
            "height": side,
            "num_inference_steps": 8,
            "guidance_scale": 0.0,
            "scheduler": "default",
        },
        "limits": {"min_side": 16, "max_side": side, "side_multiple": 16, "max_steps": 100, "max_n": 1},
    }
    return Model.model_validate(fields)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
