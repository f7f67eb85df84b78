"""
Whether the pictures show what their prompts say: held-out captions through the whole system, read by the checker.

No caption here was in training, and none is one by chance: each has a combination that training left out.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ops.bench.truth.measures import Measure, altered_refused, held_out_scenes, percent, to_sheet
from producer import Client
from workers.builtin.checker import Verdict, check
from workers.builtin.scenes import Scene, caption

_FIRST_SEED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Captions that state one kind of thing about a place; `name` is that of the measure of it."""

    name: str
    count: int
    fits: Callable[[Scene], bool]


# Each kind apart, so that a wrong size cannot hide behind a right position.
KINDS = (
    Kind(name="positions", count=70, fits=lambda s: s.figures[0].position is not None and s.figures[0].size is None),
    Kind(name="sizes", count=60, fits=lambda s: s.figures[0].size is not None and s.figures[0].position is None),
    Kind(name="relations", count=80, fits=lambda s: s.relation is not None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One caption, its picture and what the checker says of both."""

    kind: str
    scene: Scene
    image: Image.Image
    verdict: Verdict


def bench_truth(client: Client, folder: Path, console: Console, *, seed: int = 0) -> list[Measure]:
    """
    Submit the captions, check the pictures, print the shares, and write `truth.json` and `truth.png` into `folder`.

    Args:
        client: Of a running system that serves the model "shapes".
        seed: Chooses the captions.
    """
    rng = random.Random(seed)
    requested = [(kind.name, scene) for kind in KINDS for scene in held_out_scenes(kind.fits, kind.count, rng)]
    requests = [
        {"prompt": caption(scene), "model": "shapes", "seed": _FIRST_SEED + index}
        for index, (_, scene) in enumerate(requested)
    ]
    jobs = client.submit_many(requests)
    images = [job.images()[0].open().convert("RGB") for job in track(jobs, "making pictures", console=console)]
    samples = [
        Sample(kind=kind, scene=scene, image=image, verdict=check(scene, image))
        for (kind, scene), image in zip(requested, images, strict=True)
    ]
    right = [(sample.scene, sample.image) for sample in samples if sample.verdict.all]
    measures = [*measure(samples), altered_refused(right, rng)]
    _write(folder, samples, measures)
    console.print(_table(measures))
    console.print(f"{len(samples)} held-out captions; written to {folder}/truth.json and truth.png", highlight=False)
    return measures


def measure(samples: Sequence[Sample]) -> list[Measure]:
    """Background, colours and shapes over all samples; each kind of place over its own."""
    everywhere = [
        Measure(name=name, right=sum(getattr(sample.verdict, name) for sample in samples), of=len(samples))
        for name in ("background", "colours", "shapes")
    ]
    places = [[sample.verdict.places for sample in samples if sample.kind == kind.name] for kind in KINDS]
    return everywhere + [
        Measure(name=kind.name, right=sum(right), of=len(right)) for kind, right in zip(KINDS, places, strict=True)
    ]


def _table(measures: Sequence[Measure]) -> Table:
    table = Table("what", "right", "of", "share (95 % interval)")
    for each in measures:
        table.add_row(each.name, str(each.right), str(each.of), percent(each))
    return table


def _write(folder: Path, samples: Sequence[Sample], measures: Sequence[Measure]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [
        {"caption": caption(each.scene), **dataclasses.asdict(each.verdict)} for each in samples if not each.verdict.all
    ]
    report = {"measures": [each.to_json() for each in measures], "wrong": wrong}
    (folder / "truth.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    to_sheet([each.image for each in samples]).save(folder / "truth.png")
