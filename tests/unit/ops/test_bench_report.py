"""What a benchmark leaves behind: a table, a file with every round, and a picture."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from ops.bench.report.plot import Bars, Curves, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.surroundings import look_around

FIGURES = [
    Figure(what="fast enough", value=2.4, unit="×", target=2.0),
    Figure(what="too slow", value=41.0, unit="ms", target=30, at_most=True),
    Figure(what="just so", value=12.5, unit="images/s"),
]


def publish_to(folder: Path) -> str:
    console = Console(width=120, file=io.StringIO())
    report = Report(
        name="x", title="a title", figures=FIGURES, surroundings=look_around(torch_threads=2), rounds={"a": [1.0, 2.0]}
    )
    publish(report, folder, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("figure", "is_met"), [(FIGURES[0], True), (FIGURES[1], False), (FIGURES[2], None)])
def test_figure_knows_whether_its_target_is_met(figure: Figure, is_met: bool | None) -> None:
    assert figure.is_met is is_met


def test_table_has_targets_beside_values(tmp_path: Path) -> None:
    text = publish_to(tmp_path)
    (fast,) = [line for line in text.splitlines() if "fast enough" in line]
    (slow,) = [line for line in text.splitlines() if "too slow" in line]
    assert "2.4 ×" in fast and "≥ 2" in fast and "yes" in fast
    assert "41 ms" in slow and "≤ 30" in slow and "no" in slow


def test_file_has_rounds_and_surroundings(tmp_path: Path) -> None:
    publish_to(tmp_path)
    content = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert content["rounds"] == {"a": [1.0, 2.0]}
    assert [each["is_met"] for each in content["figures"]] == [True, False, None]
    around = content["surroundings"]
    assert around["torch_threads"] == 2
    assert {"date", "device", "cpu_count", "versions"} <= set(around)
    assert around["versions"]["torch"]


def test_picture_has_a_panel_for_each_of_bars_and_curves(tmp_path: Path) -> None:
    bars = Bars(title="bars", unit="images/s", rounds={"a": [1.0, 2.0, 3.0], "b": [4.0]})
    curves = Curves(title="curves", x="rows", y="seconds", series={"a": {2: 0.1, 4: 0.15}, "b": {2: 0.2}})
    plot([bars], tmp_path / "one.png")
    plot([bars, curves], tmp_path / "folder" / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "folder" / "two.png") as two:
        assert two.height > one.height
