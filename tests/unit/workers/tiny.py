"""Pipelines as diffusers has them, with random weights and small enough for a test; built without a download."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from jobs.catalogue.entry import Defaults, Limits, Model
from jobs.kinds.generate import GenerateSpec
from workers.families.parts.scheduler_names import OWN, SCHEDULERS

SHAPES = Path(__file__).resolve().parents[3] / "workers" / "builtin" / "model"
SIDE = 16  # pixels

_TOKENS, _MAX_TOKENS = 438, 32  # of the built-in model's tokenizer
_TEXT_WIDTH = 32
_TIME_WIDTH = 8
_BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def model(family: Any, **changes: Any) -> Model:
    """A catalogue entry, named after its family."""
    fields: dict[str, Any] = {
        "name": str(family),
        "source": "made by a test",
        "revision": "1",
        "dtype": "float32",
        "family": family,
        "defaults": Defaults(width=SIDE, height=SIDE, num_inference_steps=5, guidance_scale=3.0, scheduler=OWN),
        "limits": Limits(min_side=8, max_side=512, max_steps=1000, max_n=64),
        "schedulers": (OWN, *SCHEDULERS),
    }
    return Model(**fields | changes)


def spec(entry: Model, **fields: Any) -> GenerateSpec:
    """A job for this model with its defaults."""
    given = {"prompt": "a red circle on a blue background", "model": entry.name, "seed": 0}
    return GenerateSpec.model_validate(entry.defaults.model_dump() | given | fields)


@cache
def stable_diffusion() -> StableDiffusionPipeline:
    torch.manual_seed(1)
    pipeline = StableDiffusionPipeline(
        vae=_autoencoder(latent_channels=4),
        text_encoder=_text_encoder(CLIPTextModel),
        tokenizer=AutoTokenizer.from_pretrained(SHAPES / "tokenizer"),
        unet=_unet(cross_attention_dim=_TEXT_WIDTH),
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1, **_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _quiet(pipeline)


@cache
def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    torch.manual_seed(2)
    pipeline = StableDiffusionXLPipeline(
        vae=_autoencoder(latent_channels=4),
        text_encoder=_text_encoder(CLIPTextModel),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection),
        tokenizer=AutoTokenizer.from_pretrained(SHAPES / "tokenizer"),
        tokenizer_2=AutoTokenizer.from_pretrained(SHAPES / "tokenizer"),
        unet=_unet(
            cross_attention_dim=2 * _TEXT_WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=_TIME_WIDTH,
            projection_class_embeddings_input_dim=_TEXT_WIDTH + 6 * _TIME_WIDTH,
        ),
        scheduler=EulerDiscreteScheduler(steps_offset=1, timestep_spacing="leading", **_BETAS),
    )
    return _quiet(pipeline)


@cache
def inpainting() -> StableDiffusionPipeline:
    """As above, with the channels of a model that was made for inpainting."""
    torch.manual_seed(5)
    components = stable_diffusion().components
    unet = _unet(in_channels=9, out_channels=4, cross_attention_dim=_TEXT_WIDTH)
    return _quiet(StableDiffusionPipeline(**components | {"unet": unet}, requires_safety_checker=False))


@cache
def distilled() -> StableDiffusionPipeline:
    """As `stable_diffusion`, distilled with guidance, which is an input in place of a second row."""
    torch.manual_seed(8)
    unet = _unet(cross_attention_dim=_TEXT_WIDTH, time_cond_proj_dim=8)
    return _quiet(
        StableDiffusionPipeline(**stable_diffusion().components | {"unet": unet}, requires_safety_checker=False)
    )


@cache
def instruct_pix2pix() -> StableDiffusionInstructPix2PixPipeline:
    """Edits by instruction, and does nothing else."""
    torch.manual_seed(7)
    components = stable_diffusion().components
    unet = _unet(in_channels=8, out_channels=4, cross_attention_dim=_TEXT_WIDTH)
    return _quiet(StableDiffusionInstructPix2PixPipeline(**components | {"unet": unet}, requires_safety_checker=False))


@cache
def inpainting_xl() -> StableDiffusionXLPipeline:
    """As `stable_diffusion_xl`, likewise."""
    torch.manual_seed(6)
    own = stable_diffusion_xl()
    unet = type(own.unet).from_config(own.unet.config, in_channels=9, out_channels=4).eval()
    return _quiet(StableDiffusionXLPipeline(**own.components | {"unet": unet}))


@cache
def stable_diffusion_3() -> StableDiffusion3Pipeline:
    """A transformer pipeline, of a family that has no adapter of its own."""
    torch.manual_seed(3)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,  # Its pipeline for inpainting knows of no others.
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=2 * _TEXT_WIDTH,
        pooled_projection_dim=2 * _TEXT_WIDTH,
        pos_embed_max_size=16,
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=_text_encoder(CLIPTextModelWithProjection),
        tokenizer=AutoTokenizer.from_pretrained(SHAPES / "tokenizer"),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection),
        tokenizer_2=AutoTokenizer.from_pretrained(SHAPES / "tokenizer"),
        text_encoder_3=None,
        tokenizer_3=None,
    )
    return _quiet(pipeline)


@cache
def shapes() -> StableDiffusionPipeline:
    """The built-in model."""
    return _quiet(StableDiffusionPipeline.from_pretrained(SHAPES, dtype=torch.float32))


def _unet(**changes: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        **changes,
    ).eval()


def _autoencoder(**changes: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        **changes,
    ).eval()


def _text_encoder(kind: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=_TOKENS,
        max_position_embeddings=_MAX_TOKENS,
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return kind(config).eval()


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
