"""Ways to compile a denoiser, each of which can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

Compiler = Callable[[Any], None]

BLOCKS, GRAPHS = "compiled", "graphs"


def _compile_blocks(denoiser: Any) -> None:
    denoiser.compile_repeated_blocks(fullgraph=True, dynamic=False)


def _compile_graphs(denoiser: Any) -> None:
    denoiser.compile(mode="reduce-overhead")


# The blocks that are repeated, once for all of them; and the whole model, with CUDA graphs.
COMPILERS: Mapping[str, Compiler] = {BLOCKS: _compile_blocks, GRAPHS: _compile_graphs}


@contextmanager
def compiled(denoiser: Any, compiler: Compiler | None) -> Iterator[None]:
    """
    A model that is compiled meanwhile, at its first forward; as it was with None.

    Blocks have a compiled form for each number of rows. torch keeps eight of a function's, so that each number has a
    context of its own.
    """
    if compiler is None:
        yield
        return
    try:
        compiler(denoiser)
        yield
    finally:
        for module in denoiser.modules():
            module._compiled_call_impl = None  # What `torch.nn.Module.compile` sets, and nothing takes back.
        torch.compiler.reset()
