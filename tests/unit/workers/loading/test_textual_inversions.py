"""Learned words of an entry are those that prompts are encoded with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from pydantic import ValidationError
from safetensors.torch import save_file

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)

WORD = "<style>"
PROMPT = f"a red circle in {WORD}"
WIDTH = 32  # of the tiny models' text encoders


def vectors(count: int = 2, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(3))


def load(folder: Path, model: Model) -> Any:
    return load_model(Catalogue([model], folder), model, torch.device("cpu"), 1 << 20)


def entry(family: str, **changes: Any) -> Model:
    return tiny.model(family, **{"source": "model", "textual_inversions": {WORD: "style.safetensors"}} | changes)


def test_word_of_several_vectors_is_encoded_as_in_diffusers(tmp_path: Path) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path / "model")
    save_file({"emb_params": vectors()}, tmp_path / "style.safetensors")
    adapter = load(tmp_path, entry("stable-diffusion"))
    plain = StableDiffusionPipeline.from_pretrained(tmp_path / "model", safety_checker=None)
    without = plain.encode_prompt(PROMPT, "cpu", 1, False)[0]
    plain.load_textual_inversion(str(tmp_path), weight_name="style.safetensors", token=WORD)
    expected = plain.encode_prompt(PROMPT, "cpu", 1, False)[0]
    (encoded,) = adapter.encode([tiny.spec(adapter.entry, prompt=PROMPT, guidance_scale=1.0)])
    torch.testing.assert_close(encoded.text, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(expected, without)


def test_word_of_sdxl_is_in_both_text_encoders(tmp_path: Path) -> None:
    tiny.stable_diffusion_xl().save_pretrained(tmp_path / "model")
    save_file({"clip_l": vectors(), "clip_g": -vectors()}, tmp_path / "style.safetensors")
    adapter = load(tmp_path, entry("stable-diffusion-xl"))
    plain = StableDiffusionXLPipeline.from_pretrained(tmp_path / "model")
    for name, end in (("clip_l", ""), ("clip_g", "_2")):
        plain.load_textual_inversion(
            {WORD: vectors() if name == "clip_l" else -vectors()},
            token=WORD,
            tokenizer=getattr(plain, f"tokenizer{end}"),
            text_encoder=getattr(plain, f"text_encoder{end}"),
        )
    expected = plain.encode_prompt(PROMPT, do_classifier_free_guidance=False, device="cpu")[0]
    (encoded,) = adapter.encode([tiny.spec(adapter.entry, prompt=PROMPT, guidance_scale=1.0)])
    torch.testing.assert_close(encoded.text, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (
            {"clip_l": vectors(), "clip_g": vectors()},
            "has the tensors clip_g, clip_l, and one of family stable-diffusion",
        ),
        ({"emb_params": vectors(width=9)}, "its vectors have 9 numbers, and those of text_encoder 32"),
    ],
)
def test_word_of_another_model_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], reason: str) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path / "model")
    save_file(tensors, tmp_path / "style.safetensors")
    with pytest.raises(InvalidConfiguration, match=rf"textual_inversions\.{WORD}: .*{reason}"):
        load(tmp_path, entry("stable-diffusion"))


@pytest.mark.parametrize("file", ["gone.safetensors", "style.pt", "model"])
def test_file_of_a_word_is_looked_at_first(tmp_path: Path, file: str) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path / "model")
    (tmp_path / "style.pt").write_bytes(b"")
    with pytest.raises(InvalidConfiguration, match=rf"textual_inversions\.{WORD}: "):
        load(tmp_path, entry("stable-diffusion", textual_inversions={WORD: file}))


def test_family_that_learns_no_words_is_refused() -> None:
    for family in ("pixart-sigma", "diffusers"):
        with pytest.raises(ValidationError, match=f"textual_inversions: models of family {family} do not heed it"):
            entry(family)
