"""`./imagemill models check --load`: what a worker would say of a model's tensors, before there is a worker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from ops.settings import CHECKOUT
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated

MODELS = CHECKOUT / "workers" / "builtin" / "model"


def findings(system: System, *options: str, **env: str) -> tuple[int, dict[str, Any]]:
    done = system.cli("models", "check", "--json", *options, env=env)
    assert "Traceback" not in done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {each["check"]: each for each in found}


def test_tensor_that_no_file_has_is_found_before_a_worker_starts(make_system: MakeSystem, tmp_path: Path) -> None:
    shutil.copytree(MODELS, tmp_path / "lacking")
    file = tmp_path / "lacking" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_in.bias"]
    save_file(tensors, file, {"format": "pt"})
    text = (CHECKOUT / "models.toml").read_text("utf-8")
    entry = text[text.index("[models.shapes]") :].split("\n[models.", 1)[0]
    whole = entry.replace('"workers/builtin/model"', json.dumps(str(MODELS)))
    lacking = whole.replace("[models.shapes]", "[models.lacking]").replace(str(MODELS), str(tmp_path / "lacking"))
    system = make_system(f"{whole}\n{lacking}\n{simulated()}")

    code, found = findings(system)
    assert (code, {each["state"] for each in found.values()}) == (0, {"ok", "information"}), found
    code, found = findings(system, "--load")
    assert code == 1
    assert found["model shapes"]["state"] == "ok"
    assert found["model shapes"]["found"].endswith("; a worker would load it")
    assert found["model lacking"]["state"] == "failure"
    assert "unet: 1 tensor is in no file: conv_in.bias" in found["model lacking"]["found"]
    assert found["model lacking"]["advice"] == "Download the whole model again."
    assert found["model sim"]["found"].endswith("; a worker would load it")


def test_without_torch_it_says_that_it_could_not_try(make_system: MakeSystem, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    code, found = findings(make_system(simulated()), "--load", PYTHONPATH=str(tmp_path))
    assert code == 0
    assert found["model sim"]["state"] == "not checked"
    assert "No module named 'torch'" in found["model sim"]["found"]
