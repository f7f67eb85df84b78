"""`models add` of a model on a hub: pinned to a commit, and nothing but headers of its weights is fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.catalogue.catalogue import Catalogue
from tests.integration.workers.hub import COMMIT, REPOSITORY, TAG, hub, nowhere

CHECKOUT = Path(__file__).resolve().parents[3]
MODEL = CHECKOUT / "workers" / "builtin" / "model"


def add(endpoint: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(CHECKOUT), "HF_HOME": str(folder / "hub"), "HF_ENDPOINT": endpoint}
    own |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    line = [sys.executable, "-m", "ops.cli", "models", "add", *arguments, "--models-file", str(folder / "models.toml")]
    return subprocess.run(line, env=os.environ | own, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize("revision", [(), ("--revision", TAG)])
def test_model_is_pinned_to_its_commit(tmp_path: Path, revision: tuple[str, ...]) -> None:
    with hub(MODEL) as endpoint:
        added = add(endpoint, tmp_path, REPOSITORY, *revision)
    assert added.returncode == 0, added.stderr
    model = Catalogue.read(tmp_path / "models.toml").models["pictures"]
    assert (model.source, model.revision) == (REPOSITORY, COMMIT)
    assert (model.family, model.dtype, model.defaults.width) == ("stable-diffusion", "float16", 128)
    assert f"# the commit that {revision[1] if revision else 'its main branch'} was on " in added.stdout
    assert not [*(tmp_path / "hub").rglob("*.safetensors")]


def test_model_in_pickles_is_refused(tmp_path: Path) -> None:
    repository = Path(shutil.copytree(MODEL, tmp_path / "repository"))
    weights = repository / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with hub(repository) as endpoint:
        added = add(endpoint, tmp_path, REPOSITORY)
    assert added.returncode == 2
    assert "source: unet has its weights in pickles alone" in added.stderr


@pytest.mark.parametrize("is_there", [False, True])
def test_model_that_no_hub_has_is_refused_by_a_sentence(tmp_path: Path, is_there: bool) -> None:
    with hub(MODEL) as endpoint:
        added = add(endpoint if is_there else nowhere(), tmp_path, "somebody/else")
    assert added.returncode == 2
    assert "source: somebody/else cannot be read from the hub: " in added.stderr
    assert "Traceback" not in added.stderr
    assert not (tmp_path / "models.toml").exists()
