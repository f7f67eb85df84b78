"""`models check`: what it finds of each model's entry and files, and that the doctor finds the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.doctor.finding import State
from ops.doctor.models import check_models
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
"""
SAID = {"name": "mine", "source": "mine", "dtype": "float16", "family": "stable-diffusion", "schedulers": '["default"]'}


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    write_stable_diffusion(tmp_path / "mine")
    write_entries(tmp_path, {})


def write_entries(folder: Path, *entries: dict[str, str]) -> None:
    (folder / "models.toml").write_text("".join(ENTRY.format(**SAID | each) for each in entries))


def check(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["models", "check", *arguments, "--json"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def make_gpu(folder: Path, memory_mib: int) -> None:
    """A driver that says how much its one device has."""
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {memory_mib}\n")
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
    if state is State.WARNING:
        assert "its weights take 0.01 GB of a device, and the largest GPU here has 0.0084 GB" in finding["found"]
