"""What mixed sizes are compared with: the same model, with pictures of one size in a pass."""

from __future__ import annotations

import pytest

from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET
from workers.bench.contenders.one_size import keep_sizes_apart
from workers.families import z_image

pytestmark = pytest.mark.filterwarnings(QUIET)


def share_keys() -> list[object]:
    adapter = flow.adapter_of("z-image")
    asked = ({"width": 32}, {"width": 48}, {"width": 32, "num_inference_steps": 5})
    jobs = [flow.spec_of("z-image", **fields) for fields in asked]
    return [adapter.begin(job, text).share_key for job, text in zip(jobs, adapter.encode(jobs), strict=True)]


def test_sizes_do_not_share_a_pass_where_they_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(z_image, "FAMILY", z_image.FAMILY)  # It is put back afterwards.
    small, wide, longer = share_keys()
    assert small == wide == longer
    keep_sizes_apart()
    small, wide, longer = share_keys()
    assert small == longer != wide
