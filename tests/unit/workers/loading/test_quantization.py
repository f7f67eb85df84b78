"""The weights that an entry asks it of are loaded in fewer bits, and make about the same pictures; or it is refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_engine, run, submit
from tests.unit.workers.original import save_original
from workers.loading.assembly.quantization import check_device, is_quantized, naming_quantized
from workers.loading.errors import NotLoaded
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)

TORCHAO = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")
NO_TORCHAO = pytest.mark.skipif(importlib.util.find_spec("torchao") is not None, reason="torchao is installed")
NO_BITSANDBYTES = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="it is installed")

STEPS = 2


@pytest.fixture
def flux(tmp_path: Path) -> Path:
    tiny_pipelines.flux().save_pretrained(tmp_path / "model")
    return tmp_path


def entry(family: str, **changes: Any) -> Model:
    return tiny.model(family, **{"source": "model", "schedulers": ("default",)} | changes)


def load(folder: Path, model: Model) -> Any:
    return load_model(Catalogue([model], folder), model, torch.device("cpu"), 1 << 20)


def latents(adapter: Any) -> torch.Tensor:
    job = tiny.spec(adapter.entry, num_inference_steps=STEPS)
    begun = adapter.begin(job, adapter.encode([job])[0])
    for _ in range(STEPS):
        begun.advance(adapter.predict([begun], 8, lambda _step: None)[0])
    made: torch.Tensor = begun.latents
    return made


def assert_makes_a_picture(adapter: Any) -> None:
    engine = make_engine(adapter)
    ticket = submit(engine, tiny.spec(adapter.entry, num_inference_steps=STEPS))
    run(engine, ticket)
    assert [picture.shape for picture in ticket.result()] == [(tiny.SIDE, tiny.SIDE, 3)]


def quantized_parts(pipeline: Any) -> set[str]:
    modules = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {name for name, part in modules.items() if any(map(is_quantized, part.parameters()))}


def assert_about_equal(made: torch.Tensor, expected: torch.Tensor) -> None:
    """Not equal, as nothing would be quantized then; and much more alike than two pictures."""
    assert not torch.equal(made, expected)
    alike = torch.nn.functional.cosine_similarity(made.flatten().float(), expected.flatten().float(), dim=0)
    assert alike > 0.99


@TORCHAO
@pytest.mark.parametrize("how", ["int8", "fp8"])
def test_transformer_and_text_encoder_are_quantized_where_the_entry_asks_it(flux: Path, how: str) -> None:
    plain = load(flux, entry("flux"))
    transformer = load(flux, entry("flux", quantization=how))
    text = load(flux, entry("flux", components={"text_encoder_2": {"quantization": how}}))
    assert [quantized_parts(each.pipeline) for each in (plain, transformer, text)] == [
        set(),
        {"transformer"},
        {"text_encoder_2"},
    ]
    for each in (transformer, text):
        assert_about_equal(latents(each), latents(plain))
    assert_makes_a_picture(transformer)


@TORCHAO
def test_component_is_quantized_in_its_own_way(flux: Path) -> None:
    model = entry("flux", quantization="int8", dtype="bfloat16", components={"transformer": {"quantization": "fp8"}})
    weight = load(flux, model).pipeline.transformer.transformer_blocks[0].attn.to_q.weight
    assert (type(weight).__name__, weight.dtype) == ("Float8Tensor", torch.bfloat16)


@TORCHAO
@pytest.mark.parametrize("source", ["model", "whole.safetensors"])
def test_unet_of_a_folder_and_of_one_file_is_quantized(tmp_path: Path, source: str) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "model")
    save_original(pipeline, tmp_path / "whole.safetensors")
    config = None if source == "model" else "model"
    adapter = load(tmp_path, entry("stable-diffusion", source=source, config=config, quantization="int8"))
    assert quantized_parts(adapter.pipeline) == {"unet"}
    assert_about_equal(latents(adapter), latents(load(tmp_path, entry("stable-diffusion"))))
    assert_makes_a_picture(adapter)


@TORCHAO
def test_weights_that_are_no_numbers_are_found_in_fewer_bits_too(flux: Path) -> None:
    spoiled = tiny_pipelines.flux().transformer
    broken = type(spoiled).from_config(spoiled.config)
    with torch.no_grad():
        broken.transformer_blocks[0].attn.to_q.weight[3, 4] = torch.nan
    broken.save_pretrained(flux / "model" / "transformer")
    with pytest.raises(InvalidConfiguration, match=r"transformer: 1 tensor is partly NaN .*attn\.to_q\.weight"):
        load(flux, entry("flux", quantization="int8"))


@TORCHAO
def test_what_has_no_weights_is_refused(flux: Path) -> None:
    model = entry("flux", components={"tokenizer": {"quantization": "int8"}})
    with pytest.raises(
        InvalidConfiguration, match=r"components.tokenizer.quantization: .* has no weights; leave it out"
    ):
        load(flux, model)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({"quantization": "fp8"}, 'quantization: "fp8" needs the package torchao', marks=NO_TORCHAO),
        pytest.param({"quantization": "nf4"}, 'quantization: "nf4" needs the package bits', marks=NO_BITSANDBYTES),
        pytest.param(
            {"components": {"text_encoder_2": {"quantization": "nf4"}}},
            'components.text_encoder_2.quantization: "nf4" needs the package bitsandbytes, which is not here; ins',
            marks=NO_BITSANDBYTES,
        ),
    ],
)
def test_package_that_is_not_here_is_named(flux: Path, changes: dict[str, Any], found: str) -> None:
    with pytest.raises(InvalidConfiguration, match=found):
        load(flux, entry("flux", **changes))


def test_what_is_for_gpus_is_refused_on_a_processor() -> None:
    model = entry("flux", components={"text_encoder_2": {"quantization": "nf4"}})
    with pytest.raises(NotLoaded, match=r'text_encoder_2.quantization: "nf4" is for GPUs, .*: set min_vram_gb of \[mo'):
        check_device(model, torch.device("cpu"))
    check_device(model, torch.device("cuda"))


def test_pipeline_without_a_denoiser_of_a_known_name_is_refused() -> None:
    with pytest.raises(NotLoaded, match="OddPipeline has no transformer and no unet; name the component that is to "):
        naming_quantized(entry("diffusers", quantization="int8"), {"_class_name": "OddPipeline", "unet": [None, None]})


REFUSED: dict[str, tuple[Callable[[], Model], str]] = {
    "a file of GGUF": (
        lambda: entry("flux", components={"transformer": {"source": "x.gguf", "quantization": "int8"}}),
        "quantization: a file of GGUF is quantized already",
    ),
    "nf4 on the processor": (
        lambda: entry("flux", text_device="cpu", components={"text_encoder_2": {"quantization": "nf4"}}),
        'components.text_encoder_2.quantization: "nf4" is for GPUs alone, and text_device is "cpu"',
    ),
    "a family without weights": (
        lambda: entry("simulated", quantization="int8"),
        "quantization: models of family simulated do not heed it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_entry_that_cannot_be_is_refused(name: str) -> None:
    make, found = REFUSED[name]
    with pytest.raises(ValidationError, match=found):
        make()


def test_form_of_weights_is_part_of_what_times_hold_for() -> None:
    assert entry("flux").loaded_as == "float32"
    model = entry("flux", quantization="int8", components={"text_encoder_2": {"quantization": "fp8"}})
    assert model.loaded_as == "float32 int8 components.text_encoder_2.fp8"
