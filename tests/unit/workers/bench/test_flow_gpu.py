"""What a borrowed GPU is to run, on small models and a CPU: the same code, other numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from workers.bench import flow_gpu
from workers.bench.device.flow_subject import COMPARED_SEED, FlowSubject
from workers.bench.flow_gpu import FlowBench, ModelResult, bench_flow, table_of
from workers.bench.published.flow import FLUX2_KLEIN_4B, PUBLISHED, Z_IMAGE, PublishedFlow, parts_of, small
from workers.families.flow.rows import FlowRow

CPU = torch.device("cpu")
DEADLINE_S = 600.0
JOBS = COMPARED_SEED + 1

# The other one runs with `long`, as all of it does in tests/borrowed.
both = pytest.mark.parametrize(
    "published",
    [pytest.param(each, marks=[] if each is Z_IMAGE else [pytest.mark.long], id=each.name) for each in PUBLISHED],
)


@pytest.mark.parametrize(
    ("published", "transformer", "autoencoder"),
    [(Z_IMAGE, 6_154_908_736, 83_819_683), (FLUX2_KLEIN_4B, 3_875_544_576, 84_046_115)],
    ids=["z-image", "flux2-klein-4b"],
)
def test_published_flow_models_have_their_real_sizes(
    published: PublishedFlow, transformer: int, autoencoder: int
) -> None:
    with torch.device("meta"):
        sizes = {name: sum(each.numel() for each in part.parameters()) for name, part in parts_of(published).items()}
    assert sizes == {"transformer": transformer, "vae": autoencoder, "text_encoder": 4_022_468_096}


@both
def test_job_of_a_mixed_run_equals_its_solo_run(published: PublishedFlow) -> None:
    subject = FlowSubject(small(published), CPU, "float32")
    mixed = subject.mixed(JOBS, DEADLINE_S)
    assert mixed.jobs == JOBS
    assert max(mixed.mean_rows) > 1  # They were in company.
    assert subject.compare().is_equal


@pytest.mark.long  # Two more runs of the engine.
@pytest.mark.parametrize("published", PUBLISHED, ids=[each.name for each in PUBLISHED])
def test_comparison_sees_the_text_of_a_neighbour(published: PublishedFlow) -> None:
    subject = FlowSubject(small(published), CPU, "float32")
    forward = subject._adapter._forward  # type: ignore[attr-defined]

    def faulty(rows: Sequence[FlowRow]) -> Any:
        return forward([replace(row, text=rows[at - 1].text) for at, row in enumerate(rows)])

    subject._adapter._forward = faulty  # type: ignore[attr-defined]
    subject.mixed(JOBS, DEADLINE_S)
    assert not subject.compare().is_equal


def test_mixed_jobs_differ_in_steps_texts_guidance_and_size() -> None:
    jobs = FlowSubject(small(Z_IMAGE), CPU, "float32").specs(16)
    assert {each.num_inference_steps for each in jobs} == set(range(4, 13))
    for differing in ("prompt", "guidance_scale", "width"):
        assert len({getattr(each, differing) for each in jobs}) > 1
    assert {each.width for each in FlowSubject(small(FLUX2_KLEIN_4B), CPU, "float32").specs(16)} == {64}


def test_weights_are_of_the_dtype_that_is_measured() -> None:
    subject = FlowSubject(small(Z_IMAGE), CPU, "bfloat16")
    assert {each.dtype for each in subject._pipeline.transformer.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() is torch.float32
    assert list(subject.passes(32, (1, 2), tries=1)) == [1, 2]


def test_part_that_fails_leaves_its_reason_and_loses_none_of_the_others() -> None:
    kept: list[int] = []
    bench = FlowBench(CPU, "float32", 60.0, lambda results: kept.append(len(results)))
    guidance_that_ends_in_no_number = replace(small(Z_IMAGE), guidance_scale=math.inf, sides=(32,))
    [result] = bench.run([guidance_that_ends_in_no_number])
    assert list(result.failed) == ["mixed"]
    assert "not finite" in result.failed["mixed"]
    assert list(result.passes[32]) == [1, 2, 4, 8]
    assert kept
    assert "mixed FAILED" in table_of([result])


def test_no_part_is_begun_when_time_is_over() -> None:
    results = FlowBench(CPU, "float32", 0.0, lambda _results: None).run([small(each) for each in PUBLISHED])
    assert [each.failed for each in results] == [{"build": "no time left"}] * 2


def test_table_says_what_is_not_equal() -> None:
    compared = {"distance": 0.2, "to_other_text": 0.5, "tolerance": 0.05, "solo_s": 1.0, "is_equal": False}
    assert "NOT EQUAL" in table_of([ModelResult(name="z", compared=compared)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which it would use for minutes")
def test_nothing_is_measured_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_flow(tmp_path, is_small=False) is None
    monkeypatch.setattr("sys.argv", ["flow_gpu", "--folder", str(tmp_path)])
    assert flow_gpu.main() == 2
    assert capsys.readouterr().err.strip() == flow_gpu.NO_GPU
    assert not list(tmp_path.iterdir())


@pytest.mark.long  # All of it, twice the jobs of the tests above.
def test_small_run_writes_all_of_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["flow_gpu", "--folder", str(tmp_path), "--small", "--minutes", "60"])
    assert flow_gpu.main() == 0
    models = json.loads((tmp_path / "flow-gpu.json").read_text())["models"]
    assert [each["compared"]["is_equal"] for each in models] == [True, True]
    assert [set(each["passes"]) for each in models] == [{"64", "32"}] * 2
