"""What a job costs its caller: what it takes of the device, where its model's usual job takes 1."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.registry import cost_of, parse_request, settle
from jobs.process.settings import Settings

CATALOGUE = Catalogue.read(Settings().models_file)


def cost(**fields: Any) -> float:
    asked = {"prompt": "a red circle", "model": "shapes", **fields}
    return cost_of(settle(parse_request(asked), CATALOGUE), CATALOGUE)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 1.0),
        ({"n": 16}, 16.0),
        ({"num_inference_steps": 50}, 2.5),
        ({"width": 256, "height": 256}, 4.0),
        ({"width": 64}, 0.5),
        ({"guidance_scale": 1.0}, 0.5),
        ({"guidance_scale": 7.5}, 1.0),
        ({"n": 16, "num_inference_steps": 50}, 40.0),
        ({"n": 1, "num_inference_steps": 4}, 0.2),
        ({"model": "shapes-flow"}, 1.0),
        ({"model": "shapes-flow", "width": 192, "guidance_scale": 2.0}, 3.0),
        ({"model": "shapes-flow", "num_inference_steps": 20}, 2.5),
        ({"output": {"format": "webp"}, "priority": "high", "scheduler": "euler", "negative_prompt": "blue"}, 1.0),
    ],
)
def test_cost_is_rows_times_passes_times_pixels(fields: dict[str, Any], expected: float) -> None:
    assert cost(**fields) == pytest.approx(expected)
