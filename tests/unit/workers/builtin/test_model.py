"""The built-in model is an ordinary diffusers directory, small enough to carry around."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

MODEL = Path(__file__).resolve().parents[4] / "workers" / "builtin" / "model"


def test_model_directory_has_at_most_20_megabytes() -> None:
    assert sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file()) <= 20_000_000


def test_diffusers_loads_it_and_makes_a_picture() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a red circle on a blue background", height=128, width=128, num_inference_steps=2).images[0]
    assert picture.size == (128, 128)


def test_every_word_of_a_caption_is_one_token() -> None:
    tokenizer = StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32).tokenizer
    caption = "a large magenta diamond at the bottom right on an orange background"
    assert len(tokenizer(caption).input_ids) == len(caption.split()) + 2
