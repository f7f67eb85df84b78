"""What is measured of a model on a device, on small models and a CPU: the same code, other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from workers.bench.device.compiled import BLOCKS, GRAPHS, compiled
from workers.bench.device.peak import count_flops, measure_peak, sheet_flops_per_s
from workers.bench.device.served import BATCHES, ENGINE, Served
from workers.bench.device.subject import Subject
from workers.bench.gpu.command import small_effort
from workers.bench.published.flow import FLUX2_KLEIN_4B
from workers.bench.published.models import PUBLISHED
from workers.bench.published.small import small
from workers.bench.published.stable_diffusion import STABLE_DIFFUSION_15
from workers.engine import capacity

CPU = torch.device("cpu")
COMPILERS = small_effort().compilers

# numpy's, of how diffusers' Euler scheduler makes its sigmas.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def unet() -> Subject:
    return Subject(small(STABLE_DIFFUSION_15), CPU, "float32")


@pytest.fixture(scope="module")
def transformer() -> Subject:
    return Subject(small(FLUX2_KLEIN_4B), CPU, "float32")


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU takes a minute for the pictures of a GPU's passes."""
    monkeypatch.setattr(capacity, "_MOST_ROWS", 4)


def test_passes_have_a_time_and_a_rate_for_each_number_of_jobs(unet: Subject, transformer: Subject) -> None:
    for subject, rows in ((unet, [2, 4]), (transformer, [1, 2])):
        passes = subject.passes(32, (1, 2), tries=1)
        assert [each.rows for each in passes] == rows
        assert [each.jobs for each in passes] == [1, 2]
        assert all(each.seconds > 0 and (each.flops_per_s or 0) > 0 for each in passes)


def test_larger_picture_takes_more_operations(transformer: Subject) -> None:
    def flops(side: int) -> float:
        [one] = transformer.passes(side, (1,), tries=1)
        return (one.flops_per_s or 0) * one.seconds

    assert flops(64) > 1.5 * flops(32)


def test_passes_end_where_memory_does(transformer: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = transformer.adapter.predict

    def short(batch: Sequence[Any], *rest: Any) -> Any:
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(batch, *rest)

    monkeypatch.setattr(transformer.adapter, "predict", short)
    most = 2
    assert [each.jobs for each in transformer.passes(32, (1, 2, 4), tries=1)] == [1, 2]
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        transformer.passes(32, (1, 2), tries=1)


def test_operations_that_memory_does_not_let_count_cost_their_share_alone(
    transformer: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(_call: Any) -> int:
        raise torch.OutOfMemoryError("attention as two products")

    monkeypatch.setattr("workers.bench.device.subject.count_flops", short)
    [one] = transformer.passes(32, (1,), tries=1)
    assert one.flops_per_s is None
    assert one.seconds > 0


@pytest.mark.parametrize("published", PUBLISHED[1:], ids=[each.name for each in PUBLISHED[1:]])
def test_single_pictures_are_made_by_the_own_call_of_each(published: Any) -> None:
    assert Subject(small(published), CPU, "float32").singles(32, 1, steps=2) > 0


def test_picture_of_a_large_model_has_fewer_steps_and_four_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(replace(small(FLUX2_KLEIN_4B), steps=50), CPU, "float32")
    monkeypatch.setattr(subject, "_pass_s", {32: 1.0, 64: 5.0})
    assert [subject.steps(32, longest_s) for longest_s in (100.0, 10.0, 1.0)] == [50, 10, 4]
    assert subject.steps(64, 25.0) == 5


def test_swap_counts_what_goes_and_leaves_the_model_where_it_was(transformer: Subject) -> None:
    swapped = transformer.swap(times=2)
    assert len(swapped["in_s"]) == len(swapped["out_s"]) == 2
    assert swapped["bytes"] >= 4 * sum(transformer.parameters.values())
    assert transformer.denoiser.device == CPU


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("in_turns", [False, True])
def test_engine_makes_pictures_while_it_decodes_and_in_turns(unet: Subject, in_turns: bool) -> None:
    rate = Served(unet).rate(32, 3, in_turns=in_turns)
    assert rate.jobs_a_pass in (1, 2)
    assert len(rate.images_per_s) == 3
    assert min(rate.images_per_s) > 0


@pytest.mark.long  # Two streams in real time.
@pytest.mark.usefixtures("few_rows")
def test_stream_is_served_by_the_engine_and_in_batches(transformer: Subject) -> None:
    load = Served(transformer).load(32, 0.8, 2.0)
    assert load.served.keys() == {ENGINE, BATCHES}
    assert 40 <= load.jobs <= 400
    assert min(load.steps) >= 2
    for each in load.served.values():
        assert 0 < each.p50_s <= each.p95_s


@pytest.mark.long  # The import of torch's compiler takes as long as twenty other tests.
@pytest.mark.parametrize("way", [BLOCKS, GRAPHS])
def test_compiled_model_is_as_it_was_afterwards(unet: Subject, way: str) -> None:
    assert unet.singles(32, 1, steps=2, compiler=COMPILERS[way]) > 0
    passes = unet.passes(32, (1, 2), compiler=COMPILERS[way], tries=1)
    assert [each.rows for each in passes] == [2, 4]
    assert not [each for each in unet.denoiser.modules() if each._compiled_call_impl]


@pytest.mark.long  # Likewise.
def test_model_that_cannot_be_compiled_is_as_it_was_afterwards(unet: Subject) -> None:
    def call(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("no compiler here")

    with (
        pytest.raises(Exception, match="no compiler here"),
        compiled(unet.denoiser, lambda denoiser: denoiser.compile(backend=lambda *_: call)),
    ):
        unet.call(unet.spec(0, 32))
    assert unet.call(unet.spec(0, 32)).images


def test_forward_of_sd_15_at_512_px_takes_0_8_tflop_a_row() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**STABLE_DIFFUSION_15.parts["unet"].values)
        sample, timesteps, text = torch.empty(2, 4, 64, 64), torch.empty(2), torch.empty(2, 77, 768)
        flops = count_flops(lambda: unet(sample, timesteps, encoder_hidden_states=text))
    assert flops == pytest.approx(2 * 0.803e12, rel=0.01)


def test_peak_of_a_product_is_measured() -> None:
    assert measure_peak(CPU, "float32", side=64, tries=2) > 0


@pytest.mark.parametrize(
    ("name", "dtype", "peak"),
    [
        ("NVIDIA H200", "bfloat16", 989e12),
        ("NVIDIA H100 80GB HBM3", "float16", 989e12),
        ("NVIDIA H100 80GB HBM3", "float32", None),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA L40S", "bfloat16", 362e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("Some other", "bfloat16", None),
    ],
)
def test_data_sheet_is_found_by_the_name_of_the_device(name: str, dtype: str, peak: float | None) -> None:
    assert sheet_flops_per_s(name, dtype) == peak
