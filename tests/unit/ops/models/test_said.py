"""Of each broken source, `models check`, `models add` and the start of a worker say the same, in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from ops.cli import app
from ops.doctor.finding import State
from ops.doctor.models import judge_source
from tests.unit.workers import tiny
from workers.loading.models import load_model

UNET = Path("unet/diffusion_pytorch_model.safetensors")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def lose_vocabulary(tokenizer: Path) -> None:
    for file in tokenizer.iterdir():
        if file.name != "tokenizer_config.json":
            file.unlink()


def shard_without_its_tensor(folder: Path) -> None:
    shard = "diffusion_pytorch_model-00001-of-00001.safetensors"
    (folder / UNET).rename(folder / "unet" / shard)
    index = {"weight_map": {"no.such.tensor": shard}}
    (folder / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda at: (at / "model_index.json").unlink(), "has no model_index.json"),
    "index that is a pointer": (lambda at: (at / "model_index.json").write_text(POINTER), "is a git-lfs pointer"),
    "weights that are a pointer": (lambda at: (at / UNET).write_text(POINTER), "is a git-lfs pointer"),
    "weights that are cut short": (lambda at: cut(at / UNET), "bytes, and its header says"),
    "weights that are no safetensors": (lambda at: (at / UNET).write_bytes(b"no such thing"), "is cut short, or no"),
    "no weights": (lambda at: (at / UNET).unlink(), "unet has no weights"),
    "weights in a pickle": (lambda at: (at / UNET).rename(at / "unet/model.bin"), "is a pickle"),
    "tensor that a shard has not": (shard_without_its_tensor, "has no no.such.tensor, which the model's index says"),
    "no configuration": (lambda at: (at / "vae/config.json").unlink(), "vae has no configuration"),
    "configuration that is no JSON": (lambda at: (at / "vae/config.json").write_text("{"), "is not valid JSON"),
    "no vocabulary": (
        lambda at: lose_vocabulary(at / "tokenizer"),
        "tokenizer has no vocabulary",
    ),
    "no component": (lambda at: shutil.rmtree(at / "text_encoder"), "names text_encoder, and there is no folder"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said_alike(name: str, tmp_path: Path) -> None:
    spoil, found = BROKEN[name]
    folder = Path(shutil.copytree(tiny.SHAPES, tmp_path / "model"))
    spoil(folder)
    entry = tiny.model("stable-diffusion", source="model", schedulers=("default",))
    finding = judge_source(entry, tmp_path)
    assert (finding.state, found in finding.found, finding.advice[-1]) == (State.FAILURE, True, "."), finding
    with pytest.raises(InvalidConfiguration) as refused:
        load_model(Catalogue([entry], tmp_path), entry, torch.device("cpu"), 1 << 20)
    assert finding.found in str(refused.value)
    file = tmp_path / "models.toml"
    added = CliRunner().invoke(app, ["models", "add", str(folder), "--models-file", str(file)])
    assert isinstance(added.exception, SystemExit)
    assert (added.exit_code, finding.found in added.stderr, file.exists()) == (2, True, False), added.stderr
