"""`models add` on one file: which model its tensors are like, and that it serves with the configuration given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from jobs.catalogue.catalogue import Catalogue
from ops.cli import app
from ops.models.single_file import like_published
from tests.unit.ops.models.serving import first_picture
from tests.unit.ops.models.written import write_safetensors
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from tests.unit.workers.original import save_original
from workers.loading.checks.sides import check_side_multiple
from workers.loading.models import load_model
from workers.loading.weights.header import TensorHeader

pytestmark = pytest.mark.filterwarnings(QUIET)

XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
CLIP = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
UNET = "model.diffusion_model.input_blocks.0.0.weight"
FLUX = ("double_blocks.0.img_attn.norm.key_norm.scale", "img_in.weight")
SD3 = "joint_blocks.0.context_block.adaLN_modulation.1.bias"


def add(folder: Path, *arguments: str) -> Result:
    file = folder / "models.toml"
    return CliRunner().invoke(app, ["models", "add", *arguments, "--models-file", str(file)])


@pytest.mark.parametrize(
    ("names", "like"),
    [
        ((XL, UNET), "sdxl"),
        ((CLIP, UNET), "sd15"),
        ((SD3,), "sd35-medium"),
        (
            (f"model.diffusion_model.{SD3}", "model.diffusion_model.joint_blocks.37.x_block.mlp.fc1.weight"),
            "sd35-large",
        ),
        (FLUX, "flux-schnell"),
        ((*FLUX, "guidance_in.in_layer.bias"), "flux-dev"),
        (tuple(f"model.diffusion_model.{each}" for each in (*FLUX, "guidance_in.in_layer.bias")), "flux-dev"),
        ((*FLUX, "distilled_guidance_layer.in_proj.bias"), "chroma"),
        ((CLIP,), None),
        (("something",), None),
        ((), None),
    ],
)
def test_file_is_known_by_its_tensors(names: tuple[str, ...], like: str | None) -> None:
    assert like_published({name: TensorHeader("BF16", (8, 64)) for name in names}) == like


def test_flux_with_more_channels_is_no_flux_that_is_known() -> None:
    assert like_published({name: TensorHeader("BF16", (8, 384)) for name in FLUX}) is None


def test_entry_of_a_file_is_that_of_the_published_model(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "Juggernaut.safetensors", {XL: ("F16", [4]), UNET: ("F16", [2, 2])})
    assert add(tmp_path, str(tmp_path / "Juggernaut.safetensors")).exit_code == 0
    model = Catalogue.read(tmp_path / "models.toml").models["juggernaut"]
    assert (model.source, model.family, model.dtype) == ("Juggernaut.safetensors", "stable-diffusion-xl", "float16")
    assert (model.defaults.width, model.defaults.num_inference_steps, model.config) == (1024, 30, None)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.ckpt", b"", "is a pickle"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
        ("model.safetensors", b"abc", "is cut short"),
        ("model.zip", b"abc", "is no .safetensors file"),
    ],
)
def test_file_that_no_worker_loads_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused = add(tmp_path, str(tmp_path / name))
    assert (refused.exit_code, "source: " in refused.stderr, reason in refused.stderr) == (2, True, True)
    assert not (tmp_path / "models.toml").exists()


def test_file_that_is_like_none_asks_for_a_configuration(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"something": ("F16", [4])})
    refused = add(tmp_path, str(tmp_path / "model.safetensors"))
    assert refused.exit_code == 2
    assert "are like those of no model that is known here; say with --config which folder" in refused.stderr


def test_configuration_is_for_files_alone(tmp_path: Path) -> None:
    refused = add(tmp_path, str(tmp_path), "--config", str(tmp_path))
    assert refused.exit_code == 2
    assert "config: " in refused.stderr


def test_file_serves_its_first_picture_with_its_configuration(tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "configuration")
    for weights in (tmp_path / "configuration").glob("*/*.safetensors"):
        weights.unlink()
    save_original(pipeline, tmp_path / "model.safetensors")
    added = add(tmp_path, str(tmp_path / "model.safetensors"), "--config", str(tmp_path / "configuration"))
    assert added.exit_code == 0, added.output
    catalogue = Catalogue.read(tmp_path / "models.toml")
    entry = catalogue.models["model"]
    assert (entry.config, entry.family, entry.dtype) == ("configuration", "stable-diffusion", "float32")
    adapter = load_model(catalogue, entry, torch.device("cpu"), 1 << 20)
    check_side_multiple(adapter, catalogue)
    assert first_picture(adapter).shape == (tiny.SIDE, tiny.SIDE, 3)


def test_configuration_that_is_none_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {XL: ("F16", [4])})
    (tmp_path / "empty").mkdir()
    refused = add(tmp_path, str(tmp_path / "model.safetensors"), "--config", str(tmp_path / "empty"))
    assert refused.exit_code == 2
    assert "has no model_index.json" in refused.stderr
