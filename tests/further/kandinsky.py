"""Kandinsky, whose U-Nets denoise the latents of a vector-quantized autoencoder."""

from __future__ import annotations

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.further.unets import BETAS, TRANSFORMER
from workers.bench.tiny_parts import WIDTH, clip, clip_tokenizer, t5, t5_tokenizer


def kandinsky_22() -> KandinskyV22CombinedPipeline:
    """A prior makes the embedding of a picture, in a schedule of its own."""
    torch.manual_seed(28)
    unet = UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(32, 64),
        layers_per_block=1,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    )
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=WIDTH, num_layers=1, num_embeddings=77
    )
    torch.nn.init.ones_(prior.clip_std)
    vision = CLIPVisionConfig(**TRANSFORMER, image_size=32, projection_dim=WIDTH, patch_size=8)
    return KandinskyV22CombinedPipeline(
        unet=unet.eval(),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, **BETAS),
        movq=_vq_autoencoder((32, 64)),
        prior_prior=prior.eval(),
        prior_image_encoder=CLIPVisionModelWithProjection(vision).eval(),
        prior_text_encoder=clip(CLIPTextModelWithProjection),
        prior_tokenizer=clip_tokenizer(),
        prior_scheduler=UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=10.0
        ),
        prior_image_processor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )


def kandinsky_3() -> Kandinsky3Pipeline:
    """Takes it that a latent is eight pixels wide."""
    torch.manual_seed(29)
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
        movq=_vq_autoencoder((32, 64, 64, 64)),
    )


def _vq_autoencoder(channels: tuple[int, ...]) -> VQModel:
    """Kandinsky's. Args: channels: Of each block; a block halves the sides, but for the last."""
    more = len(channels) - 2
    return VQModel(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D", *("DownEncoderBlock2D",) * more),
        up_block_types=(*("UpDecoderBlock2D",) * more, "AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    ).eval()
