"""What is asked of each source of the table: `models check`, the start of a worker, and a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.catalogue.catalogue import Catalogue
from ops.doctor.finding import State
from ops.doctor.models import check_models
from ops.models.text import entry_text
from storage.backends.s3.store import S3Store
from tests.integration.workers.hub import at_hub
from tests.unit.ops.models.table.broken import BROKEN
from tests.unit.ops.models.table.good import GOOD, Form
from tests.unit.workers import tiny
from tests.unit.workers.adapters import make_engine, run, submit
from workers.bench import tiny_pipelines
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.registry import family_of
from workers.process.loader import load_checked
from workers.process.settings import WorkerSettings
from workers.process.trial import fault_of

BASE: dict[str, Any] = {
    "revision": "1",
    "dtype": "float32",
    "family": "stable-diffusion",
    "schedulers": ["default"],
    "defaults": {"width": 32, "height": 16, "num_inference_steps": 2, "guidance_scale": 3.0, "scheduler": "default"},
    "limits": {"min_side": 16, "max_side": 64, "max_steps": 10, "max_n": 4},
}
PLACE = " (line 1 of models.toml)"


def put(bucket: S3Store | None, folder: Path, lines: dict[str, Any]) -> dict[str, Any]:
    """The files of a folder in the bucket in its place; what the lines say is its own name."""
    if bucket is None:
        return lines
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        bucket.put(f"models/{file.relative_to(folder)}", file.read_bytes(), "application/octet-stream")
        file.unlink()
    said: dict[str, Any] = json.loads(json.dumps(lines).replace("//BUCKET/", f"//{bucket.settings.bucket}/"))
    return said


def write_entry(folder: Path, lines: Mapping[str, Any]) -> Catalogue:
    said = {key: value for key, value in (BASE | dict(lines)).items() if value is not None}
    if said["family"] == "z-image":
        said["defaults"], said["limits"] = said["defaults"] | {"height": 32}, said["limits"] | {"side_multiple": 16}
    file = folder / "models.toml"
    file.write_text(entry_text("mine", said, (), {}))
    return Catalogue.read(file)


def folder_of_copies(catalogue: Catalogue) -> Path:
    return Path(catalogue.place_of(".")) / "copies"


def start(catalogue: Catalogue) -> Any:
    """As a worker does, all but the measuring of batch sizes."""
    copies = WorkerSettings(model_cache_dir=folder_of_copies(catalogue))
    return load_checked(catalogue, "mine", torch.device("cpu"), copies)


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


def assert_served(name: str, folder: Path, bucket: S3Store | None = None) -> None:
    """A source of `GOOD` in that empty folder, or in a bucket."""
    form = GOOD[name]
    catalogue = write_entry(folder, put(bucket, folder, dict(form.write(folder))))
    with hub_of(form, folder):
        _, finding = check_models()
        assert finding.state in (State.OK, State.INFORMATION), finding
        adapter = start(catalogue)
    made = picture(adapter, form.prompt)
    entry = adapter.entry
    assert made.shape == (entry.defaults.height, entry.defaults.width, 3)
    assert made.std() > 0
    other = tiny_pipelines.z_image if entry.family == "z-image" else tiny.stable_diffusion
    reference = picture(_in_memory(entry, form.make or other), form.prompt)
    assert np.array_equal(made, reference) == (form.make is not None)


def _in_memory(entry: Any, make: Callable[[], Any]) -> Any:
    """The same entry's adapter around a pipeline that no file was read for."""
    family = family_of(entry)
    if entry.family == "diffusers":
        family = family_of(entry.model_copy(update={"family": "stable-diffusion"}))
    return family.adapt(entry, make(), EmbeddingCache(1 << 20))


def assert_refused(name: str, folder: Path, bucket: S3Store | None = None) -> None:
    """Likewise, of `BROKEN`."""
    broken = BROKEN[name]
    lines = dict(GOOD[broken.of].write(folder))
    changes = broken.spoil(folder)
    lines |= changes if isinstance(changes, dict) else {}
    catalogue = write_entry(folder, put(bucket, folder, lines))
    _, finding = check_models()
    expected = broken.start if broken.check is None else broken.check
    found = finding.found.removesuffix(PLACE)
    assert (finding.state, expected.lower() in f"{found}; {finding.advice}".lower()) == (broken.state, True), finding
    copies = WorkerSettings(model_cache_dir=folder_of_copies(catalogue))
    said = str(fault_of(catalogue, "mine", copies))  # As a worker starts, and as `models check --load` looks.
    assert said.startswith(f"model mine{PLACE} cannot be loaded")
    assert "\n" not in said
    assert re.search(r"; |: (name|leave) ", said)  # what to do
    assert broken.start in said
