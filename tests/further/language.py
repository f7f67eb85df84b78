"""Those of flow matching that read texts by large language models."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKLHunyuanImage,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
    PRXPixelPipeline,
)
from diffusers.guiders import AdaptiveProjectedMixGuidance
from transformers import (
    ByT5Tokenizer,
    CLIPTextModelWithProjection,
    LlamaConfig,
    LlamaForCausalLM,
    Mistral3Config,
    Mistral3Model,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLModel,
    T5Config,
    T5EncoderModel,
)

from tests.further.flow import LANGUAGE_MODEL, prx_transformer
from workers.bench.tiny_parts import (
    SHIFT_BY_SIZE,
    WIDTH,
    autoencoder,
    clip,
    clip_tokenizer,
    flux2_autoencoder,
    qwen3,
    qwen_autoencoder,
    qwen_tokenizer,
    qwen_vl,
    t5,
    t5_tokenizer,
    wake,
)


def hunyuan_image() -> HunyuanImagePipeline:
    """Guidance is its guiders' own, which also look at the step's number."""
    torch.manual_seed(65)
    transformer = HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=(1, 1),
        guidance_embeds=False,
        text_embed_dim=16,
        text_embed_2_dim=WIDTH,
        rope_axes_dim=(4, 4),
    )
    pixels = AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=1,
        scaling_factor=0.476986,
        spatial_compression_ratio=8,
        sample_size=128,
    )
    letters = T5Config(d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, vocab_size=1510)
    return HunyuanImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=pixels.eval(),
        text_encoder=qwen_vl(),
        tokenizer=qwen_tokenizer(),
        text_encoder_2=T5EncoderModel(letters).eval(),
        tokenizer_2=ByT5Tokenizer(),
        transformer=transformer.eval(),
        guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=2),
        ocr_guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=3),
    )


def hunyuan_image_distilled() -> HunyuanImagePipeline:
    """Guidance is an input of the model, and so is where a step leads to (Geng et al. 2025)."""
    parts = hunyuan_image().components
    torch.manual_seed(74)
    changes = {"guidance_embeds": True, "use_meanflow": True}
    transformer = HunyuanImageTransformer2DModel.from_config(parts["transformer"].config, **changes)
    return HunyuanImagePipeline(**parts | {"transformer": transformer.eval(), "guider": None, "ocr_guider": None})


def hidream() -> HiDreamImagePipeline:
    """Makes about a megapixel, whatever is asked; here that is 32 × 32."""
    torch.manual_seed(66)
    transformer = HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=[WIDTH, 16],
        text_emb_dim=2 * WIDTH,
        num_routed_experts=4,
        num_activated_experts=2,
        axes_dims_rope=(4, 2, 2),
        max_resolution=(32, 32),
        llama_layers=(0, 1),
    )
    made = HiDreamImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(4),
        text_encoder=clip(CLIPTextModelWithProjection, positions=256),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(CLIPTextModelWithProjection, positions=256),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(WIDTH),
        tokenizer_3=t5_tokenizer(),
        text_encoder_4=LlamaForCausalLM(LlamaConfig(**LANGUAGE_MODEL, attn_implementation="eager")).eval(),
        tokenizer_4=qwen_tokenizer(),
        transformer=wake(transformer),
    )
    made.default_sample_size = 16
    return made


def ovis() -> OvisImagePipeline:
    torch.manual_seed(67)
    transformer = OvisImageTransformer2DModel(
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 4, 8),
    )
    return OvisImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE),
        vae=autoencoder(4),
        text_encoder=qwen3(Qwen3Model, layers=2),
        tokenizer=qwen_tokenizer(),
        transformer=transformer.eval(),
    )


def krea_2() -> Krea2Pipeline:
    """Reads several layers of its text encoder."""
    torch.manual_seed(68)
    transformer = Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        timestep_embed_dim=8,
        text_hidden_dim=16,
        num_text_layers=3,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
        rope_theta=1000.0,
    )
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen3VLConfig(text_config=LANGUAGE_MODEL, vision_config=vision | {"deepstack_visual_indexes": [0]})
    return Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE),
        vae=qwen_autoencoder(),
        text_encoder=Qwen3VLModel(config).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=transformer.eval(),
        text_encoder_select_layers=(0, 1, 2),
    )


def ernie_image() -> ErnieImagePipeline:
    """Without the writer of prompts that it may come with."""
    torch.manual_seed(72)
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=32,
        in_channels=16,
        out_channels=16,
        patch_size=1,
        text_in_dim=16,
        rope_theta=256,
        rope_axes_dim=(4, 6, 6),
    )
    vision = {"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = Mistral3Config(
        text_config={"model_type": "mistral"} | LANGUAGE_MODEL,
        vision_config=vision | {"num_attention_heads": 2, "image_size": 28, "patch_size": 14},
    )
    return ErnieImagePipeline(
        transformer=wake(transformer),
        vae=flux2_autoencoder(),
        text_encoder=Mistral3Model(config).eval(),
        tokenizer=qwen_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def longcat() -> LongCatImagePipeline:
    """Without the processor for its own writer of prompts, which is on unless it is told otherwise."""
    torch.manual_seed(73)
    transformer = LongCatImageTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
    )
    return LongCatImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SHIFT_BY_SIZE),
        vae=autoencoder(16),
        text_encoder=qwen_vl(),
        tokenizer=qwen_tokenizer(),
        text_processor=None,
        transformer=transformer.eval(),
    )


def prx_pixel() -> PRXPixelPipeline:
    """Denoises pixels."""
    torch.manual_seed(70)
    return PRXPixelPipeline(
        transformer=prx_transformer(in_channels=3, bottleneck_size=8, resolution_embeds=True),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=qwen3(Qwen3Model, layers=2),
        tokenizer=qwen_tokenizer(),
        prompt_max_tokens=64,
    )
