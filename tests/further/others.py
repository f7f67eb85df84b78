"""Those that no worker serves: they make no picture, or none of a text alone."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    AutoencoderOobleck,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EDMDPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxControlPipeline,
    FluxTransformer2DModel,
    KandinskyV22Pipeline,
    LattePipeline,
    LatteTransformer3DModel,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    StableAudioDiTModel,
    StableAudioPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from diffusers.pipelines.stable_audio import StableAudioProjectionModel

from tests.further.kandinsky import kandinsky_22
from tests.tiny_pipelines import flux
from workers.bench.tiny_parts import WIDTH, autoencoder, t5, t5_tokenizer


def kandinsky_22_decoder() -> KandinskyV22Pipeline:
    """Half a model: of the embedding of a picture, not of a text."""
    parts = kandinsky_22().components
    return KandinskyV22Pipeline(unet=parts["unet"], scheduler=parts["scheduler"], movq=parts["movq"])


def flux_control() -> FluxControlPipeline:
    """Pictures of a text and of another picture's depth or edges."""
    parts = flux().components
    torch.manual_seed(80)
    transformer = FluxTransformer2DModel.from_config(parts["transformer"].config, in_channels=32, out_channels=16)
    parts = {name: part for name, part in parts.items() if name not in ("image_encoder", "feature_extractor")}
    return FluxControlPipeline(**parts | {"transformer": transformer.eval()})


def class_labels() -> DiTPipeline:
    """Pictures of a class by its number."""
    torch.manual_seed(81)
    transformer = DiTTransformer2DModel(
        sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4
    )
    return DiTPipeline(transformer=transformer.eval(), vae=autoencoder(4, shift_factor=None), scheduler=DDIMScheduler())


def wan() -> WanPipeline:
    """Films."""
    torch.manual_seed(82)
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=WIDTH,
        freq_dim=256,
        ffn_dim=32,
        num_layers=1,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    pixels = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    return WanPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(WIDTH),
        vae=pixels.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=transformer.eval(),
    )


def ltx() -> LTXPipeline:
    """Films."""
    torch.manual_seed(83)
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=WIDTH,
        num_layers=1,
        caption_channels=WIDTH,
    )
    pixels = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        patch_size=1,
        patch_size_t=1,
    )
    return LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=pixels.eval(),
        text_encoder=t5(WIDTH),
        tokenizer=t5_tokenizer(),
        transformer=transformer.eval(),
    )


def latte() -> LattePipeline:
    """Films."""
    torch.manual_seed(84)
    transformer = LatteTransformer3DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=WIDTH,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
    )
    return LattePipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(WIDTH),
        vae=autoencoder(4, shift_factor=None),
        transformer=transformer.eval(),
        scheduler=DDIMScheduler(),
    )


def stable_audio() -> StableAudioPipeline:
    """Sounds."""
    torch.manual_seed(85)
    transformer = StableAudioDiTModel(
        sample_size=4,
        in_channels=3,
        num_layers=1,
        attention_head_dim=4,
        num_key_value_attention_heads=2,
        out_channels=3,
        cross_attention_dim=4,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=4,
    )
    waves = AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[1, 2],
        decoder_channels=3,
        decoder_input_channels=3,
        audio_channels=2,
        channel_multiples=[2, 4],
        sampling_rate=4,
    )
    return StableAudioPipeline(
        vae=waves.eval(),
        text_encoder=t5(WIDTH),
        projection_model=StableAudioProjectionModel(
            text_encoder_dim=WIDTH, conditioning_dim=4, min_value=0, max_value=32
        ).eval(),
        tokenizer=t5_tokenizer(),
        transformer=transformer.eval(),
        scheduler=EDMDPMSolverMultistepScheduler(),
    )
