"""`./imagemill bench gpu` where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ops import cli
from workers.bench.gpu.command import NO_GPU


def too_old() -> bool:
    raise RuntimeError("The NVIDIA driver on your system is too old.\nPlease update it.")


@pytest.mark.parametrize(
    ("is_available", "reason"),
    [(lambda: False, "torch sees no CUDA device"), (too_old, "The NVIDIA driver on your system is too old")],
    ids=["none", "old driver"],
)
def test_without_a_gpu_it_says_so_and_invents_nothing(
    is_available: object, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    done = CliRunner().invoke(cli.app, ["bench", "gpu", "--folder", str(tmp_path)])
    assert done.exit_code == 0
    assert done.output == f"{NO_GPU}: {reason}.\n"
    assert not list(tmp_path.iterdir())
