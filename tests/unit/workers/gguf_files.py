"""Writes tensors into a file of GGUF, as people publish quantized transformers."""

from __future__ import annotations

from pathlib import Path

import torch

BLOCK = 32  # weights of a scale, of Q8_0


def write_gguf(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Matrices in Q8_0 where their rows are whole blocks, all else in F32."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(file, arch="flux")
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        if name.endswith(".weight") and values.ndim == 2 and values.shape[1] % BLOCK == 0:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
