"""Every family loads from a folder, behind its own adapter; what cannot be loaded says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.catalogue import Catalogue, Model
from jobs.errors import InvalidConfiguration
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_engine, run
from workers.families.simulated import SimulatedModel
from workers.families.stable_diffusion import StableDiffusion
from workers.families.stable_diffusion_xl import StableDiffusionXL
from workers.families.whole_pipeline import WholePipeline
from workers.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)

CPU = torch.device("cpu")


def load(entry: Model, folder: Path) -> Any:
    return load_model(Catalogue([entry], folder), entry, CPU, 1 << 20)


@pytest.mark.parametrize(
    ("family", "make", "kind"),
    [
        ("stable-diffusion", tiny.stable_diffusion, StableDiffusion),
        ("stable-diffusion-xl", tiny.stable_diffusion_xl, StableDiffusionXL),
        ("diffusers", tiny.stable_diffusion, WholePipeline),
    ],
)
def test_family_loads_and_makes_a_picture(family: str, make: Any, kind: Any, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "model")
    entry = tiny.model(family, source="model")
    adapter: Any = load(entry, tmp_path)
    assert isinstance(adapter, kind)
    engine = make_engine(adapter)
    ticket = engine.submit(tiny.spec(entry, num_inference_steps=2))
    run(engine, ticket)
    assert [picture.shape for picture in ticket.result()] == [(tiny.SIDE, tiny.SIDE, 3)]


def test_simulated_model_reads_its_times_from_its_source(tmp_path: Path) -> None:
    assert isinstance(load(tiny.model("simulated", source="launch_s=0.02 row_s=0.001"), tmp_path), SimulatedModel)


@pytest.mark.parametrize("source", ["", "launch_s=0.02", "launch_s=fast row_s=1", "launch_s 0.02 row_s 1", "speed=3"])
def test_simulated_model_of_other_source_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="simulated"):
        load(tiny.model("simulated", source=source), tmp_path)


def test_scheduler_that_nobody_knows_is_refused_at_the_start(tmp_path: Path) -> None:
    entry = tiny.model("stable-diffusion", schedulers=("default", "dimm"))
    with pytest.raises(InvalidConfiguration, match="dimm"):
        load(entry, tmp_path)


def test_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(InvalidConfiguration, match=str(tmp_path / "model")):
        load(tiny.model("stable-diffusion", source="model"), tmp_path)
