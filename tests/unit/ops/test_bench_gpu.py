"""`./imagemill bench gpu` where there is no GPU, and its figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ops import cli
from ops.bench.engine.gpu import NO_GPU, Measured, figures_of
from workers.bench.device.subject import EAGER, IN_TURNS, OVERLAPPED, PassFigure


@pytest.mark.parametrize("options", [(), ("--flow",)])
def test_without_a_gpu_it_says_so_and_invents_nothing(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(cli.app, ["bench", "gpu", "--folder", str(tmp_path), *options])
    assert done.exit_code == 0
    assert " ".join(done.output.split()) == NO_GPU
    assert not list(tmp_path.iterdir())


def test_engine_is_compared_with_the_best_loop_of_single_images() -> None:
    rates = {EAGER: [1.0, 1.0], "compiled": [2.0, 2.0], OVERLAPPED: [6.0, 6.0], IN_TURNS: [5.0, 5.0]}
    passes = [PassFigure(rows=2, seconds=0.5, flops_per_s=2e12)]
    measured = Measured(name="sd", passes=passes, rates=rates, skipped={})
    figures = {each.what: each.value for each in figures_of(measured, 4e12, 8e12)}
    assert figures["sd: engine ÷ compiled"] == 3.0
    assert figures["sd: decode overlapped ÷ in turns"] == 1.2
    assert figures["sd: a pass of 2 rows, of the measured peak"] == 50.0
    assert figures["sd: a pass of 2 rows, of the data sheet"] == 25.0
