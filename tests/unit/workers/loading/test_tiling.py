"""Pictures are decoded in tiles where an entry asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)

SIDE = 64  # pixels: more than a tile


def load(folder: Path, family: str, **changes: Any) -> Any:
    entry = tiny.model(family, source="model", **changes)
    return load_model(Catalogue([entry], folder), entry, torch.device("cpu"), 1 << 20)


def picture(adapter: Any) -> Any:
    job = tiny.spec(adapter.entry, num_inference_steps=1, width=SIDE, height=SIDE)
    run = adapter.begin(job, adapter.encode([job])[0])
    run.advance(adapter.predict([run], 1, lambda _step: None)[0])
    return adapter.finish(run, 1)[0]


@pytest.mark.parametrize("family", ["stable-diffusion", pytest.param("diffusers", marks=pytest.mark.long)])
def test_picture_is_decoded_in_tiles(tmp_path: Path, family: str) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path / "model")
    tiled, whole = picture(load(tmp_path, family, vae_tiling=True)), picture(load(tmp_path, family))
    assert tiled.shape == whole.shape == (SIDE, SIDE, 3)
    assert (tiled != whole).any()  # At the seams, and where a tile's own mean goes into its norms.


@pytest.mark.long  # It makes a pipeline of another sort.
def test_autoencoder_that_does_not_tile_is_refused(tmp_path: Path) -> None:
    tiny_pipelines.kandinsky_3().save_pretrained(tmp_path / "model")
    with pytest.raises(InvalidConfiguration, match="vae_tiling: its pipeline has no vae that tiles; leave it out of"):
        load(tmp_path, "diffusers", vae_tiling=True)
