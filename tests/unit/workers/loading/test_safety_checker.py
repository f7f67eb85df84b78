"""A model's safety checker looks at its pictures where the entry asks it, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from tests.further import unets
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.engine.errors import GenerationFailed
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)


def pictures(folder: Path, family: str, **changes: Any) -> Any:
    entry = tiny.model(family, source="model", **changes)
    adapter: Any = load_model(Catalogue([entry], folder), entry, torch.device("cpu"), 1 << 20)
    job = tiny.spec(entry, num_inference_steps=1, n=2)
    run = adapter.begin(job, adapter.encode([job])[0])
    run.advance(adapter.predict([run], 2, lambda _step: None)[0])
    return adapter.finish(run, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a model whose safety checker withholds every picture."""
    unets.with_safety_checker().save_pretrained(tmp_path / "model")
    return tmp_path


@pytest.mark.parametrize(
    ("family", "asked", "looks"),
    [
        ("stable-diffusion", None, False),
        ("stable-diffusion", False, False),
        ("stable-diffusion", True, True),
        ("diffusers", None, True),
        ("diffusers", False, False),
        ("diffusers", True, True),
    ],
)
def test_safety_checker_looks_where_it_is_asked(folder: Path, family: str, asked: bool | None, looks: bool) -> None:
    if looks:
        with pytest.raises(GenerationFailed, match="safety checker withheld a picture"):
            pictures(folder, family, safety_checker=asked)
    else:
        assert len(pictures(folder, family, safety_checker=asked)) == 2


def test_own_safety_checker_that_withholds_nothing_lets_pictures_pass(folder: Path) -> None:
    unets.with_safety_checker().safety_checker.save_pretrained(folder / "lenient")
    file = folder / "lenient" / "model.safetensors"
    tensors = load_file(file)
    tensors["concept_embeds_weights"] += 10  # What a likeness has to be above.
    save_file(tensors, file, {"format": "pt"})
    own = {"safety_checker": {"source": "lenient"}}
    assert len(pictures(folder, "stable-diffusion", safety_checker=True, components=own)) == 2


def test_model_without_one_is_refused(tmp_path: Path) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path / "model")
    with pytest.raises(InvalidConfiguration, match="safety_checker: the model comes without one: leave it out, or"):
        pictures(tmp_path, "stable-diffusion", safety_checker=True)


def test_family_without_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="safety_checker: models of family flux do not heed it"):
        tiny.model("flux", safety_checker=True)
