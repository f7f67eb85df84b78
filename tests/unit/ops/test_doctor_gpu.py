"""What the doctor makes of what nvidia-smi prints, and of a machine that has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.doctor.finding import State
from ops.doctor.gpu import check_gpus, judge_line, judge_torch


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_no_gpu_is_no_failure(bin_folder: Path) -> None:
    (finding,) = check_gpus()
    assert (finding.state, finding.found) == (State.INFORMATION, "no NVIDIA GPU on this machine")


def test_each_gpu_has_a_line(bin_folder: Path) -> None:
    install(bin_folder, "echo '0, NVIDIA H100, 580.82.07, 4, 81559'; echo '1, NVIDIA H100, 580.82.07, 81000, 81559'")
    first, second, torch = check_gpus()
    assert (first.check, first.state) == ("GPU 0", State.OK)
    assert first.found == "NVIDIA H100, driver 580.82.07, 0.0 of 85.5 GB used"
    assert (second.check, second.state) == ("GPU 1", State.WARNING)
    assert torch.check == "GPU and torch"


def test_driver_that_does_not_work_is_a_failure_in_its_own_words(bin_folder: Path) -> None:
    install(bin_folder, "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    (finding,) = check_gpus()
    assert finding.state is State.FAILURE
    assert "Driver/library version mismatch" in finding.found


def test_nvidia_smi_that_cannot_be_run_is_a_failure(bin_folder: Path) -> None:
    program = bin_folder / "nvidia-smi"
    program.write_bytes(b"\0")
    program.chmod(0o755)
    (finding,) = check_gpus()
    assert finding.state is State.FAILURE
    assert "does not answer" in finding.found


def test_gpu_without_memory_of_its_own_is_well() -> None:
    finding = judge_line("0, NVIDIA GB10, 580.95.05, [N/A], [N/A]")
    assert (finding.state, finding.found) == (State.OK, "NVIDIA GB10, driver 580.95.05, memory unknown")


@pytest.mark.parametrize(
    ("version", "state"),
    [("2.13.0+cpu", State.WARNING), ("2.13.0+cu130", State.OK), ("2.13.0", State.OK), (None, State.INFORMATION)],
)
def test_torch_for_the_cpu_alone_is_told(version: str | None, state: State) -> None:
    assert judge_torch(version).state is state
