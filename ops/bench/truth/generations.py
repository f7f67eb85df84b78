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
from ops.bench.truth.subjects import Size, Subject
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The pictures of one model at one size, width and height."""

    subject: str
    size: Size
    samples: Sequence[Sample]

    def measures(self, seed: int) -> list[Measure]:
        """What is right of them; last, whether the checker refuses what is not."""
        right = [(sample.scene, sample.image) for sample in self.samples if sample.verdict.all]
        return [*measure(self.samples), altered_refused(right, random.Random(seed))]


def bench_truth(
    client: Client, subjects: Sequence[Subject], folder: Path, console: Console, *, seed: int = 0
) -> list[Result]:
    """
    Submit the captions, check the pictures, print the shares, and write `truth.json` and `truth.png` into `folder`.

    Args:
        client: Of a running system that serves the models.
        seed: Chooses the captions, which are the same for each model and size.
    """
    results = [
        Result(subject=subject.model, size=size, samples=_samples(client, subject, size, seed, console))
        for subject in subjects
        for size in subject.sizes
    ]
    _write(folder, results, seed)
    console.print(_table(results, seed))
    captions = len(results[0].samples)
    console.print(f"{captions} held-out captions; written to {folder}/truth.json and truth.png", highlight=False)
    return results


def _samples(client: Client, subject: Subject, size: Size, seed: int, console: Console) -> list[Sample]:
    rng = random.Random(seed)
    requested = [(kind.name, scene) for kind in KINDS for scene in held_out_scenes(kind.fits, kind.count, rng)]
    width, height = size
    common = {"model": subject.model, "width": width, "height": height}
    jobs = client.submit_many(
        {"prompt": caption(scene), "seed": _FIRST_SEED + index, **common} for index, (_, scene) in enumerate(requested)
    )
    what = f"{subject.model}, {width} × {height}"
    images = [job.images()[0].open().convert("RGB") for job in track(jobs, what, console=console)]
    return [
        Sample(kind=kind, scene=scene, image=image, verdict=check(scene, image))
        for (kind, scene), image in zip(requested, images, strict=True)
    ]


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


def _table(results: Sequence[Result], seed: int) -> Table:
    table = Table("what", *(f"{each.subject}, {each.size[0]} × {each.size[1]}" for each in results))
    for row in zip(*(each.measures(seed) for each in results), strict=True):
        table.add_row(row[0].name, *(f"{each.right} of {each.of}: {percent(each)}" for each in row))
    return table


def _write(folder: Path, results: Sequence[Result], seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report = [
        {
            "model": result.subject,
            "size": result.size,
            "measures": [each.to_json() for each in result.measures(seed)],
            "wrong": [
                {"caption": caption(each.scene), **dataclasses.asdict(each.verdict)}
                for each in result.samples
                if not each.verdict.all
            ],
        }
        for result in results
    ]
    (folder / "truth.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    to_sheet([each.image for result in results for each in result.samples]).save(folder / "truth.png")
