"""Pipelines of diffusers that no worker can serve are refused when they are loaded, by a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from tests.further.listed import OLD, OTHERS, UNABLE, WITHOUT_PROMPT
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.families.diffusers import WholePipeline
from workers.loading.checks.sides import check_side_multiple
from workers.loading.models import load_model

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

ENTRY = tiny.model("diffusers", source="model")


def refusal(folder: Path, entry: Model = ENTRY) -> str:
    with pytest.raises(InvalidConfiguration) as raised:
        load_model(Catalogue([entry], folder), entry, torch.device("cpu"), 1 << 20)
    return str(raised.value)


@pytest.mark.parametrize("name", sorted(WITHOUT_PROMPT))
def test_pipeline_that_takes_no_text_is_refused(name: str, tmp_path: Path) -> None:
    WITHOUT_PROMPT[name]().save_pretrained(tmp_path / "model")
    assert refusal(tmp_path) == (
        f"model diffusers cannot be loaded from {tmp_path / 'model'}: {name} takes no prompt; correct source or family "
        "of [models.diffusers] in models.toml"
    )


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_pipeline_that_makes_no_pictures_is_refused(name: str, tmp_path: Path) -> None:
    make, makes = OTHERS[name]
    make().save_pretrained(tmp_path / "model")
    assert f"{name} makes {makes}" in refusal(tmp_path)


@pytest.mark.parametrize("name", sorted(UNABLE))
def test_pipeline_that_cannot_run_is_refused(name: str) -> None:
    make, reason = UNABLE[name]
    adapter = WholePipeline(ENTRY, make())
    with pytest.raises(InvalidConfiguration, match=r"^model diffusers: it does not make its default size \(") as raised:
        check_side_multiple(adapter, Catalogue([ENTRY], Path()))
    assert reason in str(raised.value)
