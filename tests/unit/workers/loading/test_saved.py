"""Every family of transformers loads what was saved, and makes the same pictures of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec
from tests.further.listed import OLD
from tests.unit.workers import flow, tiny
from tests.unit.workers.adapters import PIXARTS, QUIET, make_engine, make_pixart, run, submit
from workers.families.parts.scheduler_names import OWN
from workers.loading.checks.guidance import check_guidance
from workers.loading.checks.sides import check_edits
from workers.loading.models import load_model

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]


def load(entry: Model, folder: Path) -> Any:
    return load_model(Catalogue([entry], folder), entry, torch.device("cpu"), 1 << 20)


# Those with components of their own: guiders, settings of a pipeline, a scheduler for a few steps.
_FEW = ("hunyuan-image", "sana-sprint")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in _FEW else [pytest.mark.long]) for name in flow.PIPELINES]
)
def test_flow_family_loads_what_was_saved(name: str, tmp_path: Path) -> None:
    made = flow.pipeline_of(name)
    made.save_pretrained(tmp_path / "model")
    entry = flow.entry_of(name, source="model", schedulers=(OWN,))
    adapter, before = load(entry, tmp_path), flow.adapter_of(name)
    check_guidance(adapter)
    check_edits(adapter)
    pictures = [picture_of(each, flow.spec_of(name, num_inference_steps=2)) for each in (adapter, before)]
    np.testing.assert_array_equal(*pictures)


@pytest.mark.long
@pytest.mark.parametrize("name", PIXARTS)
def test_pixart_loads_what_was_saved(name: str, tmp_path: Path) -> None:
    before = make_pixart(name)
    before.pipeline.save_pretrained(tmp_path / "model")
    adapter = load(make_pixart(name, source="model").entry, tmp_path)
    assert isinstance(adapter, type(before))
    job = tiny.spec(before.entry, num_inference_steps=2)
    np.testing.assert_array_equal(picture_of(adapter, job), picture_of(before, job))


def picture_of(adapter: Any, job: GenerateSpec) -> Any:
    engine = make_engine(adapter)
    ticket = submit(engine, job)
    run(engine, ticket)
    return ticket.result()[0]
