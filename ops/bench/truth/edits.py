"""Whether edited pictures show what their prompts say, and stay as they were outside of the mask."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from jobs.catalogue.catalogue import Catalogue
from jobs.process.settings import load_settings
from ops.bench.report.surroundings import look_around
from ops.bench.truth.edit_cases import EDIT_KINDS, Case, EditKind, cases_of
from ops.bench.truth.measures import Measure, altered_refused, percent, to_sheet
from ops.bench.truth.subjects import SUBJECTS, Subject
from ops.bench.workload import settle
from workers.bench.contenders import factories
from workers.bench.process import Remote
from workers.builtin.checker import Verdict, check
from workers.builtin.drawing import PALETTE
from workers.builtin.scenes import Scene
from workers.runners.edit_work import Edit, Mask, edit_of
from workers.runners.postprocess import Pixels

_FIRST_SEED = 1_000
_PARTS = ("background", "colours", "shapes", "places")  # of a verdict
_MARK_PX = 4
_SAME_FIGURE = 0.7  # of their areas is shared: two sizes share half, the edges of one differ by a pixel or two


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much to measure of what: edits of each kind, the seed that selects them, threads of torch."""

    edits: int
    seed: int
    threads: int
    subject: Subject = SUBJECTS["shapes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """
    One edit, and what is right of it.

    Attributes:
        shows: Which parts of what it is to show. A figure that reaches out of the mask is cut there: another shape.
        is_kept: Whether every pixel outside of the mask is that of the edited picture.
        is_completed: Whether a figure that was erased in half is there again; True where none was.
    """

    case: Case
    made: Image.Image
    shows: Verdict
    is_kept: bool
    is_completed: bool

    @property
    def is_right(self) -> bool:
        return self.shows.all and self.is_kept and self.is_completed


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The edits of one kind."""

    kind: EditKind
    samples: Sequence[Sample]

    @property
    def right(self) -> Measure:
        """Those of which everything is right."""
        return self._count("all of it", [each.is_right for each in self.samples])

    @property
    def is_met(self) -> bool | None:
        """None where there is no target."""
        return None if self.kind.target is None else self.right.share >= self.kind.target

    def parts(self) -> list[Measure]:
        """How often each part is right, where there is such a part."""
        kept = [each.is_kept for each in self.samples if each.case.mask is not None]
        completed = [each.is_completed for each in self.samples if each.case.whole is not None]
        parts = {part: [getattr(each.shows, part) for each in self.samples] for part in _PARTS}
        parts |= {"outside of the mask": kept, "completed": completed}
        return [self._count(name, right) for name, right in parts.items() if right]

    def _count(self, name: str, right: Sequence[bool]) -> Measure:
        return Measure(name=name, right=sum(right), of=len(right))


def bench_edits(effort: Effort, folder: Path, console: Console) -> list[Result]:
    """
    Have an engine edit the pictures, check what it makes, print the shares.

    `edits-MODEL.json` and `edits-MODEL.png` are written into `folder`.

    Results are written after each kind.
    """
    surroundings = look_around(torch_threads=effort.threads or "torch's own choice")
    models_file = load_settings().models_file
    catalogue, subject = Catalogue.read(models_file), effort.subject
    results: list[Result] = []
    with (
        console.status("loading the model …") as status,
        Remote(factories.engine, models_file, subject.model, effort.threads) as engine,
    ):
        for kind in EDIT_KINDS:
            status.update(f"{kind.name} …")
            cases = cases_of(kind, effort.edits, effort.seed, subject.grid_px)
            made = _make(engine, kind, edits_of(kind, cases, catalogue, subject))
            results.append(Result(kind=kind, samples=[judge(*each) for each in zip(cases, made, strict=True)]))
            checked = _check_the_checker(results, effort.seed)
            _write(folder / f"edits-{subject.model}", results, checked, surroundings)
    console.print(to_table(results))
    console.print(f"{checked.name}, of right edits: {checked.right} of {checked.of}", highlight=False)
    console.print(f"written to {folder}/edits-{subject.model}.json and .png", highlight=False)
    return results


def edits_of(kind: EditKind, cases: Sequence[Case], catalogue: Catalogue, subject: Subject) -> list[Edit]:
    """As the engine takes them: with the model's defaults, but for what the kind says."""
    said = {"guidance_scale": subject.unguided} if kind.is_unguided else {}
    asked = [
        {"prompt": case.prompt, "model": subject.model, **said, "seed": _FIRST_SEED + index}
        for index, case in enumerate(cases)
    ]
    return [
        edit_of(spec, np.asarray(case.image), case.mask, strength=kind.strength)
        for spec, case in zip(settle(catalogue, asked), cases, strict=True)
    ]


def judge(case: Case, made: Pixels) -> Sample:
    """Read a picture, uint8 (128, 128, 3), that was made of a case."""
    image = Image.fromarray(made)
    outside = np.zeros(made.shape[:2], dtype=np.bool_) if case.mask is None else ~case.mask
    return Sample(
        case=case,
        made=image,
        shows=check(case.shown, image),
        is_kept=np.array_equal(made[outside], np.asarray(case.image)[outside]),
        is_completed=_is_completed(case, made),
    )


def to_table(results: Sequence[Result]) -> Table:
    """A line for each kind: counts of what is right, the share of what is right as a whole, its target."""
    columns = list(dict.fromkeys(each.name for result in results for each in result.parts()))
    table = Table("edits", "of", *columns, "all of it (95 % interval)", "target", "met")
    for result in results:
        counts = {each.name: str(each.right) for each in result.parts()}
        target = "" if result.kind.target is None else f"≥ {result.kind.target:.0%}"
        met = {None: "", True: "yes", False: "no"}[result.is_met]
        cells = [counts.get(name, "–") for name in columns]
        table.add_row(result.kind.name, str(result.right.of), *cells, percent(result.right), target, met)
    return table


def _make(engine: Remote, kind: EditKind, edits: Sequence[Edit]) -> list[Pixels]:
    if not kind.is_blind:
        return list(engine.call("make_pictures", edits))
    generated = engine.call("make_pictures", [each.spec for each in edits])
    return [edit.keep(pixels) for edit, pixels in zip(edits, generated, strict=True)]


def _is_completed(case: Case, made: Pixels) -> bool:
    """Where the mask is: the area of both the figure as it was and as it is, by that of either."""
    if case.whole is None or case.mask is None:
        return True
    before, after = (_figure(case.shown, pixels) & case.mask for pixels in (np.asarray(case.whole), made))
    return float((before & after).sum()) >= _SAME_FIGURE * float((before | after).sum())


def _figure(scene: Scene, pixels: Pixels) -> Mask:
    """Where pixels are nearer to the colour of the scene's figure than to its background."""
    ink, ground = (
        np.linalg.norm(pixels.astype(np.float32) - PALETTE[colour], axis=-1)
        for colour in (scene.figures[0].colour, scene.background)
    )
    nearer: Mask = ink < ground
    return nearer


def _check_the_checker(results: Sequence[Result], seed: int) -> Measure:
    right: list[tuple[Scene, Image.Image]] = [
        (each.case.shown, each.made) for result in results for each in result.samples if each.is_right
    ]
    return altered_refused(right, random.Random(seed))


def _write(name: Path, results: Sequence[Result], checked: Measure, surroundings: dict[str, Any]) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "surroundings": surroundings,
        "kinds": [_to_json(each) for each in results],
        "checked": checked.to_json(),
    }
    name.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    to_sheet([_side_by_side(each) for result in results for each in result.samples]).save(name.with_suffix(".png"))


def _to_json(result: Result) -> dict[str, Any]:
    kind = result.kind
    return {
        "name": kind.name,
        "strength": kind.strength,
        "is_unguided": kind.is_unguided,
        "target": kind.target,
        "is_met": result.is_met,
        "measures": [each.to_json() for each in (*result.parts(), result.right)],
        "wrong": [
            {
                "caption": each.case.prompt,
                **asdict(each.shows),
                "is_kept": each.is_kept,
                "is_completed": each.is_completed,
            }
            for each in result.samples
            if not each.is_right
        ],
    }


def _side_by_side(sample: Sample) -> Image.Image:
    """What was edited, what was made of it, and a line in red below where that is wrong."""
    width, height = sample.made.size
    both = Image.new("RGB", (2 * width, height + _MARK_PX), "white" if sample.is_right else "red")
    both.paste(sample.case.image, (0, 0))
    both.paste(sample.made, (width, 0))
    return both
