"""The attention of a transformer is computed as its entry says, or the entry is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)


def load(folder: Path, family: str, **changes: Any) -> Any:
    entry = tiny.model(family, source="model", schedulers=("default",), **changes)
    return load_model(Catalogue([entry], folder), entry, torch.device("cpu"), 1 << 20)


def picture(adapter: Any) -> Any:
    job = tiny.spec(adapter.entry, num_inference_steps=2)
    run = adapter.begin(job, adapter.encode([job])[0])
    run.advance(adapter.predict([run], 1, lambda _step: None)[0])
    return run.latents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_pipelines.flux().save_pretrained(tmp_path / "model")
    return tmp_path


def test_transformer_computes_as_the_entry_says_and_others_as_before(folder: Path) -> None:
    before, _ = _AttentionBackendRegistry.get_active_backend()
    asked, plain = load(folder, "flux", attention="_native_math"), load(folder, "flux")
    used = [
        each.processor._attention_backend
        for each in asked.pipeline.transformer.modules()
        if hasattr(getattr(each, "processor", None), "_attention_backend")
    ]
    assert used
    assert set(used) == {AttentionBackendName._NATIVE_MATH}
    assert _AttentionBackendRegistry.get_active_backend()[0] == before
    torch.testing.assert_close(picture(asked), picture(plain), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("attention", "reason"),
    [
        ("fast", "attention: there is no 'fast' that runs no code of a hub; there are flash, "),
        ("sage_hub", "attention: there is no 'sage_hub' that runs no code of a hub"),
        pytest.param(
            "sage",
            "sageattention",
            marks=pytest.mark.skipif(importlib.util.find_spec("sageattention") is not None, reason="it is here"),
        ),
    ],
)
def test_attention_that_there_is_not_is_refused(folder: Path, attention: str, reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        load(folder, "flux", attention=attention)


def test_attention_without_effect_is_refused(tmp_path: Path) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path / "model")
    with pytest.raises(InvalidConfiguration, match="attention: nothing in its pipeline takes one; leave it out"):
        load(tmp_path, "stable-diffusion", attention="native")
