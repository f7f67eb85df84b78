"""Packages and programs that an entry needs, and that are not installed with Imagemill, for most models go without."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

from jobs.catalogue.entry import Model
from jobs.catalogue.loading import GGUF_SUFFIX
from workers.loading.errors import Fault

_OF_QUANTIZATION = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}
# inductor writes code in it, for processors, and for what launches the kernels of a GPU.
_COMPILERS = ("g++", "clang++")


def package_fault(model: Model) -> Fault | None:
    """The first package or program that an entry needs, and that is not here; None where all are."""
    for what, package in _needed(model):
        if importlib.util.find_spec(package) is None:
            advice = f"install it where workers run: requirements/install .venv/bin/python quantized ({package})"
            return Fault(found=f"{what} needs the package {package}, which is not here", advice=advice)
    if model.compile and not any(map(shutil.which, _COMPILERS)):
        advice = "install one where workers run, such as g++, or leave it out"
        return Fault(
            found=f"compile: it needs a C++ compiler, and there is no {' or '.join(_COMPILERS)}", advice=advice
        )
    return None


def _needed(model: Model) -> Iterator[tuple[str, str]]:
    """What needs a package, and which."""
    for name, component in model.components.items():
        if (component.source or "").endswith(GGUF_SUFFIX):
            yield f"components.{name}: a file of GGUF", "gguf"
    for line, how in model.quantizations.items():
        yield f'{line}: "{how}"', _OF_QUANTIZATION[how]
