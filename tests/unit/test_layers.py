"""Whoever only submits needs no torch. Who may import whom is held by `make check`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

# None in sys.modules makes an import fail as it does where the package is not installed.
WITHOUT_TORCH = "import sys; sys.modules.update(dict.fromkeys(('torch', 'diffusers', 'transformers')))\n"
EVERY_MODULE = """
import importlib, pkgutil, sys
import jobs, storage, producer, ops, workers.process.parent.launch
for package in (jobs, storage, producer, ops):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_of_a_producer_loads_torch() -> None:
    run(f"{EVERY_MODULE}assert not {{'torch', 'diffusers', 'transformers'}} & set(sys.modules)")


@pytest.mark.long
def test_every_module_can_be_imported_where_torch_is_not_installed() -> None:
    run(WITHOUT_TORCH + EVERY_MODULE)


@pytest.mark.long
def test_worker_imports_no_library_of_families_that_it_does_not_serve() -> None:
    run(
        "import sys; import workers.process.worker, workers.loading.models, workers.families.simulated\n"
        "assert not {'diffusers', 'transformers'} & set(sys.modules)"
    )


def imported(file: Path) -> set[str]:
    """Packages that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    named = [each.name for node in nodes if isinstance(node, ast.Import) for each in node.names]
    named += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in named}


def test_black_box_tests_import_nothing_of_what_they_test() -> None:
    files = sorted((CHECKOUT / "tests" / "blackbox").glob("*.py"))
    assert "ops" in imported(next(file for file in files if file.name == "system.py"))  # Its servers are no product.
    inside = {file.name: imported(file) & {"jobs", "storage", "producer", "workers"} for file in files}
    assert {name: packages for name, packages in inside.items() if packages} == {}
