"""Families of flow-matching transformers that the benchmark does not have: what each has of its own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SanaSprintImg2ImgPipeline
from PIL import Image

from jobs.errors import InvalidConfiguration
from tests.further.listed import OLD
from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.scheduler_names import OWN
from workers.families.registry import family_of
from workers.runners.edit_work import edit_of

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]


@pytest.mark.parametrize(
    ("model", "kind", "options"),
    [
        (
            "sana-sprint",
            SanaSprintImg2ImgPipeline,
            {"use_resolution_binning": False, "intermediate_timesteps": None},
        ),
    ],
)
def test_edit_is_what_the_pipelines_sibling_makes(model: str, kind: Any, options: dict[str, Any]) -> None:
    adapter, side = flow.adapter_of(model), flow.side_of(model)
    picture = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    edit = edit_of(flow.spec_of(model, num_inference_steps=5), picture, strength=0.6)
    run_ = adapter.begin(edit, adapter.encode([edit])[0])
    run_.advance(adapter.predict([run_], 1, lambda _step: None)[0])
    parts = {name: part for name, part in adapter.pipeline.components.items() if part is not None}
    sibling = kind(**parts | {"scheduler": copy.deepcopy(adapter.pipeline.scheduler)})
    expected = sibling(
        prompt=edit.spec.prompt,
        image=Image.fromarray(picture),
        strength=0.6,
        width=side,
        height=side,
        num_inference_steps=5,
        guidance_scale=edit.spec.guidance_scale,
        max_sequence_length=flow.max_tokens(model),
        generator=torch.Generator().manual_seed(edit.spec.seed),
        output_type="np",
        **options,
    ).images[0]
    assert np.abs(adapter.finish(run_, 1)[0] / 255 - expected).max() <= 1 / 255


@pytest.mark.parametrize("guiders", [("ocr_guider",), ("guider", "ocr_guider")])
def test_guiders_that_are_not_the_models_own_are_refused_at_load(guiders: tuple[str, ...]) -> None:
    """Letters alone would be guided, and a distilled model twice."""
    model = "hunyuan-image" if len(guiders) == 1 else "hunyuan-image-distilled"
    pipeline = copy.copy(flow.pipeline_of(model))
    found = flow.pipeline_of("hunyuan-image").guider
    pipeline.guider, pipeline.ocr_guider = (found if name in guiders else None for name in ("guider", "ocr_guider"))
    entry = flow.entry_of(model)
    with pytest.raises(InvalidConfiguration, match=r'guiders are not those .* set family = "diffusers"'):
        family_of(entry).adapt(entry, pipeline, EmbeddingCache(1 << 20))


def test_consistency_model_runs_with_its_own_scheduler_alone() -> None:
    with pytest.raises(
        InvalidConfiguration, match=r"cannot run scheduler 'euler' \(its steps are of its own scheduler"
    ):
        flow.adapter_of("sana-sprint", schedulers=(OWN, "euler"))
