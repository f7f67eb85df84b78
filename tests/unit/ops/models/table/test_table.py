"""
The table of sources: of each what `models check` says, what the start of a worker says, and what a job does.

A worker starts by `load_model` and the checks of what it loaded; whatever they raise but `InvalidConfiguration`, which
ends it for good with its sentence, would be a traceback and another start. `tests/unit/ops/models/test_said.py` has
further broken folders, and `tests/blackbox/test_models.py` real workers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from ops.doctor.finding import State
from ops.doctor.models import check_models
from ops.models.text import entry_text
from tests.integration.workers.hub import at_hub
from tests.unit.ops.models.table.broken import BROKEN
from tests.unit.ops.models.table.good import GOOD, Form
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_engine, run, submit
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.registry import family_of
from workers.loading.checks.guidance import check_guidance
from workers.loading.checks.sides import check_edits, check_side_multiple
from workers.loading.models import load_model

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")]

BASE: dict[str, Any] = {
    "revision": "1",
    "dtype": "float32",
    "family": "stable-diffusion",
    "schedulers": ["default"],
    "defaults": {"width": 32, "height": 16, "num_inference_steps": 2, "guidance_scale": 3.0, "scheduler": "default"},
    "limits": {"min_side": 16, "max_side": 64, "max_steps": 10, "max_n": 4},
}
PLACE = " (line 1 of models.toml)"
# The others are `long`.
_QUICK = (
    "folder",
    "file of SDXL without a configuration",
    "class of another family",
    "text encoder's tensor that no file has",
)


def parameters(names: Mapping[str, Any]) -> list[Any]:
    return [name if name in _QUICK else pytest.param(name, marks=pytest.mark.long) for name in names]


def test_table_has_as_many_as_were_asked_for() -> None:
    assert len(GOOD) + len(BROKEN) >= 50


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # No GPU's driver says how much it has.
    return tmp_path


def write_entry(folder: Path, lines: Mapping[str, Any]) -> Catalogue:
    said = {key: value for key, value in (BASE | dict(lines)).items() if value is not None}
    if said["family"] == "z-image":
        said["defaults"], said["limits"] = said["defaults"] | {"height": 32}, said["limits"] | {"side_multiple": 16}
    file = folder / "models.toml"
    file.write_text(entry_text("mine", said, (), {}))
    return Catalogue.read(file)


def start(catalogue: Catalogue) -> Any:
    """As a worker does, all but the measuring of batch sizes."""
    adapter: Any = load_model(catalogue, catalogue.models["mine"], torch.device("cpu"), 1 << 20)
    check_edits(adapter)
    check_guidance(adapter)
    check_side_multiple(adapter, catalogue)
    return adapter


def picture(adapter: Any, prompt: str) -> Any:
    engine = make_engine(adapter)
    ticket = submit(engine, tiny.spec(adapter.entry, prompt=prompt))
    run(engine, ticket)
    (made,) = ticket.result()
    return made


@contextmanager
def hub_of(form: Form, folder: Path) -> Iterator[None]:
    with at_hub(folder / "hub", form.repository, folder / "cache") if form.repository else nullcontext():
        yield


@pytest.mark.parametrize("name", parameters(GOOD))
def test_source_is_served(name: str, folder: Path) -> None:
    form = GOOD[name]
    catalogue = write_entry(folder, form.write(folder))
    with hub_of(form, folder):
        _, finding = check_models()
        assert finding.state in (State.OK, State.INFORMATION), finding
        adapter = start(catalogue)
    made = picture(adapter, form.prompt)
    entry = adapter.entry
    assert made.shape == (entry.defaults.height, entry.defaults.width, 3)
    assert made.std() > 0
    reference = picture(_in_memory(entry, form.make or tiny.stable_diffusion), form.prompt)
    assert np.array_equal(made, reference) == (form.make is not None)


def _in_memory(entry: Any, make: Callable[[], Any]) -> Any:
    """The same entry's adapter around a pipeline that no file was read for."""
    family = family_of(entry)
    if entry.family == "diffusers":
        family = family_of(entry.model_copy(update={"family": "stable-diffusion"}))
    return family.adapt(entry, make(), EmbeddingCache(1 << 20))


@pytest.mark.parametrize("name", parameters(BROKEN))
def test_source_is_refused_in_a_sentence(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    broken = BROKEN[name]
    lines = dict(GOOD[broken.of].write(folder))
    changes = broken.spoil(folder)
    lines |= changes if isinstance(changes, dict) else {}
    catalogue = write_entry(folder, lines)
    _, finding = check_models()
    expected = broken.start if broken.check is None else broken.check
    found = finding.found.removesuffix(PLACE)
    assert (finding.state, expected.lower() in f"{found}; {finding.advice}".lower()) == (broken.state, True), finding
    with pytest.raises(InvalidConfiguration) as refused:
        start(catalogue)
    said = str(refused.value)
    assert said.startswith(f"model mine{PLACE} cannot be loaded from ")
    assert "\n" not in said
    assert re.search(r"; |: (name|leave) ", said)  # what to do
    assert broken.start in said
