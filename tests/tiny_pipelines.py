"""
Pipelines with random weights and small enough to be served in a test, each of its own family or as any other.

Made of diffusers and transformers alone, so that black-box tests can save them as anybody would: these know this module
alone, which has the pipelines of benchmarks, too.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    VQModel,
)
from transformers import CLIPTextModel, Gemma2Config, Gemma2Model, Qwen3ForCausalLM

from workers.bench import tiny_pipelines as flow_matching
from workers.bench.tiny_parts import (
    WIDTH,
    clip,
    clip_tokenizer,
    gemma_tokenizer,
    qwen3,
    qwen_tokenizer,
    t5,
    t5_tokenizer,
)

FLOW_PIPELINES = flow_matching.FLOW_PIPELINES

_NARROW = 16  # of those that are put side by side


def flux() -> FluxPipeline:
    """Takes sides in multiples of 16, and rounds others down."""
    torch.manual_seed(1)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=clip(CLIPTextModel),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(WIDTH),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer.eval(),
    )


def pixart() -> PixArtSigmaPipeline:
    """Takes no None for a negative prompt, and no callback at the end of a step."""
    torch.manual_seed(2)
    transformer = PixArtTransformer2DModel(
        sample_size=32,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=WIDTH,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        use_additional_conditions=False,
    )
    return PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(WIDTH),
        vae=_autoencoder(),
        transformer=transformer.eval(),
        scheduler=DPMSolverMultistepScheduler(),
    )


def sana() -> SanaPipeline:
    """Takes no None for a negative prompt."""
    torch.manual_seed(3)
    transformer = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=16,
        sample_size=16,
    )
    return SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=_gemma(),
        vae=_deep_autoencoder(),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def kandinsky_3() -> Kandinsky3Pipeline:
    """Its sibling for image to image takes no sizes; none of its siblings takes a mask."""
    torch.manual_seed(4)
    unet = Kandinsky3UNet(
        in_channels=4,
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(32, 64),
        cross_attention_dim=4,
        encoder_hid_dim=WIDTH,
    )
    return Kandinsky3Pipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(WIDTH),
        unet=unet.eval(),
        scheduler=DDPMScheduler(beta_start=0.00085, beta_end=0.02, beta_schedule="squaredcos_cap_v2"),
        movq=_vq_autoencoder(),
    )


def flux_2_klein() -> Flux2KleinPipeline:
    """Makes pictures of a text, and of a text and several pictures."""
    torch.manual_seed(5)
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * _NARROW,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    with torch.no_grad():  # As they are drawn, a picture is hardly changed by what is beside it.
        for each in transformer.parameters():
            each.mul_(4.0)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKLFlux2(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            latent_channels=4,
            layers_per_block=1,
        ).eval(),
        text_encoder=qwen3(Qwen3ForCausalLM, layers=28),
        tokenizer=qwen_tokenizer(),
        transformer=transformer.eval(),
        is_distilled=False,
    )


def _vq_autoencoder() -> VQModel:
    return VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=1,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    ).eval()


def _autoencoder(**changes: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
        **changes,
    ).eval()


def _deep_autoencoder() -> AutoencoderDC:
    blocks = ("ResBlock",) * 5 + ("EfficientViTBlock",)
    scales = ((),) * 5 + ((5,),)
    return AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=(8,) * 6,
        decoder_block_out_channels=(8,) * 6,
        encoder_qkv_multiscales=scales,
        decoder_qkv_multiscales=scales,
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    ).eval()


def _gemma() -> Gemma2Model:
    config = Gemma2Config(
        head_dim=8,
        hidden_size=16,
        intermediate_size=37,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=2,
        vocab_size=64,
        max_position_embeddings=512,
    )
    return Gemma2Model(config).eval()
