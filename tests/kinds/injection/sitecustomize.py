"""
Registers the kinds of these tests in the product's own processes, whose PYTHONPATH alone has this folder.

To each of the two registries it adds what a line there would: nothing else of the product is touched. `WITHOUT` names
kinds that a process is not to know, as one of another version would not.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType

_WITHOUT = os.environ.get("WITHOUT", "").split(",")


def _add_kinds(registry: ModuleType) -> None:
    from tests.kinds.count_kind import COUNT
    from tests.kinds.sketch_kind import SKETCH

    registry.KINDS.update({kind.name: kind for kind in (SKETCH, COUNT) if kind.name not in _WITHOUT})


def _add_runners(registry: ModuleType) -> None:
    from tests.kinds.count_runner import CountRunner
    from tests.kinds.sketch_runner import SketchRunner

    runners = {"sketch": SketchRunner(), "count": CountRunner()}
    registry.RUNNERS.update({name: runner for name, runner in runners.items() if name not in _WITHOUT})


class _AfterImport(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, then: Callable[[ModuleType], None]) -> None:
        self._module, self._then = module, then

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute, then = spec.loader.exec_module, self._then

        def execute_and_add(module: ModuleType) -> None:
            execute(module)
            then(module)

        spec.loader.exec_module = execute_and_add  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _AfterImport("jobs.kinds.registry", _add_kinds))
sys.meta_path.insert(0, _AfterImport("workers.runners.registry", _add_runners))
