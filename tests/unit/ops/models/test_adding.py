"""`models add` on folders: the entry that it writes, what it leaves as it was, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jobs.catalogue.catalogue import Catalogue
from ops.cli import app
from tests.unit.ops.models.written import write_json, write_safetensors, write_stable_diffusion

OTHERS = """\
# What is here stays.\r
[models.first]   # so does this
source = "nowhere"
revision = "1"
dtype = "float32"
family = "stable-diffusion"
schedulers = ["ddim"]
defaults = { width = 16, height = 16, num_inference_steps = 5, guidance_scale = 3.0, scheduler = "ddim" }
limits = { min_side = 8, max_side = 64, max_steps = 100, max_n = 4 }
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_bytes(OTHERS.encode())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_stable_diffusion(tmp_path / "models" / "My Photos v2")


def add(catalogue: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", "add", *arguments, "--models-file", str(catalogue)])


def refusal(catalogue: Path, *arguments: str) -> str:
    result = add(catalogue, *arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert catalogue.read_bytes() == OTHERS.encode()
    return result.stderr


def test_entry_is_written_behind_what_is_there(catalogue: Path, folder: Path) -> None:
    catalogue.chmod(0o640)
    result = add(catalogue, str(folder))
    assert result.exit_code == 0, result.output
    assert catalogue.read_bytes().startswith(OTHERS.encode())
    assert catalogue.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in catalogue.parent.iterdir() if each.is_file()] == ["models.toml"]
    read = Catalogue.read(catalogue)
    model = read.models["my-photos-v2"]
    assert [*read.models] == ["first", "my-photos-v2"]
    assert (model.source, model.family, model.dtype) == ("models/My Photos v2", "stable-diffusion", "float16")
    assert Path(read.source_of(model)) == folder
    assert (model.defaults.width, model.defaults.num_inference_steps, model.limits.max_side) == (512, 25, 1024)
    assert "start workers and API again, and they serve it as my-photos-v2" in result.stdout


def test_entry_says_where_its_lines_come_from(catalogue: Path, folder: Path) -> None:
    text = add(catalogue, str(folder), "--dry-run").stdout
    assert "# StableDiffusionPipeline: 30 parameters, 6e-08 GB of weights as float16." in text
    assert "# Steps, guidance, schedulers and limits are those of Stable Diffusion 1.5, which it is most like." in text
    assert "# your own label of what is there" in text
    assert "\nmemory_gb = 0.1  # its weights" in text
    assert f"not written to {catalogue}" in text
    assert catalogue.read_bytes() == OTHERS.encode()


def test_name_revision_and_json(catalogue: Path, folder: Path) -> None:
    result = add(catalogue, str(folder), "--name", "v1.5", "--revision", "second", "--json")
    (line,) = result.stdout.splitlines()
    said = json.loads(line)
    assert (said["model"], said["written"], said["entry"]["revision"]) == ("v1.5", True, "second")
    assert Catalogue.read(catalogue).models["v1.5"].revision == "second"


def test_catalogue_that_is_not_there_is_made(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "new.toml"
    assert add(path, str(folder)).exit_code == 0
    assert [*Catalogue.read(path).models] == ["my-photos-v2"]


def test_link_stays_a_link(catalogue: Path, folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "linked" / "models.toml"
    link.parent.mkdir()
    link.symlink_to(catalogue)
    assert add(link, str(folder)).exit_code == 0
    assert link.is_symlink()
    assert Catalogue.read(link).models.keys() == {"first", "my-photos-v2"}


@pytest.mark.parametrize(("dtype", "expected"), [("F32", "float32"), ("BF16", "bfloat16")])
def test_dtype_is_that_of_the_files(catalogue: Path, tmp_path: Path, dtype: str, expected: str) -> None:
    write_stable_diffusion(tmp_path / "model", dtype)
    text = add(catalogue, str(tmp_path / "model")).stdout
    assert f'dtype = "{expected}"' in text
    assert ("takes half the memory" in text) == (expected == "float32")


def test_weights_in_several_files_are_counted(catalogue: Path, folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    shards = {name: f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n, name in enumerate("ab", 1)}
    write_json(folder / "unet" / "diffusion_pytorch_model.safetensors.index.json", {"weight_map": shards})
    for name, file in shards.items():
        write_safetensors(folder / "unet" / file, {name: ("F16", [100])})
    assert "StableDiffusionPipeline: 220 parameters" in add(catalogue, str(folder), "--dry-run").stdout


def test_variant_is_named_where_there_are_no_other_weights(catalogue: Path, folder: Path) -> None:
    for part in ("unet", "vae"):
        plain = folder / part / "diffusion_pytorch_model.safetensors"
        plain.rename(plain.with_name("diffusion_pytorch_model.fp16.safetensors"))
    write_safetensors(folder / "text_encoder" / "model.fp16.safetensors", {"first": ("F16", [1000])})
    text = add(catalogue, str(folder)).stdout
    assert 'variant = "fp16"' in text
    assert "StableDiffusionPipeline: 1,020 parameters" in text


def test_variant_beside_plain_weights_is_left_alone(catalogue: Path, folder: Path) -> None:
    write_safetensors(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", {"first": ("F16", [1000])})
    text = add(catalogue, str(folder)).stdout
    assert "variant =" not in text
    assert "StableDiffusionPipeline: 30 parameters" in text


def test_folder_for_edits_is_of_the_same_family(catalogue: Path, tmp_path: Path) -> None:
    write_stable_diffusion(tmp_path / "model", _class_name="StableDiffusionInpaintPipeline")
    assert 'family = "stable-diffusion"' in add(catalogue, str(tmp_path / "model")).stdout


def test_name_that_is_taken_is_refused(catalogue: Path, folder: Path) -> None:
    said = refusal(catalogue, str(folder), "--name", "first")
    assert f"name: {catalogue} has a model 'first'; give this one another with --name" in said


def test_name_that_is_none_is_refused(catalogue: Path, folder: Path) -> None:
    assert "name: 'a b' is no name" in refusal(catalogue, str(folder), "--name", "a b")


def test_catalogue_that_is_wrong_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("[models")
    result = add(path, str(folder))
    assert (result.exit_code, path.read_text()) == (2, "[models")
    assert f"model catalogue {path}: " in result.stderr


def test_source_that_is_nothing_is_refused(catalogue: Path, tmp_path: Path) -> None:
    assert f"source: there is no folder {tmp_path}/none" in refusal(catalogue, f"{tmp_path}/none")
    assert "source: there is no folder a/b/c" in refusal(catalogue, "a/b/c")


def test_folder_that_is_not_whole_is_refused_as_a_worker_does(catalogue: Path, folder: Path) -> None:
    (folder / "unet" / "config.json").unlink()
    said = refusal(catalogue, str(folder))
    assert f"source: {folder}/unet has no configuration, such as config.json; copy the model again" in said
    (folder / "model_index.json").unlink()
    assert f"source: {folder} has no model_index.json" in refusal(catalogue, str(folder))


@pytest.mark.parametrize("named", ["NoSuchPipeline", None, ["a module", "APipeline"]])
def test_pipeline_that_nobody_knows_is_refused(catalogue: Path, tmp_path: Path, named: object) -> None:
    write_stable_diffusion(tmp_path / "model", _class_name=named)
    said = refusal(catalogue, str(tmp_path / "model"))
    assert "source: model_index.json names " in said
    assert "no diffusers that is installed here has it" in said


@pytest.mark.parametrize(
    ("named", "reason"),
    [("WanPipeline", "WanPipeline makes videos"), ("DiTPipeline", "DiTPipeline takes no prompt")],
)
def test_pipeline_that_makes_no_pictures_of_texts_is_refused(
    catalogue: Path, tmp_path: Path, named: str, reason: str
) -> None:
    write_stable_diffusion(tmp_path / "model", _class_name=named)
    assert f"source: {reason}" in refusal(catalogue, str(tmp_path / "model"))
