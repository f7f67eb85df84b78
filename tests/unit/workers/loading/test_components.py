"""Components that an entry names by themselves are those of the loaded pipeline, and make its pictures."""

from __future__ import annotations

import gc
import importlib.util
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_engine, run, submit
from tests.unit.workers.original import save_original
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)

FAMILY = "stable-diffusion"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a model, another autoencoder, and the model's transformer in files of their own."""
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "model")
    save_original(pipeline, tmp_path / "whole.safetensors")
    save_original(pipeline, tmp_path / "no-vae.safetensors", ["first_stage_model."])
    tensors = {name: each.contiguous() for name, each in pipeline.unet.state_dict().items()}  # Other tests turn them.
    save_file(tensors, tmp_path / "unet.safetensors")
    other_autoencoder().save_pretrained(tmp_path / "other")
    return tmp_path


def other_autoencoder() -> AutoencoderKL:
    torch.manual_seed(9)
    other = AutoencoderKL.from_config(tiny.stable_diffusion().vae.config)
    assert isinstance(other, AutoencoderKL)
    return other.eval()


def entry(components: dict[str, Any], **changes: Any) -> Model:
    return tiny.model(FAMILY, **{"source": "model", "components": components} | changes)


def load(folder: Path, model: Model) -> Any:
    return load_model(Catalogue([model], folder), model, torch.device("cpu"), 1 << 20)


def assert_equal(loaded: torch.nn.Module, expected: torch.nn.Module) -> None:
    torch.testing.assert_close(dict(loaded.state_dict()), dict(expected.state_dict()), rtol=0, atol=0)


def assert_makes_a_picture(adapter: Any) -> None:
    engine = make_engine(adapter)
    ticket = submit(engine, tiny.spec(adapter.entry, num_inference_steps=2))
    run(engine, ticket)
    assert [picture.shape for picture in ticket.result()] == [(tiny.SIDE, tiny.SIDE, 3)]


@pytest.mark.parametrize(
    ("source", "component"),
    [
        ("model", {"source": "other"}),
        ("model", {"source": "others/model", "subfolder": "vae"}),
        ("no-vae.safetensors", {"source": "other"}),
    ],
)
def test_autoencoder_of_another_source_is_loaded(folder: Path, source: str, component: dict[str, str]) -> None:
    other_autoencoder().save_pretrained(folder / "others" / "model" / "vae")
    config = None if source == "model" else "model"
    pipeline = load(folder, entry({"vae": component}, source=source, config=config)).pipeline
    assert_equal(pipeline.vae, other_autoencoder())
    assert_equal(pipeline.unet, tiny.stable_diffusion().unet)


@pytest.mark.parametrize("file", ["unet.safetensors", "whole.safetensors"])
def test_model_of_one_file_is_loaded_beside_the_rest(folder: Path, file: str) -> None:
    (folder / "model" / "unet" / WEIGHTS).unlink()
    assert_equal(load(folder, entry({"unet": {"source": file}})).pipeline.unet, tiny.stable_diffusion().unet)


@pytest.mark.parametrize(("source", "config"), [("model", None), ("whole.safetensors", "model")])
def test_component_has_a_type_of_its_own(folder: Path, source: str, config: str | None) -> None:
    adapter = load(folder, entry({"vae": {"dtype": "float32"}}, source=source, config=config, dtype="bfloat16"))
    assert {name: getattr(adapter.pipeline, name).dtype for name in ("vae", "unet")} == {
        "vae": torch.float32,
        "unet": torch.bfloat16,
    }
    assert_equal(adapter.pipeline.vae, tiny.stable_diffusion().vae)  # Not from bfloat16 back.
    assert_makes_a_picture(adapter)


def test_transformer_of_one_file_and_a_type_of_the_autoencoder_in_a_flow_family(tmp_path: Path) -> None:
    pipeline = tiny_pipelines.flux()
    pipeline.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "transformer" / WEIGHTS).rename(tmp_path / "flux.safetensors")
    model = tiny.model(
        "flux",
        source="model",
        dtype="bfloat16",
        schedulers=("default",),
        components={"transformer": {"source": "flux.safetensors"}, "vae": {"dtype": "float32"}},
    )
    adapter = load(tmp_path, model)
    assert_equal(adapter.pipeline.transformer, pipeline.transformer.to(torch.bfloat16))
    assert_equal(adapter.pipeline.vae, pipeline.vae)
    assert_makes_a_picture(adapter)


def test_type_that_no_pass_heeds_is_refused() -> None:
    for name in ("text_encoder", "unet"):
        with pytest.raises(ValidationError, match=rf"components.{name}.dtype: only the vae may have another"):
            entry({name: {"dtype": "float32"}}, dtype="bfloat16")


def refusal(folder: Path, components: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(InvalidConfiguration) as raised:
        load(folder, entry(components, **changes))
    reason = str(raised.value)
    assert "\n" not in reason
    return reason


@pytest.mark.parametrize(
    ("components", "reason"),
    [
        (
            {"transformer": {"source": "other"}},
            "components.transformer: StableDiffusionPipeline has no such component; it has ",
        ),
        ({"safety_checker": {"source": "other"}}, "components.safety_checker: the model runs without one; set"),
        ({"tokenizer": {"dtype": "float32"}}, "components.tokenizer: CLIPTokenizer has no weights: leave dtype out"),
        ({"text_encoder": {"source": "unet.safetensors"}}, "CLIPTextModel does not load from one file: name a folder"),
        ({"vae": {"source": "gone.safetensors"}}, "components.vae: there is no gone.safetensors; put it there"),
        ({"vae": {"source": "./gone"}}, "components.vae: there is no ./gone; put it there"),
        ({"vae": {"source": "model", "subfolder": "vea"}}, "/model/vea; put it there"),
        ({"vae": {"source": "other", "revision": "1"}}, "revision is set, and source is not of a hub; leave revision"),
        ({"unet": {"source": "unet.safetensors", "variant": "fp16"}}, "variant is set, and source is one file; leave"),
        ({"vae": {"source": "some/vae"}}, 'set revision = "<commit>" of [models.stable-diffusion.components.vae]'),
        ({"vae": {"source": "tokenizers"}}, "components.vae: there is no folder tokenizers, and of a hub's model"),
    ],
)
def test_component_that_does_not_fit_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, components: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert reason in refusal(folder, components)


def test_tensor_that_a_component_lacks_is_named(folder: Path) -> None:
    encoder = folder / "model" / "text_encoder" / "model.safetensors"
    names = {
        encoder: "final_layer_norm.bias",
        folder / "other" / WEIGHTS: "decoder.conv_out.bias",
        folder / "unet.safetensors": "conv_out.bias",
    }
    for file, name in names.items():
        tensors = load_file(file)
        del tensors[name]
        save_file(tensors, file, {"format": "pt"})
    whole = {"source": "whole.safetensors", "config": "model"}
    assert "text_encoder: 1 tensor is in no file: final_layer_norm.bias" in refusal(
        folder, {"text_encoder": {"source": "model"}}, **whole
    )
    assert "vae: 1 tensor is in no file: decoder.conv_out.bias" in refusal(
        folder, {"vae": {"source": "other"}}, **whole
    )
    assert "unet.safetensors lacks tensors of UNet2DConditionModel" in refusal(
        folder, {"unet": {"source": "unet.safetensors"}}, **whole
    )


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_file_that_is_not_whole_is_refused(folder: Path, content: bytes) -> None:
    (folder / "unet.safetensors").write_bytes(content)
    assert f"components.unet: {folder / 'unet.safetensors'} is " in refusal(
        folder, {"unet": {"source": "unet.safetensors"}}
    )


@pytest.mark.skipif(importlib.util.find_spec("gguf") is not None, reason="the package is here")
def test_package_that_a_quantized_file_needs_is_named(folder: Path) -> None:
    (folder / "unet.gguf").write_bytes(b"GGUF")
    assert "components.unet: a file of GGUF needs the package gguf, which is not here; install it" in refusal(
        folder, {"unet": {"source": "unet.gguf"}}
    )


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        ({}, "it says nothing: set source, dtype or quantization"),
        ({"revision": "1"}, "revision is that of source, which is not set"),
        ({"source": "other", "dtype": "int4"}, "dtype"),
        ({"source": "other", "subfolder": "../.."}, "subfolder"),
        ({"folder": "other"}, "folder"),
    ],
)
def test_table_of_a_component_is_checked(component: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        entry({"vae": component})


def test_text_encoder_that_two_entries_name_alike_is_loaded_once(folder: Path) -> None:
    tiny.stable_diffusion().text_encoder.save_pretrained(folder / "texts")
    components = {"text_encoder": {"source": "texts"}}
    one, two = (load(folder, entry(components, name=name)) for name in ("one", "two"))
    assert one.pipeline.text_encoder is two.pipeline.text_encoder
    assert one.pipeline.unet is not two.pipeline.unet
    other = load(folder, entry(components, name="other", dtype="bfloat16"))
    own = load(folder, entry({}, name="own"))
    assert len({id(each.pipeline.text_encoder) for each in (one, other, own)}) == 3
    for each in (one, two):
        assert_makes_a_picture(each)
    weights = weakref.ref(one.pipeline.text_encoder)
    del one, each
    gc.collect()
    assert weights() is two.pipeline.text_encoder
    del two
    gc.collect()
    assert weights() is None


def test_text_encoder_that_learned_words_belongs_to_its_entry_alone(folder: Path) -> None:
    """Its table of words is longer."""
    pipeline = tiny.stable_diffusion()
    pipeline.text_encoder.save_pretrained(folder / "texts")
    save_file({"emb_params": torch.ones(1, pipeline.text_encoder.config.hidden_size)}, folder / "word.safetensors")
    components = {"text_encoder": {"source": "texts"}}
    plain = load(folder, entry(components, name="plain"))
    size = plain.pipeline.text_encoder.get_input_embeddings().num_embeddings
    taught = load(folder, entry(components, name="taught", textual_inversions={"<word>": "word.safetensors"}))
    assert taught.pipeline.text_encoder.get_input_embeddings().num_embeddings > size
    assert plain.pipeline.text_encoder.get_input_embeddings().num_embeddings == size
