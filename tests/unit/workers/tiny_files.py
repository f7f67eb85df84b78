"""Small pipelines whose weights in one file are told for what they are, as those of the published models are."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.unit.workers import tiny

_LAYERS_OF_XL = 10  # of the second text encoder: by its tenth the file of SDXL is known
_WIDTH_OF_SD2 = 1024


@cache
def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    """With text encoders of different widths, by which diffusers tells them apart."""
    pipeline = tiny.stable_diffusion_xl()
    torch.manual_seed(4)
    width = 3 * pipeline.text_encoder.config.hidden_size // 2
    wide = _wider(CLIPTextModelWithProjection, pipeline.text_encoder_2, width, num_hidden_layers=_LAYERS_OF_XL)
    texts = pipeline.text_encoder.config.hidden_size + width
    times = 6 * pipeline.unet.config.addition_time_embed_dim
    changes = {"cross_attention_dim": texts, "projection_class_embeddings_input_dim": width + times}
    unet = UNet2DConditionModel.from_config(pipeline.unet.config, **changes).eval()
    return StableDiffusionXLPipeline(**pipeline.components | {"text_encoder_2": wide, "unet": unet})


@cache
def stable_diffusion_2() -> StableDiffusionPipeline:
    """With OpenCLIP for a text encoder, as wide as by which it is known, and predictions of a velocity."""
    components = tiny.stable_diffusion().components
    torch.manual_seed(5)
    encoder = _wider(CLIPTextModel, components["text_encoder"], _WIDTH_OF_SD2, num_hidden_layers=1, hidden_act="gelu")
    # Known by the attention of the first block, which the other small ones have none in.
    unet = UNet2DConditionModel.from_config(
        components["unet"].config,
        cross_attention_dim=_WIDTH_OF_SD2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=2,
        use_linear_projection=True,
    )
    scheduler = DDIMScheduler.from_config(
        components["scheduler"].config, prediction_type="v_prediction", clip_sample=False
    )
    parts = components | {"text_encoder": encoder, "unet": unet.eval(), "scheduler": scheduler}
    return StableDiffusionPipeline(**parts, requires_safety_checker=False)


def _wider(kind: Any, encoder: Any, width: int, **changes: Any) -> Any:
    config = encoder.config.to_dict() | {"hidden_size": width, "intermediate_size": width, "projection_dim": width}
    return kind(CLIPTextConfig(**config | changes)).eval()
