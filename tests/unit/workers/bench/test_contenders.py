"""What the engine is measured against: real streams of real jobs, on the built-in model, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.generate import GenerateSpec, spec_of
from workers.bench.contenders import factories
from workers.bench.passes import pass_seconds
from workers.bench.process import ContenderFailed, Remote
from workers.bench.streams import real_time
from workers.bench.streams.real_time import serve_in_batches
from workers.bench.streams.simulation import Arrival
from workers.families.simulated import DeviceTimes, SimulatedModel, VirtualClock

# numpy's, of schedulers.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MODELS = Path(__file__).resolve().parents[4] / "models.toml"


def specs(catalogue: Catalogue, *steps: int) -> list[GenerateSpec]:
    asked = [{"prompt": f"a picture {index}", "seed": index, "num_inference_steps": n} for index, n in enumerate(steps)]
    return [spec_of(each, catalogue) for each in asked]


@pytest.mark.long  # Each process imports diffusers; what runs in it is tried in this one below.
@pytest.mark.parametrize("factory", [factories.tutorial, factories.engine])
def test_contender_makes_pictures_and_serves_a_stream(factory: object, catalogue: Catalogue) -> None:
    arrivals = [Arrival(at_s=0.01 * index, spec=spec) for index, spec in enumerate(specs(catalogue, 1, 2))]
    with Remote(factory, MODELS, "shapes-flow", 1) as remote:  # type: ignore[arg-type]
        assert remote.call("make", [each.spec for each in arrivals]) > 0
        outcome = remote.call("serve", arrivals)
    assert outcome.images == 2
    assert all(latency > 0 for latency in outcome.latencies_s)


def test_tutorial_serves_a_stream_in_this_process(catalogue: Catalogue) -> None:
    arrivals = [Arrival(at_s=0.0, spec=spec) for spec in specs(catalogue, 1, 2)]
    first, second = factories.tutorial(MODELS, "shapes-flow", 1).serve(arrivals).latencies_s
    assert 0 < first < second


def test_request_batches_serve_a_stream(catalogue: Catalogue) -> None:
    arrivals = [Arrival(at_s=0.0, spec=spec) for spec in specs(catalogue, 1, 2, 1)]
    outcome = factories.request_batches(MODELS, "shapes-flow", 1, 2).serve(arrivals)
    first, second, third = outcome.latencies_s
    assert first == second < third


def test_bare_loop_makes_its_calls_and_times_passes(catalogue: Catalogue) -> None:
    bare = factories.bare(MODELS, "shapes-flow", 1)
    assert bare.make(specs(catalogue, 2, 2, 2), jobs_a_pass=2) > 0
    assert list(bare.pass_seconds(specs(catalogue, 1)[0], (1, 2))) == [1, 2]


@pytest.mark.long  # Likewise.
def test_what_a_contender_raises_is_told_with_its_reason() -> None:
    with pytest.raises(ContenderFailed, match="no-such-model"), Remote(factories.tutorial, MODELS, "no-such-model", 1):
        pass


class _Clock:
    """Stands still until somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_batches_take_only_what_has_come(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    clock = _Clock()
    monkeypatch.setattr(real_time, "time", clock)

    def run(batch: list[GenerateSpec]) -> None:
        batches.append(len(batch))
        clock.sleep(0.1)  # The device, busy.

    at_s = (0.0, 0.02, 0.03, 0.04)
    arrivals = [Arrival(at_s=at, spec=spec) for at, spec in zip(at_s, specs(catalogue, 1, 1, 1, 1), strict=True)]
    outcome = serve_in_batches(arrivals, run, max_jobs=2)
    assert batches == [1, 2, 1]
    assert outcome.makespan_s == pytest.approx(
        max(a.at_s + s for a, s in zip(arrivals, outcome.latencies_s, strict=True))
    )


def test_times_of_passes_are_those_of_the_device_and_end_with_its_memory(catalogue: Catalogue) -> None:
    clock = VirtualClock()

    def sleep(seconds: float) -> None:
        if seconds > 0.7:
            raise MemoryError
        clock.sleep(seconds)

    model = SimulatedModel(catalogue.models["shapes-flow"], DeviceTimes(launch_s=0.2, row_s=0.1), sleep)
    (spec,) = specs(catalogue, 1)
    assert pass_seconds(model, model.begin(spec, None), (1, 2, 4, 8), clock) == pytest.approx({1: 0.3, 2: 0.4, 4: 0.6})
