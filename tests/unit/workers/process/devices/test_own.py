"""The models that a process serves on its device."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

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


OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 12040)"


def warns() -> bool:
    """As torch says of an old driver."""
    warnings.warn(f"{OLD_DRIVER}. Please update your GPU driver.", UserWarning, stacklevel=1)
    return False


def raises() -> bool:
    raise RuntimeError(f"{OLD_DRIVER}.\nAlternatively, install another torch.")


@pytest.mark.parametrize(
    ("is_available", "said"), [(lambda: False, "torch sees no CUDA device"), (warns, OLD_DRIVER), (raises, OLD_DRIVER)]
)
def test_gpu_that_torch_cannot_use_is_refused_where_it_is_asked_for(
    models: Catalogue, is_available: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with pytest.raises(InvalidConfiguration, match=r"^IMAGEMILL_WORKER_DEVICE: .*; install its driver, or use") as err:
        place(models, WorkerSettings(device="cuda"))
    assert said in str(err.value)
    assert "\n" not in str(err.value)


@pytest.mark.parametrize("is_available", [warns, raises])
def test_worker_says_why_it_runs_on_the_processor_beside_a_gpu(
    models: Catalogue, is_available: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with capture_logs() as logged:
        assert place(models, WorkerSettings(device="auto")).name == "cpu"
    (line,) = logged
    assert OLD_DRIVER in line["reason"]


def test_gpu_that_fails_when_it_is_asked_is_named_with_what_to_do(
    models: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_device: torch.device) -> object:
        raise RuntimeError("CUDA error: unknown error\nCUDA kernel errors might be reported later")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", broken)
    with pytest.raises(
        InvalidConfiguration, match=r"^GPU 1 cannot be used: CUDA error: unknown error; nvidia-smi says more"
    ):
        place(models, WorkerSettings(device="cuda", devices="1"))
