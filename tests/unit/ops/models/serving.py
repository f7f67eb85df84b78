"""The first picture of a model, by its adapter alone."""

from __future__ import annotations

from typing import Any

from jobs.kinds.generate import GenerateSpec
from workers.engine.isolation import finish_all

STEPS = 2


def first_picture(adapter: Any) -> Any:
    """Of a job that says little, in few steps: of a text, or of a picture where the model only edits."""
    entry = adapter.entry
    said: dict[str, Any] = {"model": entry.name, "prompt": "a red circle", "seed": 0}
    if entry.takes_negative_prompt and entry.is_guided(entry.defaults.guidance_scale):
        said["negative_prompt"] = "a circle"  # Of no text, the tokenizer of a tiny Gemma makes no token.
    steps = min(STEPS, entry.defaults.num_inference_steps)
    spec = GenerateSpec.model_validate(entry.defaults.model_dump() | said | {"num_inference_steps": steps})
    work = adapter.work_to_try(spec)
    run = adapter.begin(work, adapter.encode([work])[0])
    while run.step < run.steps:
        run.advance(adapter.predict([run], 1, lambda _: None)[0])
    return finish_all(adapter, run)[0]
