"""
Pipelines of flow-matching transformers with random weights, so small that a benchmark has all of them, and a test, too.

Made of diffusers and transformers alone, so that black-box tests can save them as anybody would.
"""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_lowercase
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

_WIDTH = 32  # of text embeddings

# As published models have it: the shift depends on the number of tokens.
_SHIFT_BY_SIZE: dict[str, Any] = {
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


def stable_diffusion_3() -> StableDiffusion3Pipeline:
    """With all three text encoders."""
    torch.manual_seed(11)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=8,
        out_channels=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=2 * _WIDTH,
        pooled_projection_dim=2 * _WIDTH,
        pos_embed_max_size=64,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(8),
        text_encoder=_clip(CLIPTextModelWithProjection),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_clip(CLIPTextModelWithProjection),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5(2 * _WIDTH),
        tokenizer_3=_t5_tokenizer(),
    )


def flux_dev() -> FluxPipeline:
    """Guidance is an input of the model."""
    return _flux(guidance_embeds=True, scheduler=FlowMatchEulerDiscreteScheduler(**_SHIFT_BY_SIZE))


def flux_schnell() -> FluxPipeline:
    """Without guidance, and with a shift that does not depend on the size."""
    return _flux(guidance_embeds=False, scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0))


def _flux(*, guidance_embeds: bool, scheduler: FlowMatchEulerDiscreteScheduler) -> FluxPipeline:
    torch.manual_seed(12)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_WIDTH,
        pooled_projection_dim=_WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_embeds,
    )
    return FluxPipeline(
        scheduler=scheduler,
        vae=_autoencoder(4),
        text_encoder=_clip(CLIPTextModel),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_t5(_WIDTH),
        tokenizer_2=_t5_tokenizer(),
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
            "vocab_size": _VOCABULARY,
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
        scheduler=FlowMatchEulerDiscreteScheduler(**_SHIFT_BY_SIZE),
        vae=_flux2_autoencoder(),
        text_encoder=Mistral3ForConditionalGeneration(config).eval(),
        tokenizer=byte_tokenizer(),
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
        scheduler=FlowMatchEulerDiscreteScheduler(**_SHIFT_BY_SIZE),
        vae=_flux2_autoencoder(),
        text_encoder=_qwen3(Qwen3ForCausalLM, layers=28),  # Layers 9, 18 and 27 are read.
        tokenizer=byte_tokenizer(),
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
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    autoencoder = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 2.0, 0.8, 1.0],
    )
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**_SHIFT_BY_SIZE),
        vae=autoencoder.eval(),
        text_encoder=_qwen_vl(),
        tokenizer=byte_tokenizer(),
        transformer=transformer.eval(),
    )


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
        vae=_autoencoder(16),
        text_encoder=_qwen3(Qwen3Model, layers=2),
        tokenizer=byte_tokenizer(),
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


def _autoencoder(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=channels,
        scaling_factor=0.3,
        shift_factor=0.06,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def _flux2_autoencoder() -> AutoencoderKLFlux2:
    autoencoder = AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        layers_per_block=1,
    )
    torch.nn.init.normal_(autoencoder.bn.running_mean, std=0.2)
    torch.nn.init.uniform_(autoencoder.bn.running_var, 0.5, 2.0)
    return autoencoder.eval()


def _clip(kind: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=64,
        max_position_embeddings=77,
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        projection_dim=_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return kind(config).eval()


def _t5(width: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=64, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4, relative_attention_num_buckets=8
    )
    return T5EncoderModel(config).eval()


def _qwen3(kind: Any, *, layers: int) -> Any:
    config = Qwen3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=_VOCABULARY,
        max_position_embeddings=2048,
    )
    return kind(config).eval()


def _qwen_vl() -> Qwen2_5_VLForConditionalGeneration:
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
            "vocab_size": _VOCABULARY,
            "max_position_embeddings": 4096,
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        vision_end_token_id=5,
        vision_start_token_id=3,
        vision_token_id=4,
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def _clip_tokenizer() -> CLIPTokenizer:
    tokens = ["<|startoftext|>", "<|endoftext|>", *ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase)]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=77)


def _t5_tokenizer() -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -3.0) for letter in ("▁", *ascii_lowercase)]
    return T5Tokenizer(vocab=special + letters, extra_ids=0, additional_special_tokens=[], model_max_length=512)


_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]
_VOCABULARY = 256 + len(_SPECIAL)


def byte_tokenizer() -> Qwen2Tokenizer:
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
