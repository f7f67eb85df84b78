"""Which device each process of a worker has."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from jobs.errors import InvalidConfiguration
from workers.process.devices.choice import find_devices, numbered
from workers.process.devices.gpus import Gpu
from workers.process.settings import WorkerSettings

DEVICE, DEVICES = "IMAGEMILL_WORKER_DEVICE", "IMAGEMILL_WORKER_DEVICES"
LIST = """\
echo 'GPU 0: NVIDIA H200 (UUID: GPU-a0)'
echo 'GPU 1: NVIDIA H200 (UUID: GPU-b1)'
echo 'GPU 2: NVIDIA L4 (UUID: GPU-c2)'
"""


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The whole PATH, beside a torch that computes on GPUs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "2.13.0+cu130")
    return tmp_path


def install(folder: Path, script: str = LIST) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_machine_without_a_gpu_has_one_process_as_it_is(bin_folder: Path) -> None:
    (device,) = find_devices(WorkerSettings())
    assert (device.mark, device.env) == ("", {})


def test_each_gpu_has_a_process_that_sees_no_other(bin_folder: Path) -> None:
    install(bin_folder)
    devices = find_devices(WorkerSettings())
    assert [device.mark for device in devices] == ["gpu0", "gpu1", "gpu2"]
    assert [device.env["CUDA_VISIBLE_DEVICES"] for device in devices] == ["GPU-a0", "GPU-b1", "GPU-c2"]
    assert {device.env[DEVICE] for device in devices} == {"cuda"}, "never on the processor instead"


def test_single_gpu_needs_no_mark(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(bin_folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    (device,) = find_devices(WorkerSettings())
    assert (device.mark, device.env) == ("", {})
    (device,) = find_devices(WorkerSettings(devices="1"))
    assert (device.mark, device.env["CUDA_VISIBLE_DEVICES"]) == ("", "GPU-b1")


def test_some_of_them_by_their_numbers(bin_folder: Path) -> None:
    install(bin_folder)
    assert [device.mark for device in find_devices(WorkerSettings(devices="2, 0"))] == ["gpu2", "gpu0"]


def test_number_of_a_divided_gpu_means_its_parts() -> None:
    parts = [Gpu(number=f"0:{at}", uuid=f"MIG-{at}") for at in range(3)]
    assert numbered(parts, ["0"]) == parts
    assert numbered(parts, ["0:2", "0"]) == [parts[2], parts[0], parts[1]]


@pytest.mark.parametrize("settings", [WorkerSettings(devices="cpu"), WorkerSettings(device="cpu")])
def test_processor_is_one_device_whatever_gpus_there_are(bin_folder: Path, settings: WorkerSettings) -> None:
    install(bin_folder)
    (device,) = find_devices(settings)
    assert device.mark == ""
    assert device.env.get(DEVICE, settings.device) == "cpu"


def test_torch_without_cuda_uses_no_gpu(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(bin_folder)
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "2.13.0+cpu")
    assert [device.env for device in find_devices(WorkerSettings())] == [{}]
    with pytest.raises(InvalidConfiguration, match=r"torch 2\.13\.0\+cpu computes on the CPU only"):
        find_devices(WorkerSettings(devices="0"))


def test_driver_that_does_not_work_is_said_where_a_gpu_is_named(bin_folder: Path) -> None:
    install(bin_folder, "echo 'Driver/library version mismatch'; exit 18")
    assert len(find_devices(WorkerSettings())) == 1
    with pytest.raises(InvalidConfiguration, match="nvidia-smi fails: Driver/library version mismatch"):
        find_devices(WorkerSettings(devices="0"))


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ("0,3", "there is no GPU 3 to use; there are 0, 1, 2"),
        ("gpu1", "'gpu1' does not go there; it is all, cpu, or numbers"),
        ("", "'' does not go there"),
        ("0,cpu", "'cpu' does not go there"),
        ("simulated", "'simulated' does not go there"),
    ],
)
def test_device_that_there_is_not_is_named(bin_folder: Path, devices: str, said: str) -> None:
    install(bin_folder)
    with pytest.raises(InvalidConfiguration, match=f"^{DEVICES}: .*{said}"):
        find_devices(WorkerSettings(devices=devices))


def test_gpus_and_the_processor_contradict_each_other(bin_folder: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=f"{DEVICES}: it names GPUs, and {DEVICE} is cpu"):
        find_devices(WorkerSettings(devices="0", device="cpu"))


def test_simulated_devices_have_a_process_each(bin_folder: Path) -> None:
    devices = find_devices(WorkerSettings(devices="simulated:24,simulated:80"))
    assert [device.mark for device in devices] == ["sim0", "sim1"]
    assert [device.env[DEVICES] for device in devices] == ["simulated:24", "simulated:80"]
    assert {device.env[DEVICE] for device in devices} == {"cpu"}
