"""The first picture of a model, by its adapter alone: of a text, or of a picture where it only edits."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.generate import GenerateSpec
from workers.engine.isolation import finish_all
from workers.runners.edit_work import Work, edit_of

STEPS = 2


def first_picture(adapter: Any, catalogue: Catalogue, name: str, *, is_masked: bool = False) -> Any:
    """
    Of a job that says no more than it has to, in few steps.

    Args:
        is_masked: The model only repaints a part of a picture.
    """
    work: Any = _work(catalogue, name, is_masked=is_masked)
    run = adapter.begin(work, adapter.encode([work])[0])
    while run.step < run.steps:
        run.advance(adapter.predict([run], 1, lambda _: None)[0])
    return finish_all(adapter, run)[0]


def _work(catalogue: Catalogue, name: str, *, is_masked: bool) -> Work:
    entry = catalogue.models[name]
    said: dict[str, Any] = {"model": name, "prompt": "a red circle", "seed": 0}
    if entry.takes_negative_prompt and entry.is_guided(entry.defaults.guidance_scale):
        said["negative_prompt"] = "a circle"  # Of no text, the tokenizer of a tiny Gemma makes no token.
    steps = min(STEPS, entry.defaults.num_inference_steps)
    spec = GenerateSpec.model_validate(entry.defaults.model_dump() | said | {"num_inference_steps": steps})
    if not (is_masked or entry.traits.only_edits):
        return spec
    image = np.full((spec.height, spec.width, 3), 127, dtype=np.uint8)
    mask = np.ones(image.shape[:2], dtype=bool) if is_masked else None
    return edit_of(spec, image, mask, strength=0.5 if is_masked else 1.0)
