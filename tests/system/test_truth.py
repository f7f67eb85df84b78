"""Pictures show what their prompts say, edited ones too. `./imagemill bench truth` measures how often."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

from PIL import Image
from rich.console import Console

from ops.bench.truth.edits import Effort, bench_edits
from ops.bench.truth.generations import KINDS
from ops.bench.truth.measures import held_out_scenes
from producer import Client
from workers.builtin.checker import check
from workers.builtin.scenes import caption


def test_pictures_of_held_out_captions_show_them(system: Client) -> None:
    rng = random.Random(42)
    scenes = [scene for kind in KINDS for scene in held_out_scenes(kind.fits, kind.count, rng)[:6]]
    jobs = system.submit_many({"prompt": caption(scene), "seed": index} for index, scene in enumerate(scenes))
    verdicts = [check(scene, job.images(120)[0].open()) for scene, job in zip(scenes, jobs, strict=True)]
    # README has the figures of 210 captions; one picture of these 18 may be wrong.
    for part in ("background", "colours", "shapes", "places"):
        assert sum(getattr(verdict, part) for verdict in verdicts) >= len(scenes) - 1, part


def test_edits_by_held_out_captions_show_them_and_keep_what_is_not_masked(tmp_path: Path) -> None:
    printed = io.StringIO()
    results = bench_edits(Effort(edits=4, seed=42, threads=1), tmp_path, Console(file=printed, width=200))
    # docs/measured.md has the figures of 100 of each kind; one picture of these 4 may be wrong.
    for result in results:
        kept = [each.is_kept for each in result.samples if each.case.mask is not None]
        assert all(kept), result.kind.name
        assert result.kind.target is None or result.right.right >= 3, result.kind.name
        assert result.kind.name in printed.getvalue()
    halved = [result.samples for result in results if result.samples[0].case.whole is not None]
    seeing, blind = (sum(each.is_completed for each in samples) for samples in halved)
    assert seeing > blind, "what is not masked is not looked at"
    report = json.loads((tmp_path / "edits-shapes.json").read_text("utf-8"))
    assert [each["measures"][-1]["of"] for each in report["kinds"]] == [4] * len(results)
    with Image.open(tmp_path / "edits-shapes.png") as sheet:
        assert sheet.width > 4 * 2 * 128
