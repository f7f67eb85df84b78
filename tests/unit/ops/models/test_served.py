"""The entry that `models add` writes for a folder serves its first picture as it is, whatever the family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from jobs.catalogue.catalogue import Catalogue
from ops.cli import app
from ops.doctor.finding import State
from ops.doctor.models import judge_source
from tests import tiny_pipelines
from tests.further import flow, language, transformers, unets
from tests.further.listed import OLD
from tests.unit.ops.models.serving import first_picture
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.bench.tiny_pipelines import EDITING_PIPELINES, FLOW_PIPELINES
from workers.families.registry import families
from workers.loading.checks.guidance import check_guidance
from workers.loading.checks.sides import check_edits, check_side_multiple
from workers.loading.models import load_model

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

SAVED: dict[str, tuple[str, Callable[[], Any]]] = {
    **FLOW_PIPELINES,
    **EDITING_PIPELINES,
    "stable-diffusion": ("stable-diffusion", tiny.stable_diffusion),
    "stable-diffusion-inpainting": ("stable-diffusion", tiny.inpainting),
    "stable-diffusion-distilled": ("stable-diffusion", tiny.distilled),
    "stable-diffusion-xl": ("stable-diffusion-xl", tiny.stable_diffusion_xl),
    "aura-flow": ("aura-flow", flow.aura_flow),
    "chroma": ("chroma", flow.chroma),
    "lumina2": ("lumina2", flow.lumina_2),
    "hunyuan-image": ("hunyuan-image", language.hunyuan_image),
    "hunyuan-image-distilled": ("hunyuan-image", language.hunyuan_image_distilled),
    "krea2": ("krea2", language.krea_2),
    "sana": ("sana", tiny_pipelines.sana),
    "sana-sprint": ("sana-sprint", transformers.sana_sprint),
    "pixart-sigma": ("pixart-sigma", tiny_pipelines.pixart),
    "pixart-alpha": ("pixart-alpha", transformers.pixart_alpha),
    "cogview-4": ("diffusers", flow.cogview_4),
    "hidream": ("diffusers", language.hidream),
    "latent-consistency": ("diffusers", unets.latent_consistency),
    "bria": ("diffusers", flow.bria),
    "hunyuan-dit": ("diffusers", transformers.hunyuan_dit),
    "ovis": ("diffusers", language.ovis),
}
# The others are `long`: two, of the two kinds of passes, show that the way is whole.
_QUICK = ("stable-diffusion", "flux-schnell")


def test_every_family_is_tried() -> None:
    assert {family for family, _ in SAVED.values()} == {*families()} - {"simulated"}


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.long) for name in SAVED]
)
def test_entry_serves_its_first_picture(name: str, tmp_path: Path) -> None:
    family, make = SAVED[name]
    make().save_pretrained(tmp_path / name)
    file = tmp_path / "models.toml"
    added = CliRunner().invoke(app, ["models", "add", str(tmp_path / name), "--models-file", str(file)])
    assert added.exit_code == 0, added.output
    catalogue = Catalogue.read(file)
    entry = catalogue.models[name]
    assert entry.family == family
    assert judge_source(entry, tmp_path).state is State.OK
    adapter = load_model(catalogue, entry, torch.device("cpu"), 1 << 20)
    check_edits(adapter)
    check_guidance(adapter)
    check_side_multiple(adapter, catalogue)
    picture = first_picture(adapter)
    assert picture.shape == (entry.defaults.height, entry.defaults.width, 3)
