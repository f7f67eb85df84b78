"""What a device could do at most: the matrix peak of its data sheet, and that of one large product."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from workers.engine.streams import device_clock
from workers.families.diffusion.rows import Rows

# NVIDIA's data sheets, dense bfloat16 with float32 accumulation, in FLOP/s. The longest name that fits counts.
_SHEETS = {
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


def sheet_flops_per_s(device_name: str) -> float | None:
    """The data sheet's peak, where the name is known."""
    words = f"{device_name.replace('-', ' ')} "
    fitting = [name for name in _SHEETS if f"{name} " in words]
    return _SHEETS[max(fitting, key=len)] if fitting else None


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


def forward_flops(unet: Any, rows: Rows) -> int:
    """
    The floating-point operations of one forward: matrix products and convolutions, two for a multiply-add.

    Counted on torch's device without memory, where attention is two plain products, whatever kernel the real one has.
    """
    with torch.device("meta"):
        twin = UNet2DConditionModel.from_config(unet.config)

    def shape(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty(tensor.shape, device="meta")

    extra = {name: shape(tensor) for name, tensor in rows.extra.items()}
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        twin(
            shape(rows.sample),
            shape(rows.timesteps),
            encoder_hidden_states=shape(rows.text),
            added_cond_kwargs=extra or None,
        )
    return int(counter.get_total_flops())
