"""Parts of pipelines, with random weights and small enough for a test; made of diffusers and transformers alone."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage
from transformers import (
    CLIPTextConfig,
    CLIPTokenizer,
    GemmaTokenizer,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3Config,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

WIDTH = 32  # of text embeddings

# As published models have it: the shift depends on the number of tokens.
SHIFT_BY_SIZE: dict[str, Any] = {
    "use_dynamic_shifting": True,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
    "shift": 3.0,
}

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


M = TypeVar("M", bound=torch.nn.Module)


def wake(model: M) -> M:
    """Fill what is made zeros, so that training begins at nothing, or whatever was in memory; ready to be used."""
    for each in model.parameters():
        if not each.isfinite().all() or not each.any():
            torch.nn.init.normal_(each, std=0.1)
    model.eval()
    return model


def autoencoder(channels: int, *, blocks: int = 2, shift_factor: float | None = 0.06) -> AutoencoderKL:
    """A latent is 2 ** (blocks - 1) pixels wide."""
    return AutoencoderKL(
        block_out_channels=(8, *(16,) * (blocks - 1)),
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        norm_num_groups=4,
        latent_channels=channels,
        scaling_factor=0.3,
        shift_factor=shift_factor,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def flux2_autoencoder() -> AutoencoderKLFlux2:
    made = AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        layers_per_block=1,
    )
    torch.nn.init.normal_(made.bn.running_mean, std=0.2)
    torch.nn.init.uniform_(made.bn.running_var, 0.5, 2.0)
    return made.eval()


def qwen_autoencoder(*, halvings: int = 2, width: int = 8) -> AutoencoderKLQwenImage:
    """A latent is 2 ** halvings pixels wide."""
    return AutoencoderKLQwenImage(
        base_dim=width,
        z_dim=4,
        dim_mult=[1, 2, *(4,) * (halvings - 1)],
        num_res_blocks=1,
        temperal_downsample=[False, *(True,) * (halvings - 1)],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 2.0, 0.8, 1.0],
    ).eval()


def clip(kind: Any, *, positions: int = 77) -> Any:
    config = CLIPTextConfig(
        vocab_size=64,
        max_position_embeddings=positions,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return kind(config).eval()


def t5(width: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=64, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4, relative_attention_num_buckets=8
    )
    return T5EncoderModel(config).eval()


def qwen3(kind: Any, *, layers: int) -> Any:
    config = Qwen3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
    )
    return kind(config).eval()


def qwen_vl() -> Qwen2_5_VLForConditionalGeneration:
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 4096,
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        vision_end_token_id=5,
        vision_start_token_id=3,
        vision_token_id=4,
        image_token_id=4,
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def clip_tokenizer() -> CLIPTokenizer:
    tokens = ["<|startoftext|>", "<|endoftext|>", *ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase)]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -3.0) for letter in ("▁", *ascii_lowercase)]
    return T5Tokenizer(vocab=special + letters, extra_ids=0, additional_special_tokens=[], model_max_length=512)


_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]
VOCABULARY = 256 + len(_SPECIAL)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """One token for each byte, as byte-level vocabularies write them (Radford et al. 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in plain)
    written = {byte: chr(byte) for byte in plain} | {byte: chr(256 + count) for count, byte in enumerate(others)}
    letters = [written[byte] for byte in range(256)]
    tokenizer = Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate([*_SPECIAL, *letters])},
        merges=[],
        unk_token=_SPECIAL[0],
        eos_token=_SPECIAL[2],
        pad_token=_SPECIAL[0],
        additional_special_tokens=_SPECIAL[1:],
    )
    tokenizer.chat_template = _CHAT
    tokenizer.model_max_length = 2048
    return tokenizer


class PictureProcessor(Qwen2VLProcessor):
    """Of texts with pictures in them, and not with films, which need torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(self.image_token), -1
        ProcessorMixin.__init__(self, image_processor, tokenizer)


def qwen_processor() -> PictureProcessor:
    return PictureProcessor(Qwen2VLImageProcessorPil(), qwen_tokenizer())


def gemma_tokenizer() -> GemmaTokenizer:
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *ascii_lowercase]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=300, padding_side="right")
