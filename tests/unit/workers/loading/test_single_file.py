"""A model in one file, under the names that its trainers gave the tensors, is the pipeline that it was made of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from tests.unit.workers import tiny, tiny_files
from tests.unit.workers.adapters import QUIET, make_engine, run, submit
from tests.unit.workers.original import save_original
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)

FILE = "mine.safetensors"
TEXT = "cond_stage_model.transformer.text_model."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the file of a model, and the configuration of its pipeline."""
    pipeline = tiny.stable_diffusion()
    save_original(pipeline, tmp_path / FILE)
    pipeline.save_pretrained(tmp_path / "configuration")
    for weights in (tmp_path / "configuration").glob("*/*.safetensors"):
        weights.unlink()
    return tmp_path


def entry(family: str = "stable-diffusion", **changes: Any) -> Model:
    return tiny.model(family, **{"source": FILE, "config": "configuration"} | changes)


def load(folder: Path, model: Model) -> Any:
    return load_model(Catalogue([model], folder), model, torch.device("cpu"), 1 << 20)


def refusal(folder: Path, model: Model) -> str:
    with pytest.raises(InvalidConfiguration) as raised:
        load(folder, model)
    reason = str(raised.value)
    assert "\n" not in reason
    return reason


def test_file_makes_the_pictures_of_its_pipeline(folder: Path, tmp_path: Path) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path / "ordinary")
    of_file, ordinary = load(folder, entry()), load(folder, entry(source="ordinary", config=None))
    for part in ("unet", "vae", "text_encoder"):
        loaded, expected = (getattr(each.pipeline, part).state_dict() for each in (of_file, ordinary))
        torch.testing.assert_close(dict(loaded), dict(expected), rtol=0, atol=0)
    assert (pictures(of_file)[0] == pictures(ordinary)[0]).all()


def test_file_of_sdxl_is_the_pipeline_that_it_was_made_of(tmp_path: Path) -> None:
    pipeline = tiny_files.stable_diffusion_xl()
    save_original(pipeline, tmp_path / FILE)
    pipeline.save_pretrained(tmp_path / "configuration")
    of_file = load(tmp_path, entry("stable-diffusion-xl"))
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        loaded, expected = (getattr(each, part).state_dict() for each in (of_file.pipeline, pipeline))
        torch.testing.assert_close(dict(loaded), dict(expected), rtol=0, atol=0)


def pictures(adapter: Any) -> Any:
    engine = make_engine(adapter)
    ticket = submit(engine, tiny.spec(adapter.entry, num_inference_steps=2))
    run(engine, ticket)
    return ticket.result()


def test_file_runs_behind_its_pipelines_own_call(folder: Path) -> None:
    assert pictures(load(folder, entry("diffusers")))[0].shape == (tiny.SIDE, tiny.SIDE, 3)


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        (TEXT, "the file has no text_encoder: name one as source of [models.stable-diffusion.components.text_encoder]"),
        ("first_stage_model.", "the file has no vae: name one as source of"),
        (f"{TEXT}final_layer_norm.bias", "text_encoder: 1 tensor is in no file: final_layer_norm.bias; download"),
        ("model.diffusion_model.out.2.bias", "UNet2DConditionModel: 1 tensor is not in it: conv_out.bias; download"),
    ],
)
def test_what_a_file_lacks_is_named(folder: Path, without: str, reason: str) -> None:
    save_original(tiny.stable_diffusion(), folder / FILE, [without])
    assert reason in refusal(folder, entry())


def test_tensor_of_another_shape_is_named(folder: Path) -> None:
    tensors = load_file(folder / FILE)
    tensors["model.diffusion_model.out.2.bias"] = torch.zeros(5)
    save_file(tensors, folder / FILE, {"format": "pt"})
    assert "conv_out.bias" in refusal(folder, entry())


def test_file_without_configuration_says_whose_it_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    reason = refusal(folder, entry(config=None))
    assert "is taken for one like stable-diffusion-v1-5/stable-diffusion-v1-5: the configuration of" in reason
    assert "set config of [models.stable-diffusion] in models.toml to the folder of such a pipeline" in reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "no.safetensors"}, "there is no file no.safetensors; put the model there"),
        ({"source": "configuration"}, "config is set, and source is no file; leave config out of"),
        ({"source": "somebody/sdxl"}, "config is set, and source is no file; leave config out of"),
        ({"variant": "fp16"}, "variant is set, and source is one file; leave variant out of"),
        ({"config": "somebody/sdxl"}, 'set config = "somebody/sdxl@<commit>" of [models.stable-diffusion] in models'),
        ({"config": "./gone"}, "there is no folder ./gone"),
        ({"family": "stable-diffusion-xl"}, "its configuration is one of StableDiffusionPipeline, and family"),
        ({"family": "krea2"}, "Krea2Pipeline does not load from one file: name the folder"),
    ],
)
def test_entry_that_does_not_fit_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert reason in refusal(folder, entry(**changes))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (FILE, b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "is a git-lfs pointer"),
        (FILE, b"", "is cut short, or no safetensors file: it has 0 bytes"),
        (FILE, b"<!doctype html><html>", "is cut short, or no safetensors file"),
        ("mine.ckpt", b"", "is a pickle, which may run code while it is loaded"),
        ("mine.gguf", b"GGUF", "holds one component; name it as source of [models.stable-diffusion.components."),
        ("mine.sft", b"", "is no .safetensors file"),
    ],
)
def test_file_that_is_not_whole_is_refused(folder: Path, name: str, content: bytes, reason: str) -> None:
    (folder / name).write_bytes(content)
    assert reason in refusal(folder, entry(source=name))


def test_file_that_is_cut_short_is_refused(folder: Path) -> None:
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[:-1])
    assert f"has {len(whole) - 1} bytes, and its header says {len(whole)}; copy the model again" in refusal(
        folder, entry()
    )


def test_configuration_that_lacks_a_vocabulary_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "configuration" / "tokenizer")
    assert "names tokenizer, and there is no folder" in refusal(folder, entry())


def test_pickles_beside_a_configuration_are_not_loaded(folder: Path) -> None:
    (folder / "configuration" / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"")
    assert "diffusion_pytorch_model.bin is a pickle" in refusal(folder, entry())
