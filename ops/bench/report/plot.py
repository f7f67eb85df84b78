"""The pictures beside the tables: bars with every round as a dot, and curves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # Before pyplot looks for a screen.

from matplotlib import pyplot as plt
from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """The median of each contender, and its rounds."""

    title: str
    unit: str
    rounds: Mapping[str, Sequence[float]]

    def draw(self, axes: Axes) -> None:
        """Lying, so that the names can be read."""
        names = list(self.rounds)
        axes.barh(names, [statistics.median(self.rounds[name]) for name in names], color="#9bb7d4")
        for name in names:
            axes.plot(self.rounds[name], [name] * len(self.rounds[name]), "o", color="#1f3b57", markersize=3)
        axes.invert_yaxis()
        axes.set_xlabel(self.unit)
        axes.set_title(self.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Values over a size that doubles, e.g. seconds over rows."""

    title: str
    x: str
    y: str
    series: Mapping[str, Mapping[int, float]]

    def draw(self, axes: Axes) -> None:
        """With the sizes themselves on the axis."""
        for name, values in self.series.items():
            axes.plot(list(values), list(values.values()), "o-", label=name, markersize=4)
        axes.set_xscale("log", base=2)
        sizes = sorted({size for values in self.series.values() for size in values})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_ylim(bottom=0)
        axes.set_xlabel(self.x)
        axes.set_ylabel(self.y)
        axes.set_title(self.title)
        if len(self.series) > 1:
            axes.legend()


def plot(panels: Sequence[Bars | Curves], file: Path) -> None:
    """Draw panels below each other into a PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure, rows = plt.subplots(len(panels), 1, figsize=(8, 2.8 * len(panels)), squeeze=False, layout="constrained")
    for panel, (axes,) in zip(panels, rows, strict=True):
        panel.draw(axes)
    figure.savefig(file, dpi=120)
    plt.close(figure)
