"""What a device could do at most: the matrix peak of its data sheet, and that of one large product."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from workers.engine.streams import device_clock

# NVIDIA's data sheets, dense bfloat16 or float16 with float32 accumulation, in FLOP/s. The longest name that fits
# counts.
_SHEETS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 80GB HBM3": 989e12,
    "H100 PCIe": 756e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "GeForce RTX 4090": 165e12,
    "GeForce RTX 3090": 71e12,
}
_OF_SHEETS = ("bfloat16", "float16")


def sheet_flops_per_s(device_name: str, dtype: str = "bfloat16") -> float | None:
    """The data sheet's peak, where the name is known."""
    words = f"{device_name.replace('-', ' ')} "
    fitting = [name for name in _SHEETS if f"{name} " in words]
    return _SHEETS[max(fitting, key=len)] if fitting and dtype in _OF_SHEETS else None


def measure_peak(device: torch.device, dtype: str, side: int = 8192, tries: int = 20) -> float:
    """FLOP/s of a product of two square matrices; the median of several."""
    left, right = (torch.randn(side, side, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    clock = device_clock(device)
    took = []
    for _ in range(tries + 1):
        started = clock()
        left @ right
        took.append(clock() - started)
    return 2 * side**3 / statistics.median(took[1:])


def count_flops(call: Callable[[], Any]) -> int:
    """
    The floating-point operations of a call: matrix products and convolutions, two for a multiply-add.

    Attention is two plain products meanwhile, whatever kernel is used otherwise: not every one of them is counted.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        call()
    return int(counter.get_total_flops())
