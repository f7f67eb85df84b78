"""Those that denoise with a U-Net."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AmusedPipeline,
    AmusedScheduler,
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    IFPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LDMTextToImagePipeline,
    PNDMScheduler,
    PriorTransformer,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionSAGPipeline,
    StableUnCLIPPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    UVit2DModel,
    VQModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker, StableUnCLIPImageNormalizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from workers.bench.tiny_parts import WIDTH, autoencoder, clip, clip_tokenizer, t5, t5_tokenizer

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRANSFORMER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 37,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}


def latent_consistency() -> LatentConsistencyModelPipeline:
    """Guidance is an input of the model."""
    torch.manual_seed(21)
    return LatentConsistencyModelPipeline(
        vae=_autoencoder(),
        text_encoder=clip(CLIPTextModel),
        tokenizer=clip_tokenizer(),
        unet=_unet(time_cond_proj_dim=WIDTH),
        scheduler=LCMScheduler(original_inference_steps=50, **BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def with_safety_checker() -> StableDiffusionPipeline:
    """To whose checker no picture is safe."""
    torch.manual_seed(22)
    config = CLIPConfig(
        text_config=TRANSFORMER | {"vocab_size": 64},
        vision_config=TRANSFORMER | {"image_size": 30, "patch_size": 6},
        projection_dim=WIDTH,
    )
    checker = StableDiffusionSafetyChecker(config).eval()
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)  # Below any likeness.
    return StableDiffusionPipeline(
        **_stable_diffusion(),
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 30}, crop_size={"height": 30, "width": 30}),
    )


def perturbed_attention() -> StableDiffusionPAGPipeline:
    """With a third row for each image (Ahn et al. 2024)."""
    torch.manual_seed(23)
    parts = _stable_diffusion() | {"safety_checker": None, "feature_extractor": None}
    return StableDiffusionPAGPipeline(**parts, requires_safety_checker=False, pag_applied_layers="mid")


def self_attention() -> StableDiffusionSAGPipeline:
    """Guided by its own attention (Hong et al. 2023), too; takes the older callback."""
    torch.manual_seed(24)
    parts = _stable_diffusion() | {"safety_checker": None, "feature_extractor": None}
    return StableDiffusionSAGPipeline(**parts, requires_safety_checker=False)


def stable_unclip() -> StableUnCLIPPipeline:
    """A prior makes the embedding of a picture, from which the U-Net begins; takes the older callback."""
    torch.manual_seed(25)
    prior = PriorTransformer(num_attention_heads=2, attention_head_dim=12, embedding_dim=WIDTH, num_layers=1)
    return StableUnCLIPPipeline(
        prior_tokenizer=clip_tokenizer(),
        prior_text_encoder=clip(CLIPTextModelWithProjection),
        prior=prior.eval(),
        prior_scheduler=UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="sample"),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=WIDTH).eval(),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=clip_tokenizer(),
        text_encoder=clip(CLIPTextModel),
        unet=_unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH),
        scheduler=DDIMScheduler(set_alpha_to_one=False, steps_offset=1, **BETAS),
        vae=_autoencoder(),
    )


def latent_diffusion() -> LDMTextToImagePipeline:
    """The first of them (Rombach et al. 2022): no negative prompt, no callback; a latent is eight pixels wide."""
    torch.manual_seed(26)
    return LDMTextToImagePipeline(
        vqvae=_autoencoder(blocks=4),
        bert=clip(CLIPTextModel),
        tokenizer=clip_tokenizer(),
        unet=_unet(),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **BETAS),
    )


def deep_floyd() -> IFPipeline:
    """Denoises pixels; its first stage alone."""
    torch.manual_seed(27)
    unet = UNet2DConditionModel(
        sample_size=32,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        in_channels=3,
        out_channels=6,
        cross_attention_dim=WIDTH,
        encoder_hid_dim=WIDTH,
        attention_head_dim=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    )
    return IFPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(WIDTH),
        unet=unet.eval(),
        scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range"),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def amused() -> AmusedPipeline:
    """Fills in masked tokens of pictures; takes the older callback."""
    torch.manual_seed(30)
    transformer = UVit2DModel(
        hidden_size=WIDTH,
        use_bias=False,
        hidden_dropout=0.0,
        cond_embed_dim=WIDTH,
        micro_cond_encode_dim=2,
        micro_cond_embed_dim=10,
        encoder_hidden_size=WIDTH,
        vocab_size=32,
        codebook_size=32,
        in_channels=WIDTH,
        block_out_channels=WIDTH,
        num_res_blocks=1,
        downsample=True,
        upsample=True,
        block_num_heads=1,
        num_hidden_layers=1,
        num_attention_heads=1,
        attention_dropout=0.0,
        intermediate_size=WIDTH,
        layer_norm_eps=1e-06,
        ln_elementwise_affine=True,
    )
    tokens = VQModel(
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(8,),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        num_vq_embeddings=32,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )
    return AmusedPipeline(
        vqvae=tokens.eval(),
        tokenizer=clip_tokenizer(),
        text_encoder=clip(CLIPTextModelWithProjection),
        transformer=transformer.eval(),
        scheduler=AmusedScheduler(mask_token_id=31),
    )


def _stable_diffusion() -> dict[str, Any]:
    return {
        "vae": _autoencoder(),
        "text_encoder": clip(CLIPTextModel),
        "tokenizer": clip_tokenizer(),
        "unet": _unet(),
        "scheduler": PNDMScheduler(skip_prk_steps=True, steps_offset=1, **BETAS),
    }


def _autoencoder(blocks: int = 2) -> AutoencoderKL:
    """Without a shift, which U-Nets do not know."""
    return autoencoder(4, blocks=blocks, shift_factor=None)


def _unet(**changes: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        **changes,
    ).eval()
