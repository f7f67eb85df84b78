"""`models add` on a source in the store: its entry is as of a folder or a file here, and names the store."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jobs.catalogue.catalogue import Catalogue
from ops.cli import app
from ops.servers import S3Server
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.unit.ops.models.written import write_safetensors, write_stable_diffusion

CHECKOUT = Path(__file__).resolve().parents[4]
BASE = ("cond_stage_model.transformer.text_model.embeddings.position_embedding.weight", "first_stage_model.x")
_ENDS_S = 300


@pytest.fixture
def store(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """With a folder of a model, and one in a file."""
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    store = S3Store(S3Settings(endpoint_url=s3_server.endpoint, bucket=f"adding-{uuid.uuid4().hex[:12]}"))
    store.prepare()
    folder = write_stable_diffusion(tmp_path / "My Photos")
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", {"first": ("F16", [1 << 20, 2])})
    names = (*BASE, "model.diffusion_model.input_blocks.0.0.weight")
    write_safetensors(tmp_path / "Dream.safetensors", {name: ("F16", [320, 4]) for name in names})
    for file in [*folder.rglob("*.*"), tmp_path / "Dream.safetensors"]:
        store.put(f"models/{file.relative_to(tmp_path)}", file.read_bytes(), "application/octet-stream")
        file.unlink()
    return store


def add(store: S3Store, source: str, *arguments: str) -> Result:
    line = ["models", "add", f"s3://{store.settings.bucket}/models/{source}", *arguments]
    return CliRunner().invoke(app, line)


def test_folder_and_file_in_the_store_are_added_and_checked(store: S3Store, tmp_path: Path) -> None:
    for source, name in (("My Photos/", "my-photos"), ("Dream.safetensors", "dream")):
        added = add(store, source, "--revision", "first")
        assert added.exit_code == 0, added.output
        model = Catalogue.read(tmp_path / "models.toml").models[name]
        assert model.source == f"s3://{store.settings.bucket}/models/{source.rstrip('/')}"
        assert (model.family, model.dtype, model.revision) == ("stable-diffusion", "float16", "first")
        assert "imagemill-models-" not in added.stdout
    checked = CliRunner().invoke(app, ["models", "check"])
    assert checked.exit_code == 0, checked.output
    assert "weights take 0.0042 GB as float16" in " ".join(checked.stdout.split())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("none", "has nothing at s3://"),
        ("none.safetensors", "has nothing at s3://"),
        ("My Photos/unet", "/models/My Photos/unet has no model_index.json"),
    ],
)
def test_what_is_no_model_is_refused_by_its_place_in_the_store(store: S3Store, source: str, reason: str) -> None:
    refused = add(store, source)
    assert (refused.exit_code, reason in " ".join(refused.stderr.split())) == (2, True), refused.stderr
    assert "imagemill-models-" not in refused.stderr


@pytest.mark.long  # A process of its own, which imports torch.
def test_fetch_copies_what_the_store_has(store: S3Store, tmp_path: Path) -> None:
    assert add(store, "My Photos").exit_code == 0
    env = {
        "PYTHONPATH": str(CHECKOUT),
        "IMAGEMILL_WORKER_CACHE_DIR": str(tmp_path / "cache"),
        "IMAGEMILL_S3_ENDPOINT_URL": store.settings.endpoint_url,
        "IMAGEMILL_MODELS_FILE": str(tmp_path / "models.toml"),
    }
    line = [sys.executable, "-m", "workers.process.fetch"]
    fetched = subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=_ENDS_S)
    assert fetched.returncode == 0, fetched.stderr
    said = fetched.stdout.splitlines()[-1]
    assert said.startswith(f"my-photos: s3://{store.settings.bucket}/models/My Photos is in {tmp_path}/cache/models/")
    assert (Path(said.partition(" is in ")[2]) / "model_index.json").is_file()
