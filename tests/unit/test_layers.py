"""Who may import whom, and that whoever only submits needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# None in sys.modules makes an import fail as it does where the package is not installed.
WITHOUT_TORCH = "import sys; sys.modules.update(dict.fromkeys(('torch', 'diffusers', 'transformers')))\n"


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_go_one_way() -> None:
    run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")


def test_submitting_loads_no_torch() -> None:
    run(
        "-c",
        "import sys; import producer, producer.cli.commands, ops.cli, jobs.broker.app, workers.process.launch\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)",
    )


def test_worker_imports_no_library_of_families_that_it_does_not_serve() -> None:
    run(
        "-c",
        "import sys; import workers.process.worker, workers.loading.models, workers.families.simulated\n"
        "assert not {'diffusers', 'transformers'} & set(sys.modules)",
    )


def test_every_module_can_be_imported_where_torch_is_not_installed() -> None:
    run(
        "-c",
        WITHOUT_TORCH + "import importlib, pkgutil\n"
        "import jobs, storage, producer, ops\n"
        "for package in (jobs, storage, producer, ops):\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        importlib.import_module(module.name)",
    )
