"""The models that a process serves on its device."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from tests.blackbox.system import simulated
from workers.process.devices.own import place
from workers.process.settings import WorkerSettings


@pytest.fixture
def models(tmp_path: Path) -> Catalogue:
    file = tmp_path / "models.toml"
    large = simulated("large", more="min_vram_gb = 80") + simulated("middle", more="min_vram_gb = 24")
    file.write_text(simulated("small") + large)
    return Catalogue.read(file)


@pytest.mark.parametrize(
    ("devices", "served"),
    [("simulated:8", {"small"}), ("simulated:24", {"small", "middle"}), ("simulated:80", {"small", "middle", "large"})],
)
def test_models_that_ask_for_more_memory_are_left_out(models: Catalogue, devices: str, served: set[str]) -> None:
    placement = place(models, WorkerSettings(devices=devices))
    assert set(placement.models) == served
    assert set(placement.left_out) == models.models.keys() - served
    assert (placement.name, placement.memory_gb) == ("simulated", float(devices.split(":")[1]))


def test_processor_has_no_memory_of_its_own(models: Catalogue) -> None:
    placement = place(models, WorkerSettings(device="cpu"))
    assert (placement.models, placement.name, placement.memory_gb) == (("small",), "cpu", None)
    with pytest.raises(InvalidConfiguration, match="cpu has no memory of its own, and large asks for 80"):
        place(models, WorkerSettings(device="cpu", models="large"))


def test_device_that_is_too_small_for_all_is_refused_with_what_to_do(models: Catalogue) -> None:
    with pytest.raises(
        InvalidConfiguration,
        match=r"simulated has 8\.0 GB, and middle asks for 24 .*, large asks for 80 .*: serve other models",
    ):
        place(models, WorkerSettings(devices="simulated:8", models="middle,large"))
