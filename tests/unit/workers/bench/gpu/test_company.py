"""Jobs of a mixed run beside what diffusers makes of them, on small models and a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from workers.bench.device.company import COMPARED_SEED, Company
from workers.bench.device.subject import Subject
from workers.bench.published.flow import FLUX1_DEV, FLUX2_KLEIN_4B, QWEN_IMAGE, Z_IMAGE_TURBO
from workers.bench.published.model import PublishedModel
from workers.bench.published.small import small
from workers.families.flow.rows import FlowRow

CPU = torch.device("cpu")
DEADLINE_S = 600.0
JOBS = COMPARED_SEED + 1
MODELS = (Z_IMAGE_TURBO, FLUX2_KLEIN_4B, FLUX1_DEV, QWEN_IMAGE)


def company(published: PublishedModel) -> tuple[Subject, Company]:
    subject = Subject(small(published), CPU, "float32")
    return subject, Company(subject, "float32")


@pytest.mark.parametrize(
    "published",
    # The others run with `long`, as all of it does in tests/borrowed.
    [pytest.param(each, marks=[] if each is Z_IMAGE_TURBO else [pytest.mark.long], id=each.name) for each in MODELS],
)
def test_job_of_a_mixed_run_equals_its_solo_run(published: PublishedModel) -> None:
    _, jobs = company(published)
    mixed = jobs.mixed(JOBS, DEADLINE_S)
    assert mixed.jobs == JOBS
    assert max(mixed.mean_rows) > 1  # They were in company.
    assert jobs.compare().is_equal


@pytest.mark.long  # Two more runs of the engine.
@pytest.mark.parametrize("published", MODELS, ids=[each.name for each in MODELS])
def test_comparison_sees_the_text_of_a_neighbour(published: PublishedModel) -> None:
    subject, jobs = company(published)
    adapter: Any = subject.adapter
    forward = adapter._forward

    def faulty(rows: Sequence[FlowRow]) -> Any:
        others = [rows[at - 1] for at in range(len(rows))]
        return forward([replace(row, text=other.text) for row, other in zip(rows, others, strict=True)])

    adapter._forward = faulty
    jobs.mixed(JOBS, DEADLINE_S)
    assert not jobs.compare().is_equal


def test_mixed_jobs_differ_in_steps_texts_guidance_and_size() -> None:
    jobs = company(Z_IMAGE_TURBO)[1].specs(16)
    assert {each.num_inference_steps for each in jobs} == set(range(4, 13))
    for differing in ("prompt", "guidance_scale", "width"):
        assert len({getattr(each, differing) for each in jobs}) > 1
    assert {each.width for each in company(FLUX2_KLEIN_4B)[1].specs(16)} == {64}
