"""
Pipelines of flow-matching transformers with random weights, so small that a benchmark has all of them, and a test, too.

Made of diffusers and transformers alone, so that black-box tests can save them as anybody would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from workers.bench.tiny_parts import (
    SHIFT_BY_SIZE,
    VOCABULARY,
    WIDTH,
    autoencoder,
    clip,
    clip_tokenizer,
    flux2_autoencoder,
    qwen3,
    qwen_autoencoder,
    qwen_processor,
    qwen_tokenizer,
    qwen_vl,
    t5,
    t5_tokenizer,
)


def stable_diffusion_3() -> StableDiffusion3Pipeline:
    """With all three text encoders."""
    torch.manual_seed(11)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,  # No others are taken by diffusers' pipeline for inpainting.
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=64,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(16),
        text_encoder=clip(CLIPTextModelWithProjection),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(2 * WIDTH),
        tokenizer_3=t5_tokenizer(),
    )


def flux_dev() -> FluxPipeline:
    """Guidance is an input of the model."""
    return _flux(guidance_embeds=True, scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE))


def flux_schnell() -> FluxPipeline:
    """Without guidance, and with a shift that does not depend on the size."""
    return _flux(guidance_embeds=False, scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0))


def flux_kontext() -> FluxKontextPipeline:
    """Looks at a picture, in about a megapixel."""
    made = _flux(guidance_embeds=True, scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE), blocks=5)
    return FluxKontextPipeline(**made.components)


def _flux(*, guidance_embeds: bool, scheduler: FlowMatchEulerDiscreteScheduler, blocks: int = 2) -> FluxPipeline:
    torch.manual_seed(12)
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
        guidance_embeds=guidance_embeds,
    )
    return FluxPipeline(
        scheduler=scheduler,
        vae=autoencoder(4, blocks=blocks),
        text_encoder=clip(CLIPTextModel),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(WIDTH),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer.eval(),
    )


def flux2_dev() -> Flux2Pipeline:
    """Guidance is an input of the model; the text encoder is Mistral's."""
    torch.manual_seed(13)
    config = Mistral3Config(
        text_config={
            "model_type": "mistral",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 30,  # Layers 10, 20 and 30 are read.
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "vocab_size": VOCABULARY,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
    )
    return Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE),
        vae=flux2_autoencoder(),
        text_encoder=Mistral3ForConditionalGeneration(config).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=_flux2_transformer(guidance_embeds=True),
    )


def flux2_klein() -> Flux2KleinPipeline:
    """With true guidance, but no negative prompt."""
    return _flux2_klein(is_distilled=False)


def flux2_klein_distilled() -> Flux2KleinPipeline:
    """Without guidance."""
    return _flux2_klein(is_distilled=True)


def _flux2_klein(*, is_distilled: bool) -> Flux2KleinPipeline:
    torch.manual_seed(14)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE),
        vae=flux2_autoencoder(),
        text_encoder=qwen3(Qwen3ForCausalLM, layers=28),  # Layers 9, 18 and 27 are read.
        tokenizer=qwen_tokenizer(),
        transformer=_flux2_transformer(guidance_embeds=False),
        is_distilled=is_distilled,
    )


def _flux2_transformer(*, guidance_embeds: bool) -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * 16,
        timestep_guidance_channels=256,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    ).eval()


def qwen_image() -> QwenImagePipeline:
    """With masks for its texts, and guidance whose norm is that of the prediction with the prompt."""
    torch.manual_seed(15)
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE),
        vae=qwen_autoencoder(),
        text_encoder=qwen_vl(),
        tokenizer=qwen_tokenizer(),
        transformer=_qwen_transformer(),
    )


def qwen_image_edit() -> QwenImageEditPipeline:
    """Looks at a picture, and so does its language model."""
    return QwenImageEditPipeline(**_qwen_edit_parts())


def qwen_image_edit_plus() -> QwenImageEditPlusPipeline:
    """Looks at several."""
    return QwenImageEditPlusPipeline(**_qwen_edit_parts())


def _qwen_edit_parts() -> dict[str, Any]:
    torch.manual_seed(17)
    transformer = _qwen_transformer()
    with torch.no_grad():  # As they are drawn, a picture is hardly changed by what is looked at beside it.
        for each in transformer.parameters():
            each.mul_(2.0 if each.dim() > 1 else 1.0)
    # What is looked at has about a megapixel, so that few tokens are not to be had otherwise.
    vae = qwen_autoencoder(halvings=4, width=2)
    vae.register_to_config(latents_std=[0.1, 0.12, 0.08, 0.1])  # About what its latents of a picture have.
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE),
        "vae": vae,
        "text_encoder": qwen_vl(),
        "tokenizer": qwen_tokenizer(),
        "processor": qwen_processor(),
        "transformer": transformer,
    }


def _qwen_transformer() -> QwenImageTransformer2DModel:
    return QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    ).eval()


def z_image() -> ZImagePipeline:
    """Pictures and texts of any size in one pass."""
    torch.manual_seed(16)
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    )
    for name in ("x_pad_token", "cap_pad_token"):  # As made they are zeros, or whatever was in memory.
        torch.nn.init.normal_(getattr(transformer, name), std=0.02)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(16),
        text_encoder=qwen3(Qwen3Model, layers=2),
        tokenizer=qwen_tokenizer(),
        transformer=transformer.eval(),
    )


# By the names that tests give them: what their family is called, and what makes them.
FLOW_PIPELINES: dict[str, tuple[str, Callable[[], Any]]] = {
    "stable-diffusion-3": ("stable-diffusion-3", stable_diffusion_3),
    "flux-dev": ("flux", flux_dev),
    "flux-schnell": ("flux", flux_schnell),
    "flux2-dev": ("flux2", flux2_dev),
    "flux2-klein": ("flux2-klein", flux2_klein),
    "flux2-klein-distilled": ("flux2-klein", flux2_klein_distilled),
    "qwen-image": ("qwen-image", qwen_image),
    "z-image": ("z-image", z_image),
}

# Likewise, of models that were made for edits.
EDITING_PIPELINES: dict[str, tuple[str, Callable[[], Any]]] = {
    "flux-kontext": ("flux-kontext", flux_kontext),
    "qwen-image-edit": ("qwen-image-edit", qwen_image_edit),
    "qwen-image-edit-plus": ("qwen-image-edit-plus", qwen_image_edit_plus),
}
