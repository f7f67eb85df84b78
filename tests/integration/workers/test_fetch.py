"""Models of a hub are fetched at their revision before a worker starts, which then needs no hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.workers.hub import COMMIT, REPOSITORY, TAG, hub, nowhere

CHECKOUT = Path(__file__).resolve().parents[3]
MODEL = CHECKOUT / "workers" / "builtin" / "model"
_RUN_S = 800  # It imports diffusers, which takes minutes on a machine with much other work.
ENTRY = """
[models.{name}]
source = "{source}"
revision = "{revision}"
dtype = "float32"
family = "stable-diffusion"
schedulers = ["ddim"]
defaults = {{ width = 16, height = 16, num_inference_steps = 5, guidance_scale = 3.0, scheduler = "ddim" }}
limits = {{ min_side = 8, max_side = 64, max_steps = 100, max_n = 4 }}
"""
LOAD = """
import sys, torch
from pathlib import Path
from jobs.catalogue.catalogue import Catalogue
from workers.loading.models import load_model
catalogue = Catalogue.read(Path(sys.argv[1]))
for model in catalogue.models.values():
    load_model(catalogue, model, torch.device("cpu"), 0)
"""


def run(endpoint: str, folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(CHECKOUT), "HF_HOME": str(folder / "hub"), "HF_ENDPOINT": endpoint, **env}
    own |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    line = [sys.executable, *command]
    return subprocess.run(line, env=os.environ | own, capture_output=True, text=True, check=False, timeout=_RUN_S)


def fetch(endpoint: str, folder: Path, source: str = REPOSITORY, **revisions: str) -> subprocess.CompletedProcess[str]:
    file = folder / "models.toml"
    file.write_text("".join(ENTRY.format(name=name, source=source, revision=each) for name, each in revisions.items()))
    return run(endpoint, folder, "-m", "workers.process.fetch", IMAGEMILL_MODELS_FILE=str(file))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What the hub has."""
    return Path(shutil.copytree(MODEL, tmp_path / "repository"))


def test_models_are_fetched_at_their_revision(repository: Path, tmp_path: Path) -> None:
    with hub(repository) as endpoint:
        fetched = fetch(endpoint, tmp_path, pinned=COMMIT, again=COMMIT)
    assert fetched.returncode == 0, fetched.stderr
    for line, name in zip(fetched.stdout.splitlines(), ("pinned", "again"), strict=True):
        assert line.startswith(f"{name}: revision {COMMIT} is in ")
        assert line.endswith(f"/snapshots/{COMMIT}")


def test_configuration_and_components_of_a_file_are_fetched(repository: Path, tmp_path: Path) -> None:
    shutil.copy(MODEL / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "mine.safetensors")
    entry = ENTRY.format(name="mine", source="mine.safetensors", revision="1")
    component = f'[models.mine.components.vae]\nsource = "{REPOSITORY}"\nrevision = "{COMMIT}"\nsubfolder = "vae"\n'
    (tmp_path / "models.toml").write_text(f'{entry}config = "{REPOSITORY}@{COMMIT}"\n{component}')
    with hub(repository) as endpoint:
        fetched = run(
            endpoint, tmp_path, "-m", "workers.process.fetch", IMAGEMILL_MODELS_FILE=str(tmp_path / "models.toml")
        )
    assert fetched.returncode == 0, fetched.stderr
    of_model, of_component = fetched.stdout.splitlines()
    folder = Path(of_model.removeprefix(f"mine: revision {COMMIT} is in "))
    assert of_component == f"mine.components.vae: revision {COMMIT} is in {folder}"
    assert (folder / "unet" / "config.json").is_file()
    assert [each.parent.name for each in folder.rglob("*.safetensors")] == ["vae"]


@pytest.mark.long  # Each process imports diffusers.
def test_fetched_model_loads_without_the_hub(repository: Path, tmp_path: Path) -> None:
    with hub(repository) as endpoint:
        assert fetch(endpoint, tmp_path, pinned=COMMIT).returncode == 0
    loaded = run(nowhere(), tmp_path, "-c", LOAD, str(tmp_path / "models.toml"), HF_HUB_OFFLINE="1")
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.long  # Likewise.
def test_revision_that_the_hub_has_not_ends_with_a_sentence(repository: Path, tmp_path: Path) -> None:
    with hub(repository) as endpoint:
        fetched = fetch(endpoint, tmp_path, pinned="0" * 40)
    assert fetched.returncode == 1
    assert f"fetch: model pinned: {REPOSITORY} cannot be had at revision {'0' * 40}" in fetched.stderr
    assert "Traceback" not in fetched.stderr


@pytest.mark.long  # Each process imports diffusers.
def test_tag_is_refused_with_the_commit_that_it_is(repository: Path, tmp_path: Path) -> None:
    with hub(repository) as endpoint:
        fetched = fetch(endpoint, tmp_path, tagged=TAG)
        loaded = run(endpoint, tmp_path, "-c", LOAD, str(tmp_path / "models.toml"))
    assert fetched.returncode == 1
    for said in (fetched.stderr, loaded.stderr):
        assert f"revision {TAG!r} is no commit: what it names may change" in said
        assert f'set revision = "{COMMIT}" of [models.tagged] in models.toml, the commit that it is today' in said
    assert "Traceback" not in fetched.stderr
    assert not (tmp_path / "hub").exists()


def test_tag_is_refused_where_nobody_says_which_commit_it_is(tmp_path: Path) -> None:
    fetched = fetch(nowhere(), tmp_path, tagged=TAG)
    assert fetched.returncode == 1
    assert 'set revision = "<commit>" of [models.tagged] in models.toml; docs/models.md says how' in fetched.stderr
    assert "Traceback" not in fetched.stderr


@pytest.mark.long  # Each process imports diffusers.
def test_model_in_pickles_is_neither_fetched_nor_loaded(tmp_path: Path) -> None:
    from tests.unit.workers import tiny

    tiny.stable_diffusion().save_pretrained(tmp_path / "repository", safe_serialization=False)
    with hub(tmp_path / "repository") as endpoint:
        fetched = fetch(endpoint, tmp_path, pickled=COMMIT)
        loaded = run(endpoint, tmp_path, "-c", LOAD, str(tmp_path / "models.toml"))
    assert (fetched.returncode, loaded.returncode) == (1, 1)
    assert "model pickled" in fetched.stderr
    assert "safetensors" in fetched.stderr
    assert "model pickled (line 2 of models.toml) cannot be loaded" in loaded.stderr
    assert not [*(tmp_path / "hub").rglob("*.bin")]


def test_folder_needs_no_hub(tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "here")
    fetched = fetch(nowhere(), tmp_path, source="here", pictures="1")
    assert (fetched.returncode, fetched.stdout.strip()) == (0, "no model of the catalogue comes from a hub or a store")
