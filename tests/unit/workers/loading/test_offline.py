"""Where no hub may be asked, what was fetched before is loaded, and what is missing of it is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from ops.doctor.finding import State
from ops.doctor.models import judge_source
from tests.integration.workers.hub import COMMIT, REPOSITORY, at_hub
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from tests.unit.workers.original import save_original
from workers.loading.models import load_model

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")]

ENTRIES: dict[str, Model] = {
    "model": tiny.model("stable-diffusion", source=REPOSITORY, revision=COMMIT),
    "file": tiny.model("stable-diffusion", source="mine.safetensors", config=f"{REPOSITORY}@{COMMIT}"),
}


@pytest.fixture(params=ENTRIES)
def entry(request: pytest.FixtureRequest) -> Model:
    return ENTRIES[request.param]


@pytest.fixture
def snapshot(entry: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What was fetched of the hub, which may not be asked any more."""
    tiny.stable_diffusion().save_pretrained(tmp_path / "hub")
    save_original(tiny.stable_diffusion(), tmp_path / "mine.safetensors")
    with at_hub(tmp_path / "hub", REPOSITORY, tmp_path / "cache"):
        load(entry, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield next((tmp_path / "cache").rglob("snapshots")) / COMMIT


def load(entry: Model, folder: Path) -> Any:
    return load_model(Catalogue([entry], folder), entry, torch.device("cpu"), 1 << 20)


def test_what_was_fetched_is_loaded(entry: Model, snapshot: Path, tmp_path: Path) -> None:
    assert snapshot.is_dir()
    assert judge_source(entry, tmp_path).state is not State.FAILURE
    load(entry, tmp_path)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("model_index.json", f"{REPOSITORY} at {COMMIT} is not here"),
        ("text_encoder/config.json", "text_encoder has no configuration, such as config.json"),
        ("scheduler/scheduler_config.json", "scheduler has no configuration, such as config.json"),
    ],
)
def test_what_is_missing_is_named(entry: Model, snapshot: Path, tmp_path: Path, gone: str, said: str) -> None:
    (snapshot / gone).unlink()
    finding = judge_source(entry, tmp_path)
    assert (finding.state, said in finding.found) == (State.FAILURE, True), finding
    assert "workers.process.fetch" in finding.advice
    with pytest.raises(InvalidConfiguration) as refused:
        load(entry, tmp_path)
    assert said in str(refused.value)
