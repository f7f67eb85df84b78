"""The built-in models are ordinary diffusers directories, small enough to carry around."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, ZImagePipeline

BUILTIN = Path(__file__).resolve().parents[4] / "workers" / "builtin"
PIPELINES = {"model": StableDiffusionPipeline, "flow_model": ZImagePipeline}


@pytest.mark.parametrize("folder", PIPELINES)
def test_model_directory_has_at_most_20_megabytes(folder: str) -> None:
    assert sum(file.stat().st_size for file in (BUILTIN / folder).rglob("*") if file.is_file()) <= 20_000_000


@pytest.mark.parametrize(
    ("folder", "size"), [("model", (128, 128)), ("flow_model", (128, 128)), ("flow_model", (192, 128))]
)
def test_diffusers_loads_it_and_makes_a_picture(folder: str, size: tuple[int, int]) -> None:
    pipeline = PIPELINES[folder].from_pretrained(BUILTIN / folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    width, height = size
    prompt = "a red circle on a blue background"
    picture = pipeline(prompt, height=height, width=width, num_inference_steps=2).images[0]
    assert picture.size == size


@pytest.mark.parametrize(("folder", "before", "behind"), [("model", 1, 1), ("flow_model", 0, 0)])
def test_every_word_of_a_caption_is_one_token(folder: str, before: int, behind: int) -> None:
    tokenizer = PIPELINES[folder].from_pretrained(BUILTIN / folder, dtype=torch.float32).tokenizer
    caption = "a large magenta diamond at the bottom right on an orange background"
    assert len(tokenizer(caption).input_ids) == before + len(caption.split()) + behind
