"""Weights wait elsewhere until they are computed with, where an entry asks it, and make the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from pydantic import ValidationError
from structlog.testing import capture_logs

from tests.further.listed import OLD
from tests.unit.workers import flow, tiny
from tests.unit.workers.adapters import QUIET, make_engine, run, submit
from workers.families.family import PictureFamily
from workers.families.parts.devices import device_of
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.registry import family_of
from workers.loading.assembly.offload import Turns, by_component, by_layer, parts_of, place
from workers.runners.edit_work import edit_of_gray

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")

PROMPT = 'a red circle, and "blue" on it'  # What stands in quotation marks has a text encoder of its own, of some.

# Pipelines of their own: those of `tiny` are shared with other tests, which are to have no hooks.
UNETS: dict[str, Callable[[], Any]] = {
    "stable-diffusion": tiny.stable_diffusion.__wrapped__,
    "stable-diffusion-xl": tiny.stable_diffusion_xl.__wrapped__,
}
WHOLE = "diffusers"
FLOW = ("flux-dev", "flux2-klein", "qwen-image", "z-image", "hunyuan-image", "sana")
_SHORT = ("stable-diffusion", "flux-dev")
NAMES = [pytest.param(each, marks=[] if each in _SHORT else [pytest.mark.long]) for each in (*UNETS, WHOLE, *FLOW)]


def pipeline_of(name: str) -> DiffusionPipeline:
    if name in UNETS:
        return UNETS[name]()
    return tiny.stable_diffusion.__wrapped__() if name == WHOLE else flow.ALL[name][1]()


def adapted(name: str, pipeline: Any) -> PictureFamily[Any]:
    entry = tiny.model(name) if name in (*UNETS, WHOLE) else flow.entry_of(name)
    return family_of(entry).adapt(entry, pipeline, EmbeddingCache(1 << 20))


def modules_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def pictures(adapter: PictureFamily[Any]) -> list[Any]:
    """Two jobs in turn, the second an edit where the model does such: what was there before is fetched again."""
    engine = make_engine(adapter)
    made = []
    for seed in (1, 2):
        side = max(adapter.entry.defaults.width, adapter.entry.traits.min_seen_side)
        fields = {"num_inference_steps": 2, "seed": seed, "width": side, "height": side, "prompt": PROMPT}
        job = tiny.spec(adapter.entry, **fields)
        is_edit = seed == 2 and "image" in (adapter.ways_to_edit or adapter.entry.ways_to_edit or {})
        ticket = submit(engine, edit_of_gray(job) if is_edit else adapter.work_to_try(job))
        run(engine, ticket)
        made += ticket.result()
    return made


def assert_present(turns: Turns, parts: dict[str, torch.nn.Module], seen: set[str]) -> None:
    """Have every layer that computes look whether its component is the one on the device."""
    for name, part in parts.items():

        def look(_layer: Any, _arguments: Any, name: str = name, part: torch.nn.Module = part) -> None:
            assert turns.present is part, f"{name} computes, and is not on the device"
            seen.add(name)

        for layer in part.modules():
            if not [*layer.children()]:
                layer.register_forward_pre_hook(look)


@pytest.mark.parametrize("name", NAMES)
def test_components_take_turns_and_each_is_there_when_it_computes(name: str) -> None:
    pipeline, plain = pipeline_of(name), pipeline_of(name)
    parts, seen = modules_of(pipeline), set[str]()
    turns = by_component(parts, CPU)
    assert_present(turns, parts, seen)
    np.testing.assert_array_equal(pictures(adapted(name, pipeline)), pictures(adapted(name, plain)))
    assert seen == parts.keys()


@pytest.mark.parametrize("name", [each for each in NAMES if WHOLE not in each.values])  # That one takes a minute.
def test_layers_come_and_go_and_pictures_are_the_same(name: str) -> None:
    pipeline, plain = pipeline_of(name), pipeline_of(name)
    by_layer(modules_of(pipeline), CPU)
    hooked = {name for name, part in modules_of(pipeline).items() if any(map(is_hooked, part.modules()))}
    assert hooked == modules_of(pipeline).keys() - {"vae"}
    np.testing.assert_array_equal(pictures(adapted(name, pipeline)), pictures(adapted(name, plain)))


def is_hooked(layer: torch.nn.Module) -> bool:
    registry = getattr(layer, "_diffusers_hook", None)
    return registry is not None and registry.get_hook("group_offloading") is not None


def test_one_component_is_on_the_device_at_a_time() -> None:
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    turns = Turns(ELSEWHERE)  # Whose tensors hold nothing: what moved there shows, and does not come back.
    turns.bring(first)
    assert (first.weight.device.type, second.weight.device.type) == ("meta", "cpu")
    turns.bring(first)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        turns.bring(second)


def test_inputs_go_to_where_a_component_will_compute() -> None:
    pipeline = flow.ALL["flux-dev"][1]()
    place(pipeline, flow.entry_of("flux-dev", offload="model"), ELSEWHERE)
    assert pipeline.transformer.device == CPU
    assert {device_of(part).type for part in modules_of(pipeline).values()} == {"meta"}
    assert pipeline._execution_device.type == "meta"


def test_text_encoders_that_compute_on_the_processor_stay_there() -> None:
    pipeline = flow.ALL["flux-dev"][1]()
    entry = flow.entry_of("flux-dev", offload="model", text_device="cpu")
    place(pipeline, entry, ELSEWHERE)
    devices = {name: device_of(part).type for name, part in modules_of(pipeline).items()}
    assert devices == {"text_encoder": "cpu", "text_encoder_2": "cpu", "transformer": "meta", "vae": "meta"}
    assert parts_of(pipeline, entry).keys() == {"transformer", "vae"}


@pytest.mark.parametrize("how", ["model", "group"])
def test_a_processor_serves_it_and_says_that_it_has_no_effect(how: str) -> None:
    pipeline = flow.ALL["flux-dev"][1]()
    with capture_logs() as logs:
        place(pipeline, flow.entry_of("flux-dev", offload=how), CPU)
    assert [(each["log_level"], each["event"].partition(":")[0]) for each in logs] == [
        ("warning", "offload has no effect")
    ]
    assert not any(hasattr(part, "_hf_hook") for part in modules_of(pipeline).values())


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"quantization": "nf4", "offload": "model"}, 'offload: weights of quantization "nf4" stay on their GPU'),
        ({"compile": "blocks", "offload": "group"}, "offload: layers that come and go are not compiled: take "),
        ({"offload": "disk"}, "offload"),
        ({"family": "simulated", "offload": "model"}, "offload: models of family simulated do not heed it"),
    ],
)
def test_entry_that_cannot_be_is_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        tiny.model(changes.pop("family", "flux"), **changes)
