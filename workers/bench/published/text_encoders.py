"""
Text encoders of published models, and tokenizers in their place.

Vocabularies are not here: a prompt becomes tokens by the built-in model's, or one for each of its bytes or letters.
Where a text encoder takes texts of a fixed length, that changes nothing in the sizes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    T5Config,
    T5EncoderModel,
)

from workers.bench.published.model import Part

_TOKENIZER = Path(__file__).resolve().parents[2] / "builtin" / "model" / "tokenizer"

_CLIP_L: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "bos_token_id": 0,  # As of the tokenizer in place of its own.
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_CLIP_BIG_G = {
    **_CLIP_L,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
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
_T5_XXL = {
    "vocab_size": 32_128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10_240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
_QWEN25_VL_7B: dict[str, Any] = {
    "text_config": {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128_000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
    },
}

CLIP_L = Part(kind=CLIPTextModel, config=CLIPTextConfig, values=_CLIP_L)
CLIP_BIG_G = Part(kind=CLIPTextModelWithProjection, config=CLIPTextConfig, values=_CLIP_BIG_G)
QWEN25_VL_7B = Part(kind=Qwen2_5_VLForConditionalGeneration, config=Qwen2_5_VLConfig, values=_QWEN25_VL_7B)
T5_XXL = Part(kind=T5EncoderModel, config=T5Config, values=_T5_XXL)


def qwen3_4b(kind: Any) -> Part:
    """With the head of a language model or without, as the class has it."""
    return Part(kind=kind, config=Qwen3Config, values=_QWEN3_4B)


clip_tokenizer = partial(CLIPTokenizer.from_pretrained, _TOKENIZER, model_max_length=77)
