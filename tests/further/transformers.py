"""Those whose transformer predicts noise, or what is left of it: before flow matching, and Sana's."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanDiT2DModel,
    HunyuanDiTPAGPipeline,
    HunyuanDiTPipeline,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
)
from transformers import BertConfig, BertModel, BertTokenizer, Gemma2Config, Gemma2Model, GemmaConfig, GemmaForCausalLM

from tests.tiny_pipelines import pixart, sana
from workers.bench.tiny_parts import WIDTH, autoencoder, t5, t5_tokenizer

_GEMMA: dict[str, Any] = {
    "head_dim": 8,
    "hidden_size": 16,
    "intermediate_size": 37,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 512,
}


def gemma_2() -> Gemma2Model:
    return Gemma2Model(Gemma2Config(**_GEMMA)).eval()


def pixart_alpha() -> PixArtAlphaPipeline:
    """Takes the older callback."""
    return PixArtAlphaPipeline(**pixart().components)


def pixart_alpha_told_of_sizes() -> PixArtAlphaPipeline:
    """As that of 1024 × 1024 pixels."""
    parts = pixart().components
    torch.manual_seed(75)
    changes = {"sample_size": 128, "use_additional_conditions": True}
    transformer = PixArtTransformer2DModel.from_config(parts["transformer"].config, **changes)
    return PixArtAlphaPipeline(**parts | {"transformer": transformer.eval()})


def sana_as_published() -> SanaPipeline:
    """With a scheduler that knows flow matching beside much else."""
    scheduler = DPMSolverMultistepScheduler(flow_shift=3.0, prediction_type="flow_prediction", use_flow_sigmas=True)
    return SanaPipeline(**sana().components | {"scheduler": scheduler})


def sana_sprint() -> SanaSprintPipeline:
    """Made for two steps, with noise in between; guidance is an input of the model."""
    parts = sana().components
    torch.manual_seed(44)
    changes = {"qk_norm": "rms_norm_across_heads", "guidance_embeds": True, "sample_size": 32}
    transformer = SanaTransformer2DModel.from_config(parts["transformer"].config, **changes)
    return SanaSprintPipeline(**parts | {"transformer": transformer.eval(), "scheduler": SCMScheduler()})


def hunyuan_dit() -> HunyuanDiTPipeline:
    """
    Left to itself, it makes one of ten sizes of about a megapixel, whatever is asked.

    A latent is eight pixels wide.
    """
    torch.manual_seed(45)
    return HunyuanDiTPipeline(**_hunyuan_dit())


def hunyuan_dit_pag() -> HunyuanDiTPAGPipeline:
    """Likewise."""
    torch.manual_seed(46)
    return HunyuanDiTPAGPipeline(**_hunyuan_dit(), pag_applied_layers="blocks.1")


def _hunyuan_dit() -> dict[str, Any]:
    transformer = HunyuanDiT2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        cross_attention_dim=WIDTH,
        cross_attention_dim_t5=WIDTH,
        pooled_projection_dim=16,
        hidden_size=24,
        activation_fn="gelu-approximate",
    )
    config = BertConfig(
        vocab_size=64, hidden_size=WIDTH, intermediate_size=37, num_attention_heads=4, num_hidden_layers=2
    )
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *ascii_lowercase,
        *(f"##{letter}" for letter in ascii_lowercase),
    ]
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    tokenizer.model_max_length = 77
    return {
        "vae": autoencoder(4, blocks=4, shift_factor=None),
        "text_encoder": BertModel(config).eval(),
        "tokenizer": tokenizer,
        "transformer": transformer.eval(),
        "scheduler": DDPMScheduler(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
        "text_encoder_2": t5(WIDTH),
        "tokenizer_2": t5_tokenizer(),
    }


def cogview_3_plus() -> CogView3PlusPipeline:
    """With a scheduler made for films."""
    torch.manual_seed(47)
    transformer = CogView3PlusTransformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        out_channels=4,
        text_embed_dim=WIDTH,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=32,
        sample_size=16,
    )
    return CogView3PlusPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(WIDTH),
        vae=autoencoder(4, shift_factor=None),
        transformer=transformer.eval(),
        scheduler=CogVideoXDDIMScheduler(),
    )


def lumina_next() -> LuminaPipeline:
    """The first of Lumina's transformers; a latent is eight pixels wide."""
    torch.manual_seed(48)
    transformer = LuminaNextDiT2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        hidden_size=24,
        num_layers=2,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=16,
        learn_sigma=True,
        qk_norm=True,
        cross_attention_dim=16,
        scaling_factor=1.0,
    )
    torch.nn.init.normal_(transformer.pad_token)  # Whatever was in memory, as made.
    return LuminaPipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(4, blocks=4, shift_factor=None),
        text_encoder=GemmaForCausalLM(GemmaConfig(**_GEMMA)).eval(),
        tokenizer=t5_tokenizer(),  # Puts a token at the end of an empty text, as Gemma's own does at its beginning.
    )
