"""`models check`: what it finds of each model's entry and files, and that the doctor finds the same."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from ops.cli import app
from ops.doctor.finding import State
from ops.doctor.models import check_models
from ops.models.components import read_pipeline
from ops.models.files import FolderFiles
from ops.models.memory import weights_bytes, with_components
from tests.unit.ops.models.written import write_json, write_safetensors, write_stable_diffusion

ENTRY = """
[models.{name}]
source = "{source}"
revision = "1"
dtype = "{dtype}"
family = "{family}"
schedulers = {schedulers}
defaults = {{ width = 512, height = 512, num_inference_steps = 5, guidance_scale = 3.0, scheduler = "default" }}
limits = {{ min_side = 256, max_side = 1024, max_steps = 100, max_n = 4 }}
{own}
{more}
"""
SAID = {
    "name": "mine",
    "source": "mine",
    "dtype": "float16",
    "family": "stable-diffusion",
    "schedulers": '["default"]',
    "own": "",
    "more": "",
}


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    write_stable_diffusion(tmp_path / "mine")
    write_entries(tmp_path, {})


def write_entries(folder: Path, *entries: dict[str, str]) -> None:
    (folder / "models.toml").write_text("".join(ENTRY.format(**SAID | each) for each in entries))


def parsed(folder: Path, more: str, own: str = "") -> Model:
    return Catalogue.parse(ENTRY.format(**SAID | {"more": more, "own": own}), folder / "models.toml").find(None)


def check(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["models", "check", *arguments, "--json"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def make_gpu(folder: Path, *memory_mib: int) -> None:
    """A driver that says how much its devices have."""
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n" + "".join(f"echo {each}\n" for each in memory_mib))
    program.chmod(0o755)


def test_whole_model_is_found_with_what_it_takes(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "mine/unet/diffusion_pytorch_model.safetensors", {"first": ("F16", [1 << 20, 4])})
    code, (catalogue, mine) = check()
    assert (code, catalogue["state"], mine["state"]) == (0, "ok", "ok")
    assert mine["check"] == "model mine"
    assert f"{tmp_path}/mine: weights take 0.0084 GB as float16 (unet 0.0084, " in mine["found"]


def test_one_model_is_checked_alone(tmp_path: Path) -> None:
    write_entries(tmp_path, {}, {"name": "gone", "source": "./gone"})
    assert check()[0] == 1
    code, (_, mine) = check("mine")
    assert (code, mine["check"]) == (0, "model mine")
    assert check("gone")[0] == 1


def test_model_that_there_is_not_is_said() -> None:
    code, (finding,) = check("none")
    assert (code, finding["state"]) == (1, "failure")
    assert "there is no model 'none'; the models are mine" in finding["found"]


def lose_shard_tensor(folder: Path) -> None:
    unet = folder / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    shard = "diffusion_pytorch_model-00001-of-00001.safetensors"
    write_json(unet / "diffusion_pytorch_model.safetensors.index.json", {"weight_map": {"a": shard, "b": shard}})
    write_safetensors(unet / shard, {"a": ("F16", [2])})


WRONG: dict[str, tuple[dict[str, str], Callable[[Path], object], str, State]] = {
    "class of another family": (
        {"family": "stable-diffusion-xl"},
        lambda _: None,
        "model_index.json names StableDiffusionPipeline, and family is stable-diffusion-xl",
        State.WARNING,
    ),
    "scheduler that nobody knows": (
        {"schedulers": '["default", "dimm"]'},
        lambda _: None,
        "no scheduler dimm is known",
        State.FAILURE,
    ),
    "scheduler of another kind of model": (
        {"family": "flux", "schedulers": '["default", "ddim", "heun"]'},
        lambda _: None,
        "models of family flux do not run with ddim",
        State.WARNING,
    ),
    "tensor that a shard has not": ({}, lose_shard_tensor, "has no b, which the model's index says", State.FAILURE),
    "component that is no object": (
        {},
        lambda at: write_json(at / "unet" / "config.json", []),
        "config.json holds no JSON object",
        State.FAILURE,
    ),
    "pointer of git-lfs": (
        {},
        lambda at: (at / "vae" / "config.json").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "is a git-lfs pointer",
        State.FAILURE,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str, tmp_path: Path) -> None:
    changes, spoil, found, state = WRONG[name]
    write_entries(tmp_path, changes)
    spoil(tmp_path / "mine")
    code, (_, finding) = check("mine")
    assert (finding["state"], code) == (state, int(state is State.FAILURE)), finding
    assert found in finding["found"]
    assert finding["advice"].endswith(".")
    assert check_models()[1].found == finding["found"]


@pytest.mark.parametrize(("memory_mib", "state"), [(20, State.OK), (8, State.WARNING)])
def test_weights_are_held_against_the_gpus_of_this_machine(tmp_path: Path, memory_mib: int, state: State) -> None:
    make_gpu(tmp_path, memory_mib)
    write_safetensors(tmp_path / "mine/unet/diffusion_pytorch_model.safetensors", {"first": ("F16", [1 << 20, 5])})
    code, (_, finding) = check()
    assert (code, finding["state"]) == (0, state)
    fit = "fits into GPU 0 (0.021 GB)" if state is State.OK else "not into GPU 0 (0.0084 GB)"
    assert f"; of a device 0.01 GB, which {fit}" in finding["found"]


def test_each_gpu_is_told_of(tmp_path: Path) -> None:
    make_gpu(tmp_path, 20, 8)
    write_safetensors(tmp_path / "mine/unet/diffusion_pytorch_model.safetensors", {"first": ("F16", [1 << 20, 5])})
    (_, finding) = check()[1]
    assert finding["state"] == "ok"
    assert "which fits into GPU 0 (0.021 GB), and not into GPU 1 (0.0084 GB)" in finding["found"]


def test_weights_are_counted_as_the_entry_loads_them(tmp_path: Path) -> None:
    """Half of the U-Net's two million numbers are in a matrix; the autoencoder is another, of four bytes each."""
    unet = {"matrix": ("F16", [1 << 10, 1 << 10]), "convolution": ("F16", [1 << 10, 1 << 8, 2, 2])}
    write_safetensors(tmp_path / "mine/unet/diffusion_pytorch_model.safetensors", unet)
    write_safetensors(tmp_path / "vae.safetensors", {"first": ("F16", [1 << 18])})
    write_entries(tmp_path, {"more": '[models.mine.components.vae]\nsource = "vae.safetensors"\ndtype = "float32"'})
    assert "weights take 0.0052 GB as float16 (unet 0.0042, vae 0.001, " in check()[1][1]["found"]
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes((1 << 20) - 4))
    model = parsed(tmp_path, '[models.mine.components.unet]\nsource = "x.gguf"')
    pipeline = read_pipeline(FolderFiles(tmp_path / "mine"))
    whole, kept = with_components(pipeline, Catalogue([model], tmp_path), model)
    assert weights_bytes(whole, model, kept)["unet"] == 1 << 20
    for how, bytes_of_matrix in (("int8", 1 << 20), ("fp8", 1 << 20), ("nf4", 9 << 16)):
        model = parsed(tmp_path, "", f'quantization = "{how}"')
        assert weights_bytes(pipeline, model, {})["unet"] == (2 << 20) + bytes_of_matrix


def test_weights_of_one_file_are_counted_too(tmp_path: Path) -> None:
    tensors = {
        "model.diffusion_model.input_blocks.0.weight": ("F16", [1 << 20]),
        "first_stage_model.decoder.conv_in.weight": ("F16", [1 << 18]),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": ("F16", [1 << 10, 1 << 9]),
    }
    write_safetensors(tmp_path / "one.safetensors", tensors)
    write_entries(tmp_path, {"source": "one.safetensors", "own": 'config = "mine"'})
    make_gpu(tmp_path, 3)
    (_, finding) = check()[1]
    said = (
        "one.safetensors: weights take 0.0037 GB as float16 (unet 0.0021, text_encoder 0.001, vae 0.00052); of a device"
    )
    assert said in finding["found"]
    assert (finding["state"], "not into GPU 0 (0.0031 GB)" in finding["found"]) == ("warning", True)


@pytest.mark.parametrize(
    ("offload", "needed", "fit"),
    [("model", "0.01", "not into GPU 0 (0.0084 GB)"), ("group", "2e-08", "fits into GPU 0 (0.0084 GB)")],
)
def test_what_waits_elsewhere_takes_no_memory_of_a_gpu(tmp_path: Path, offload: str, needed: str, fit: str) -> None:
    """Of whole components the largest is there, of layers the autoencoder."""
    write_entries(tmp_path, {"own": f'offload = "{offload}"'})
    write_safetensors(tmp_path / "mine/unet/diffusion_pytorch_model.safetensors", {"first": ("F16", [1 << 20, 5])})
    assert check()[1][1]["found"].endswith("; offload has no effect on this machine, which has no GPU")
    make_gpu(tmp_path, 8)
    assert f"; of a device {needed} GB, which {fit}" in check()[1][1]["found"]


def test_compiler_that_is_not_here_is_said(tmp_path: Path) -> None:
    """No program is on the PATH of these tests."""
    write_entries(tmp_path, {"own": 'compile = "blocks"'})
    code, (_, finding) = check()
    assert (code, finding["state"]) == (1, "failure")
    said = "compile: it needs a C++ compiler, and there is no g++ or clang++"
    assert finding["found"] == f"{said} (line 2 of models.toml)"


def test_what_is_for_gpus_is_said_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "packages" / "bitsandbytes" / "package.json", {})  # Found, and not imported.
    monkeypatch.syspath_prepend(tmp_path / "packages")
    write_entries(tmp_path, {"own": 'quantization = "nf4"'})
    code, (_, finding) = check()
    assert (code, finding["state"]) == (0, "warning")
    assert finding["found"].startswith('quantization: "nf4" is for GPUs, and this machine has none (line ')
    make_gpu(tmp_path, 20)
    assert check()[1][1]["state"] == "ok"


def test_package_that_a_quantization_needs_is_named(tmp_path: Path) -> None:
    write_entries(tmp_path, {"own": 'quantization = "nf4"'})
    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed")
    code, (_, finding) = check()
    assert (code, finding["state"]) == (1, "failure")
    said = 'quantization: "nf4" needs the package bitsandbytes, which is not here'
    assert finding["found"] == f"{said} (line 2 of models.toml)"
    assert finding["advice"].startswith("Install it where workers run: ")
