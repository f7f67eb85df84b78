"""The entry that `models add` writes for one file serves its first picture as it is, with a hub for the rest."""

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
from tests.integration.workers.hub import COMMIT, at_hub
from tests.unit.ops.models.serving import first_picture
from tests.unit.workers import tiny, tiny_files
from tests.unit.workers.adapters import QUIET
from tests.unit.workers.gguf_files import write_gguf
from tests.unit.workers.original import save_original
from tests.unit.workers.original_flow import save_flux2, save_z_image
from workers.bench import tiny_pipelines
from workers.loading.checks.sides import check_side_multiple
from workers.loading.models import load_model

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")]

# Not FLUX.1, whose file diffusers converts in its published width alone.
# By what they are called: what their configuration comes with, which family serves them, and how they are made.
FILES: dict[str, tuple[str, str, Callable[[], Any], Callable[[Any, Path], None]]] = {
    "juggernaut": (
        "stabilityai/stable-diffusion-xl-base-1.0",
        "stable-diffusion-xl",
        tiny_files.stable_diffusion_xl,
        save_original,
    ),
    "dreamshaper": (
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "stable-diffusion",
        tiny.stable_diffusion,
        save_original,
    ),
    "v2-1_768": (
        "stabilityai/stable-diffusion-2-1",
        "stable-diffusion",
        tiny_files.stable_diffusion_2,
        save_original,
    ),
    "z_image_turbo_bf16": ("Tongyi-MAI/Z-Image-Turbo", "z-image", tiny_pipelines.z_image, save_z_image),
    "flux-2-klein-base": (
        "black-forest-labs/FLUX.2-klein-base-9B",
        "flux2-klein",
        tiny_pipelines.flux2_klein,
        save_flux2,
    ),
    "flux2_dev": ("black-forest-labs/FLUX.2-dev", "flux2", tiny_pipelines.flux2_dev, save_flux2),
}
_QUICK = ("juggernaut", "z_image_turbo_bf16")  # One whole file, and one of a transformer alone.


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.long) for name in FILES]
)
def test_file_serves_its_first_picture(name: str, tmp_path: Path) -> None:
    repository, family, make, save = FILES[name]
    pipeline = make()
    pipeline.save_pretrained(tmp_path / "repository")
    save(pipeline, tmp_path / f"{name}.safetensors")
    with at_hub(tmp_path / "repository", repository, tmp_path / "cache"):
        added = add(tmp_path, f"{name}.safetensors")
        assert added.exit_code == 0, added.output
        catalogue = Catalogue.read(tmp_path / "models.toml")
        (entry,) = catalogue.models.values()
        assert entry.family == family
        assert COMMIT in (entry.revision, str(entry.config).rpartition("@")[2])
        assert judge_source(entry, tmp_path).state in (State.OK, State.INFORMATION)
        adapter: Any = load_model(catalogue, entry, torch.device("cpu"), 1 << 20)
    for part in ("unet", "transformer", "vae", "text_encoder", "text_encoder_2"):
        if (expected := getattr(pipeline, part, None)) is not None:
            loaded = dict(getattr(adapter.pipeline, part).state_dict())
            torch.testing.assert_close(loaded, dict(expected.state_dict()), rtol=0, atol=0)
    check_side_multiple(adapter, catalogue)
    assert first_picture(adapter).shape == (entry.defaults.height, entry.defaults.width, 3)


@pytest.mark.long
def test_file_of_gguf_serves_its_first_picture(tmp_path: Path) -> None:
    pipeline = tiny_pipelines.z_image()
    pipeline.save_pretrained(tmp_path / "repository")
    write_gguf(tmp_path / "z_image_turbo-Q8_0.gguf", pipeline.transformer.state_dict())
    with at_hub(tmp_path / "repository", "Tongyi-MAI/Z-Image-Turbo", tmp_path / "cache"):
        added = add(tmp_path, "z_image_turbo-Q8_0.gguf")
        assert added.exit_code == 0, added.output
        catalogue = Catalogue.read(tmp_path / "models.toml")
        (entry,) = catalogue.models.values()
        adapter: Any = load_model(catalogue, entry, torch.device("cpu"), 1 << 20)
    weight = adapter.pipeline.transformer.layers[0].attention.to_q.weight
    assert type(weight).__name__ == "GGUFParameter"
    assert first_picture(adapter).shape == (entry.defaults.height, entry.defaults.width, 3)


def add(folder: Path, file: str, *arguments: str) -> Any:
    line = ["models", "add", str(folder / file), *arguments, "--models-file", str(folder / "models.toml")]
    return CliRunner().invoke(app, line)
