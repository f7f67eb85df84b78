"""Which GPUs there are, by what nvidia-smi prints and CUDA_VISIBLE_DEVICES leaves."""

from __future__ import annotations

import pytest

from workers.process.devices.gpus import Gpu, listed_in, visible_of

LISTED = """\
GPU 0: NVIDIA H200 (UUID: GPU-aa10)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bb20)
  MIG 3g.20gb     Device  0: (UUID: MIG-c0)
  MIG 3g.20gb     Device  1: (UUID: MIG-c1)
GPU 2: NVIDIA L4 (UUID: GPU-ab30)
"""
GPUS = [Gpu(number=number, uuid=uuid) for number, uuid in {"0": "GPU-a0", "1:0": "MIG-c0", "1:1": "MIG-c1"}.items()]


def test_parts_of_a_divided_gpu_stand_in_its_place() -> None:
    assert {gpu.number: gpu.uuid for gpu in listed_in(LISTED)} == {
        "0": "GPU-aa10",
        "1:0": "MIG-c0",
        "1:1": "MIG-c1",
        "2": "GPU-ab30",
    }


def test_machine_without_a_gpu_lists_none() -> None:
    assert listed_in("No devices were found\n") == []


@pytest.mark.parametrize(
    ("variable", "numbers"),
    [
        (None, ["0", "1:0", "1:1"]),
        ("", []),
        ("-1", []),
        ("0", ["0"]),
        ("1,0", ["1:0", "1:1", "0"]),
        ("MIG-c1", ["1:1"]),
        ("GPU-a", ["0"]),
        ("0,7,1", ["0"]),  # As CUDA has it.
    ],
)
def test_those_are_visible_that_the_variable_names(variable: str | None, numbers: list[str]) -> None:
    assert [gpu.number for gpu in visible_of(GPUS, variable)] == numbers
