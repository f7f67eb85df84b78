"""Those of flow matching that read texts by T5, Gemma or GLM."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    BriaPipeline,
    BriaTransformer2DModel,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    PRXPipeline,
    PRXTransformer2DModel,
)
from transformers import (
    GlmConfig,
    GlmModel,
    T5GemmaConfig,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.models.t5gemma.configuration_t5gemma import T5GemmaModuleConfig
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

from tests.further.transformers import gemma_2
from workers.bench.tiny_parts import (
    VOCABULARY,
    WIDTH,
    autoencoder,
    gemma_tokenizer,
    t5,
    t5_tokenizer,
)

LANGUAGE_MODEL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": VOCABULARY,
}


def lumina_2() -> Lumina2Pipeline:
    """A latent is eight pixels wide."""
    torch.manual_seed(61)
    transformer = Lumina2Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        hidden_size=24,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        scaling_factor=1.0,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(512, 128, 128),
        cap_feat_dim=16,
    )
    return Lumina2Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=autoencoder(4, blocks=4),
        text_encoder=gemma_2(),
        tokenizer=gemma_tokenizer(),
    )


def cogview_4() -> CogView4Pipeline:
    """Fills texts up to the longest of a call, and has no mask for that."""
    torch.manual_seed(62)
    transformer = CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=4,
        out_channels=4,
        text_embed_dim=WIDTH,
        time_embed_dim=8,
        condition_dim=4,
        rope_axes_dim=(256, 256),
    )
    config = GlmConfig(**LANGUAGE_MODEL | {"hidden_size": WIDTH}, pad_token_id=0)
    return CogView4Pipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=GlmModel(config).eval(),
        vae=autoencoder(4),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
        ),
    )


def aura_flow() -> AuraFlowPipeline:
    torch.manual_seed(63)
    transformer = AuraFlowTransformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=WIDTH,
        out_channels=4,
        pos_embed_max_size=1024,
    )
    config = UMT5Config(
        vocab_size=64, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, relative_attention_num_buckets=8
    )
    for each in transformer.parameters():  # Texts hardly show otherwise.
        torch.nn.init.normal_(each, std=0.3)
    return AuraFlowPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=UMT5EncoderModel(config).eval(),
        vae=autoencoder(4, shift_factor=None),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
    )


def chroma() -> ChromaPipeline:
    """FLUX.1 with true guidance."""
    torch.manual_seed(64)
    transformer = ChromaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    return ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=autoencoder(4),
        text_encoder=t5(WIDTH),
        tokenizer=t5_tokenizer(),
        transformer=transformer.eval(),
    )


def prx() -> PRXPipeline:
    torch.manual_seed(69)
    config = T5GemmaModuleConfig(
        **LANGUAGE_MODEL | {"num_hidden_layers": 1, "vocab_size": 64},
        max_position_embeddings=512,
        layer_types=["full_attention"],
        attention_bias=False,
        query_pre_attn_scalar=8,
    )
    whole = T5GemmaConfig(encoder=config, is_encoder_decoder=False, vocab_size=64, hidden_size=16)
    return PRXPipeline(
        transformer=prx_transformer(in_channels=4),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=T5GemmaEncoder(whole.encoder).eval(),
        tokenizer=gemma_tokenizer(),
        vae=autoencoder(4),
    )


def prx_transformer(**changes: Any) -> PRXTransformer2DModel:
    return PRXTransformer2DModel(
        patch_size=1, context_in_dim=16, hidden_size=8, mlp_ratio=2.0, num_heads=2, depth=1, axes_dim=[2, 2], **changes
    ).eval()


def bria() -> BriaPipeline:
    """Fills texts up with zeros."""
    torch.manual_seed(71)
    transformer = BriaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=None,
        axes_dims_rope=[0, 4, 4],
    )
    return BriaPipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(4, shift_factor=0.0),
        text_encoder=t5(WIDTH),
        tokenizer=t5_tokenizer(),
    )
