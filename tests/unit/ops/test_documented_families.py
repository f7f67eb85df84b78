"""What docs/models.md says of families, pipelines and sizes is so."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch

from jobs.catalogue.entry import Model
from jobs.catalogue.families import FAMILIES
from jobs.kinds.generate import GenerateSpec
from ops.models.published import read
from tests.further.listed import OLD, OTHERS, SERVED, UNABLE, WITHOUT_PROMPT
from tests.unit.workers import flow, tiny
from tests.unit.workers.adapters import QUIET, make_adapter, make_pixart
from workers.families.diffusers import WholePipeline
from workers.families.registry import families, family_of
from workers.families.whole.own_call import OwnCall

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

SOURCE = read()

ONLY_EDITING = [name for name, traits in FAMILIES.items() if traits.only_edits]

# Of each family, a tiny model.
ADAPTERS: dict[str, Callable[[], Any]] = {
    "stable-diffusion": lambda: make_adapter("stable-diffusion"),
    "stable-diffusion-xl": lambda: make_adapter("stable-diffusion-xl"),
    "stable-diffusion-3": lambda: flow.adapter_of("stable-diffusion-3"),
    "flux": lambda: flow.adapter_of("flux-dev"),
    "flux-kontext": lambda: flow.adapter_of("flux-kontext"),
    "flux2": lambda: flow.adapter_of("flux2-dev"),
    "flux2-klein": lambda: flow.adapter_of("flux2-klein"),
    "qwen-image": lambda: flow.adapter_of("qwen-image"),
    "qwen-image-edit": lambda: flow.adapter_of("qwen-image-edit"),
    "qwen-image-edit-plus": lambda: flow.adapter_of("qwen-image-edit-plus"),
    "z-image": lambda: flow.adapter_of("z-image"),
    "chroma": lambda: flow.adapter_of("chroma"),
    "aura-flow": lambda: flow.adapter_of("aura-flow"),
    "lumina2": lambda: flow.adapter_of("lumina2"),
    "hunyuan-image": lambda: flow.adapter_of("hunyuan-image"),
    "krea2": lambda: flow.adapter_of("krea2"),
    "sana": lambda: flow.adapter_of("sana"),
    "sana-sprint": lambda: flow.adapter_of("sana-sprint"),
    "pixart-sigma": lambda: make_pixart("pixart-sigma"),
    "pixart-alpha": lambda: make_pixart("pixart-alpha"),
    "diffusers": lambda: WholePipeline(tiny.model("diffusers"), tiny.stable_diffusion_3()),
}

# What a job may have otherwise.
OTHERWISE: dict[str, Any] = {
    "prompt": "a large blue cross left of a small yellow ring on a gray background",
    "negative_prompt": "gray",
    "width": 96,
    "height": 96,
    "num_inference_steps": 7,
    "guidance_scale": 2.0,
    "scheduler": "euler",
    "seed": 5,
    "n": 2,
}

# Of diffusers' transformers whose own defaults are the published configuration, or with what differs.
TRANSFORMERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "flux-dev": (diffusers.FluxTransformer2DModel, {"guidance_embeds": True}),
    "flux-schnell": (diffusers.FluxTransformer2DModel, {}),
    "flux2-dev": (diffusers.Flux2Transformer2DModel, {}),
    "qwen-image": (diffusers.QwenImageTransformer2DModel, {}),
    "z-image": (diffusers.ZImageTransformer2DModel, {}),
    "pixart-sigma": (diffusers.PixArtTransformer2DModel, {"sample_size": 128, "caption_channels": 4096}),
    "pixart-alpha": (diffusers.PixArtTransformer2DModel, {"sample_size": 128, "caption_channels": 4096}),
    "hunyuan-image": (diffusers.HunyuanImageTransformer2DModel, {"text_embed_2_dim": 1472}),
    "hunyuan-image-distilled": (
        diffusers.HunyuanImageTransformer2DModel,
        {"text_embed_2_dim": 1472, "guidance_embeds": True, "use_meanflow": True},
    ),
    "krea-2": (diffusers.Krea2Transformer2DModel, {}),
    "sana": (diffusers.SanaTransformer2DModel, {}),
    "chroma": (diffusers.ChromaTransformer2DModel, {}),
    "lumina-2": (diffusers.Lumina2Transformer2DModel, {}),
    "aura-flow": (diffusers.AuraFlowTransformer2DModel, {}),
}
_BILLION = 1e9
_ROUNDED = 5e-4  # billions


def share_key(adapter: Any, entry: Model, **fields: Any) -> Any:
    job: GenerateSpec = tiny.spec(entry, **{"prompt": "a ring", "guidance_scale": 3.0} | fields)
    work = adapter.work_to_try(job)  # Some only edit.
    return adapter.begin(work, adapter.encode([work])[0]).share_key


@pytest.mark.parametrize(
    "family",
    # Those that look at a megapixel in each of these jobs take long.
    [pytest.param(each, marks=[pytest.mark.long] if each in ONLY_EDITING else []) for each in SOURCE["families"]],
)
def test_jobs_of_a_pass_have_in_common_what_is_said(family: str) -> None:
    adapter = ADAPTERS[family]()
    entry = adapter.entry
    as_is = share_key(adapter, entry)
    others = {field: value for field, value in OTHERWISE.items() if field != "scheduler" or value in entry.schedulers}
    differs = {field for field, value in others.items() if share_key(adapter, entry, **{field: value}) != as_is}
    assert differs == {*SOURCE["families"][family]["alike"]}


@pytest.mark.parametrize("family", SOURCE["families"])
def test_family_loads_the_pipeline_that_is_said(family: str) -> None:
    pipeline = family_of(tiny.model("diffusers").model_copy(update={"family": family})).pipeline
    assert pipeline.__name__ == SOURCE["families"][family]["pipeline"]


def test_every_family_is_said() -> None:
    assert {*SOURCE["families"]} == {*families()} - {"simulated"}


def test_pipelines_that_were_tried_are_those_of_the_tests() -> None:
    of_families = {each["pipeline"] for each in SOURCE["families"].values()}
    assert {*SOURCE["pipelines"]} == {*SERVED} - of_families
    refused = "; ".join(SOURCE["refused"])
    assert [name for name in (*OTHERS, *UNABLE, *WITHOUT_PROMPT) if name not in refused] == []


@pytest.mark.parametrize("name", SOURCE["pipelines"])
def test_pipeline_takes_what_is_said(name: str) -> None:
    documented = SOURCE["pipelines"][name]
    takes = inspect.signature(getattr(diffusers, name).__call__).parameters
    fields = {"negative_prompt", "width", "height", "num_inference_steps"}
    assert {*documented.get("without", ())} == fields - {*takes}
    assert any(parameter.endswith("guidance_scale") for parameter in takes)


@pytest.mark.parametrize("name", SOURCE["pipelines"])
def test_pipeline_shares_calls_as_is_said(name: str) -> None:
    call = OwnCall(tiny.model("diffusers"), SERVED[name].make())
    alone = (call.is_alone(is_negated=False), call.is_alone(is_negated=True))
    expected = {None: (False, False), "not negated": (False, True), "never": (True, True)}
    assert alone == expected[SOURCE["pipelines"][name].get("shares")]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_parameters_are_those_of_the_class(name: str) -> None:
    kind, changes = TRANSFORMERS[name]
    with torch.device("meta"):
        count = sum(each.numel() for each in kind(**changes).parameters()) / _BILLION
    assert count == pytest.approx(SOURCE["published"][name]["parameters"]["transformer"], abs=_ROUNDED)
