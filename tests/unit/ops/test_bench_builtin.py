"""The built-in models side by side: what is asked of them, and what is made of what they took."""

from __future__ import annotations

from collections import Counter

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.process.settings import Settings
from ops.bench.engine.builtin import APART, FLOW, MIXED, mixed_sizes, streams_of
from ops.bench.truth.subjects import SUBJECTS
from workers.bench.streams.simulation import Outcome

CATALOGUE = Catalogue.read(Settings().models_file)


def outcome(latencies_s: list[float], makespan_s: float) -> Outcome:
    return Outcome(latencies_s=latencies_s, makespan_s=makespan_s, images=len(latencies_s))


def test_stream_has_all_sizes_of_the_model_and_no_caption_twice() -> None:
    jobs = mixed_sizes(CATALOGUE, 60, seed=1)
    sizes = Counter((job.width, job.height) for job in jobs)
    assert set(sizes) == set(SUBJECTS[FLOW].sizes)
    assert min(sizes.values()) > 10
    assert len({job.prompt for job in jobs}) == 60
    assert {job.model for job in jobs} == {FLOW}
    assert mixed_sizes(CATALOGUE, 60, seed=1) == jobs
    assert mixed_sizes(CATALOGUE, 60, seed=2) != jobs


def test_sizes_are_such_as_the_models_make() -> None:
    for subject in SUBJECTS.values():
        limits = CATALOGUE.models[subject.model].limits
        for side in (side for size in subject.sizes for side in size):
            assert limits.min_side <= side <= limits.max_side
            assert side % limits.side_multiple == 0


def test_ratios_are_those_within_a_round() -> None:
    streams = {
        MIXED: [outcome([1.0, 3.0], 4.0), outcome([2.0, 2.0], 2.0), outcome([1.0, 1.0], 1.0)],
        APART: [outcome([2.0, 6.0], 2.0), outcome([1.0, 1.0], 2.0), outcome([1.0, 4.0], 4.0)],
    }
    figures = {each.what: each.value for each in streams_of(streams)}
    assert figures[f"images/s, {MIXED} ÷ {APART}"] == pytest.approx(1.0)  # of 0.5, 1 and 4
    assert figures[f"p95, {MIXED} ÷ {APART}"] == pytest.approx(0.5)  # of 3/6, 2/1 and 1/4
    assert figures[f"mean, {MIXED} ÷ {APART}"] == pytest.approx(0.5)  # of 2/4, 2/1 and 1/2.5
    assert figures[f"images/s, {MIXED}"] == pytest.approx(1.0)
    assert figures[f"p95, {APART}"] == pytest.approx(4.0)
