"""Slices that continue each other: what is kept, what is tried again, and what a person reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.errors import InvalidConfiguration
from workers.bench.gpu.command import Done, bench_gpu, small_effort
from workers.bench.gpu.plan import Group, Opened, keys_of, plan
from workers.bench.gpu.results import FILE, Results
from workers.bench.gpu.slices import DeviceLost, Slice
from workers.bench.gpu.table import table_of
from workers.bench.published.flow import FLUX2_KLEIN_4B
from workers.bench.published.model import Part, PublishedModel
from workers.bench.published.models import PUBLISHED
from workers.bench.published.small import small
from workers.engine.errors import GenerationFailed

CPU = torch.device("cpu")
KLEIN = small(FLUX2_KLEIN_4B)
HERE = {"device": {"name": "cpu"}, "versions": {"torch": "2.13.0", "diffusers": "0.42.0"}}

Find = Callable[[Opened], Mapping[str, Any]]


def short(_opened: Opened) -> Mapping[str, Any]:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


def broken(_opened: Opened) -> Mapping[str, Any]:
    raise ValueError("no compiler here")


def lost(_opened: Opened) -> Mapping[str, Any]:
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def short_in_the_engine(_opened: Opened) -> Mapping[str, Any]:
    raise GenerationFailed("out_of_memory", "The model needs more memory")


def single(_opened: Opened) -> Mapping[str, Any]:
    return {"images_per_s": 2.0, "steps": 4}


def group(**measurements: Find) -> Group:
    named = {f"{KLEIN.name}/float32/{what}": take for what, take in measurements.items()}
    return Group(published=KLEIN, dtype="float32", measurements=named)


def take(file: Path, of: Group, *, minutes: float = 60.0) -> Results:
    results = Results.resume(file, HERE)
    Slice(CPU, results, minutes, peak_side=32).run([of])
    return results


def endings(file: Path) -> dict[str, str]:
    """By what was measured, as the file has them."""
    return {each["key"].split("/")[-1]: each["ending"] for each in json.loads(file.read_text())["rows"]}


def test_what_does_not_fit_and_what_fails_are_rows_and_the_rest_is_measured(tmp_path: Path) -> None:
    of = group(swap=short, mixed=broken, load=short_in_the_engine, single=single)
    results = take(tmp_path / FILE, of)
    assert endings(tmp_path / FILE) == {
        "peak": "measured",
        "build": "measured",
        "swap": "out of memory",
        "mixed": "failed",
        "load": "out of memory",
        "single": "measured",
    }
    table = table_of(results, [])
    assert "swap" in table
    assert "OUT OF MEMORY: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB" in table
    assert "FAILED: ValueError: no compiler here" in table
    assert "2 images/s" in table
    assert not Done(results=results, left=[]).is_well


def test_next_slice_tries_again_what_failed_and_nothing_else(tmp_path: Path) -> None:
    tried: list[str] = []

    def noting(name: str, find: Find) -> Find:
        def measure(opened: Opened) -> Mapping[str, Any]:
            tried.append(name)
            return find(opened)

        return measure

    file = tmp_path / FILE
    take(file, group(single=noting("single", single), swap=noting("swap", short), mixed=noting("mixed", broken)))
    assert tried == ["single", "swap", "mixed"]
    again = take(
        file, group(single=noting("single", single), swap=noting("swap", short), mixed=noting("mixed", single))
    )
    assert tried[3:] == ["mixed"]
    assert endings(file)["mixed"] == "measured"
    assert [row.run for row in again.rows.values()] == [0, 1, 0, 0, 1]  # The model was built anew.
    assert len(json.loads(file.read_text())["runs"]) == 2


def test_each_row_is_in_the_file_before_the_next_is_measured(tmp_path: Path) -> None:
    def ended(_opened: Opened) -> Mapping[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(tmp_path / FILE, group(single=single, swap=ended))
    assert endings(tmp_path / FILE) == {"peak": "measured", "build": "measured", "single": "measured"}


def test_nothing_is_begun_when_time_is_over(tmp_path: Path) -> None:
    of = group(single=single)
    results = take(tmp_path / FILE, of, minutes=0.0)
    assert not results.rows
    left = Slice(CPU, results, 0.0).left_of([of])
    assert left == [f"{KLEIN.name}/float32/single"]
    assert f"1 measurements are left; --resume goes on with {left[0]}" in table_of(results, left)


def test_model_that_does_not_fit_is_one_row_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    def none_left(**_values: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    too_large = PublishedModel(
        name="large",
        family=KLEIN.family,
        pipeline=KLEIN.pipeline,
        parts={"transformer": Part(kind=none_left)},
        tokenizers={},
        scheduler=KLEIN.scheduler,
        steps=1,
        guidance_scale=0.0,
    )
    of = Group(published=too_large, dtype="float32", measurements={"large/float32/single": single})
    results = take(tmp_path / FILE, of)
    assert endings(tmp_path / FILE) == {"peak": "measured", "build": "out of memory"}
    assert Slice(CPU, results, 1.0).left_of([of]) == []
    assert Done(results=results, left=[]).is_well


def test_lost_device_ends_the_slice_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DeviceLost, match="illegal memory access"):
        take(tmp_path / FILE, group(swap=lost, single=single))
    assert endings(tmp_path / FILE)["swap"] == "failed"
    take(tmp_path / FILE, group(swap=single, single=single))
    assert {"swap", "single"} <= {what for what, ending in endings(tmp_path / FILE).items() if ending == "measured"}


def test_results_are_neither_overwritten_nor_mixed_with_another_machine_s(tmp_path: Path) -> None:
    file = tmp_path / FILE
    take(file, group(single=single))
    with pytest.raises(
        InvalidConfiguration, match="has results; add --resume to continue them, or name another folder"
    ):
        Results.begin(file, HERE)
    other = {**HERE, "device": {"name": "NVIDIA L4"}}
    with pytest.raises(InvalidConfiguration, match=r"was measured on cpu with .*, and here is NVIDIA L4 with"):
        Results.resume(file, other)
    file.write_text("[]")
    with pytest.raises(InvalidConfiguration, match="has no results that can be read; move it away"):
        Results.resume(file, HERE)


def test_plan_has_every_measurement_of_every_model() -> None:
    groups = plan(PUBLISHED, small_effort())
    names = [each.name for each in PUBLISHED]
    assert [each.name for each in groups] == [f"{name}/{dtype}" for dtype in ("float32", "bfloat16") for name in names]
    whats = {key.removeprefix("sdxl/float32/") for key in keys_of(groups) if key.startswith("sdxl/float32/")}
    sizes = {f"passes-{side}{way}" for side in (1024, 512) for way in ("", "-compiled")}
    singles = {f"single-1024{way}" for way in ("", "-compiled", "-graphs")}
    served = {"engine-1024", "engine-1024-in-turns", "load-1024-60", "load-1024-80"}
    assert whats == sizes | singles | served | {"swap"}
    assert "flux.1-dev/float32/mixed" in keys_of(groups)
    assert {key for key in keys_of(groups) if key.startswith("sdxl/bfloat16/")} == {
        f"sdxl/bfloat16/{size}" for size in sizes
    }


@pytest.mark.parametrize(
    ("only", "keys"),
    [
        (["qwen-image/*/swap"], {"qwen-image/float32/swap"}),
        (["*/load-512-80", "sdxl/float32/swap"], {"sd-1.5/float32/load-512-80", "sdxl/float32/swap"}),
    ],
)
def test_only_what_is_named_is_measured(only: list[str], keys: set[str]) -> None:
    assert set(keys_of(plan(PUBLISHED, small_effort(), only))) == keys


def test_model_s_name_is_all_of_it() -> None:
    keys = set(keys_of(plan(PUBLISHED, small_effort(), ["sdxl"])))
    assert keys == {key for key in keys_of(plan(PUBLISHED, small_effort())) if key.startswith("sdxl/")}


def test_name_that_nothing_has_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"--only: nothing is called 'sd3'; models are small-sd-1\.5,"):
        bench_gpu(tmp_path, only=["sd3"], is_small=True)
    assert not list(tmp_path.iterdir())


def test_ratios_are_of_the_best_single_loop_and_of_request_batches(tmp_path: Path) -> None:
    latencies = {"p50_s": 1.0, "p95_s": 2.0, "mean_s": 1.0, "images_per_s": 1.0}
    served = {"engine": latencies, "request batches": {**latencies, "p95_s": 4.0}}
    results = Results(tmp_path / FILE, [dict(HERE)], [])
    for what, values in {
        "single-64": {"images_per_s": 1.0, "steps": 4},
        "single-64-compiled": {"images_per_s": 2.0, "steps": 4},
        "engine-64": {"images_per_s": [6.0, 5.0, 7.0], "steps": 4, "jobs_a_pass": 4},
        "engine-64-in-turns": {"images_per_s": [5.0, 5.0, 5.0], "steps": 4, "jobs_a_pass": 4},
        "load-64-80": {"served": served, "steps": (2, 4, 6), "jobs": 40},
    }.items():
        results.add(f"sd/float32/{what}", "measured", 1.0, values=values)
    lines = dict(line.split("  ", 1) for line in table_of(results, []).splitlines() if "÷" in line)
    assert {what.strip(): value.strip() for what, value in lines.items()} == {
        "sd/float32: engine-64 ÷ single-64-compiled": "3.00 ×",
        "sd/float32: engine-64 ÷ engine-64-in-turns": "1.20 ×",
        "sd/float32: load-64-80, engine ÷ request batches": "p50 1.00 ×, p95 0.50 ×",
    }


def test_job_that_differs_from_its_solo_run_is_not_well(tmp_path: Path) -> None:
    results = Results(tmp_path / FILE, [dict(HERE)], [])
    mixed = {"jobs": 2, "seconds": 1.0, "mean_rows": [1.0], "distance": 0.2, "tolerance": 0.05, "to_other_text": 0.5}
    results.add("z/float32/mixed", "measured", 1.0, values={**mixed, "is_equal": False})
    assert "NOT EQUAL" in table_of(results, [])
    assert not Done(results=results, left=[]).is_well


def test_slice_shows_shares_of_the_peak_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passes, swap = f"{KLEIN.name}/float32/passes-32", f"{KLEIN.name}/float32/swap"
    assert bench_gpu(tmp_path, only=[passes], is_small=True, minutes=60)
    said = capsys.readouterr().out
    assert f"{passes}, 1 rows" in said
    assert "% of the measured product's peak" in said
    done = bench_gpu(tmp_path, only=[passes, swap], is_small=True, is_resumed=True, minutes=60)
    assert done is not None
    assert (done.is_well, done.left) == (True, [])
    assert {passes, swap} <= done.results.rows.keys()
    assert f"{swap}, to the device" in capsys.readouterr().out


@pytest.mark.long  # All of it: a minute of a processor. tests/borrowed runs two others.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_small_run_measures_all_of_a_model(tmp_path: Path) -> None:
    done = bench_gpu(tmp_path, only=["small-flux2-klein-4b"], is_small=True, minutes=60)
    assert done is not None
    assert not done.left
    assert done.is_well, [row for row in done.results.rows.values() if row.ending != "measured"]
    assert {row.ending for row in done.results.rows.values()} == {"measured"}
