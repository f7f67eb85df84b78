"""Blocks are compiled for a few shapes at the start and for none while they serve, and make the pictures of others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch._dynamo.utils import counters

from jobs.catalogue.entry import Limits
from tests.further.listed import OLD
from tests.unit.workers import flow, tiny
from tests.unit.workers.adapters import QUIET
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.families.family import PictureFamily
from workers.families.parts.compiled import CompiledRows
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.registry import family_of
from workers.loading.assembly.compilation import compile_blocks
from workers.loading.errors import NotLoaded

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

MOST = 4  # rows of a pass
SIZE = {"width": 32, "height": 32}


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    """As a process begins, and leaves it to those after."""
    config = torch._dynamo.config
    limits = config.recompile_limit, config.accumulated_recompile_limit
    torch._dynamo.reset()
    counters.clear()
    yield
    torch.compiler.set_stance("default")
    torch._dynamo.reset()
    config.recompile_limit, config.accumulated_recompile_limit = limits


def opened(name: str, backend: str | None = "eager", **changes: Any) -> PictureFamily[Any]:
    """The adapter of a tiny model, compiled by a backend that only has its graphs run as they are; or not at all."""
    compiles = {"compile": "blocks"} if backend else {}
    if name in flow.ALL:
        entry, pipeline = flow.entry_of(name, **changes | compiles), flow.ALL[name][1]()
    else:
        defaults = tiny.model(name).defaults.model_copy(update=SIZE)
        entry = tiny.model(name, defaults=defaults, **changes | compiles)
        of = tiny.stable_diffusion() if name == "stable-diffusion" else tiny.stable_diffusion_xl()
        unet = type(of.unet).from_config(of.unet.config).eval()  # Others have the one of all tests.
        unet.load_state_dict(of.unet.state_dict())
        pipeline = type(of)(**of.components | {"unet": unet}, **({} if "xl" in name else NO_CHECKER))
    if backend:
        compile_blocks(pipeline, entry, backend)
    return family_of(entry).adapt(entry, pipeline, EmbeddingCache(1 << 20))


NO_CHECKER = {"requires_safety_checker": False}


def begun(adapter: PictureFamily[Any], n: int, **fields: Any) -> Any:
    job = tiny.spec(adapter.entry, n=n, num_inference_steps=2, **fields)
    return adapter.begin(job, adapter.encode([job])[0])


def predicted(adapter: PictureFamily[Any], *runs: Any) -> list[torch.Tensor]:
    made = adapter.predict(runs, MOST, lambda _step: None)
    return [torch.stack(list(each)) if isinstance(each, list) else each for each in made]


def graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


def warm(adapter: PictureFamily[Any], rows: int) -> None:
    """As a worker's start does it, for all that share a pass."""
    images = 1
    while images * rows <= MOST:
        predicted(adapter, begun(adapter, images))
        images *= 2
    assert adapter.compiled is not None
    adapter.compiled.close()


# With the rows of one image.
COMPILED = {"stable-diffusion": 2, "stable-diffusion-xl": 2, "flux-dev": 1, "flux2-klein": 2, "chroma": 2}
_LONG = ("stable-diffusion", "stable-diffusion-xl", "flux2-klein", "chroma")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in _LONG else []) for name in COMPILED]
)
def test_nothing_is_compiled_while_it_serves_and_predictions_are_those_of_others(name: str) -> None:
    adapter, plain = opened(name), opened(name, None)
    warm(adapter, COMPILED[name])
    compiled = graphs()
    assert compiled > 0
    with torch.compiler.set_stance("fail_on_recompile"):
        for images in ((1,), (2,), (1, 1), (3,), (2, 3)):
            made = predicted(adapter, *(begun(adapter, n, seed=n) for n in images))
            expected = predicted(plain, *(begun(plain, n, seed=n) for n in images))
            for each, other in zip(made, expected, strict=True):
                torch.testing.assert_close(each, other, rtol=0, atol=2e-5)
    # Another size, and a reproducible job, which has a number of rows of its own, run as they are.
    predicted(adapter, begun(adapter, 1, width=64, height=32))
    predicted(adapter, begun(adapter, 3, reproducible=True))
    assert graphs() == compiled


def test_worker_compiles_at_its_start_each_number_of_jobs_and_each_size(tmp_path: Any) -> None:
    from workers.process.warming import compile_passes, warm_up

    adapter = opened("flux-dev", limits=LIMITS, compile_sizes=((32, 48),))
    engine = Engine({adapter.name: adapter}, Few(), device=torch.device("cpu"))
    engine.start()
    try:
        warm_up(engine, adapter)
        compile_passes(engine, adapter)
        compiled = graphs()
        assert adapter.compiled is not None
        assert adapter.compiled.counts == {((32, 32), ()): {1, 2, 4}, ((48, 32), ()): {1, 2, 4}}
        heights = {n: 32 + 16 * (n % 3) for n in range(1, 6)}
        jobs = [tiny.spec(adapter.entry, n=n, num_inference_steps=2, height=side) for n, side in heights.items()]
        for ticket in [engine.submit(adapter.name, job) for job in jobs]:
            ticket.result()
        assert graphs() == compiled
    finally:
        engine.stop()


LIMITS = Limits(min_side=16, max_side=512, side_multiple=16, max_steps=100, max_n=8)


class Few(Capacity):
    """Finds `MOST` rows the best of all, without trying."""

    def learn(self, adapter: Any, run: Any) -> Any:
        from workers.engine.capacity import PassTimes

        self._known[run.cost_key] = PassTimes(seconds={MOST: 0.001})
        return super().learn(adapter, run)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Of torch's own code, which is deprecated in places.
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_what_inductor_makes_predicts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)  # It would leave a pool of them.
    adapter, plain = opened("flux-dev", "inductor"), opened("flux-dev", None)
    predicted(adapter, begun(adapter, 2))
    assert adapter.compiled is not None
    adapter.compiled.close()
    compiled = graphs()
    made, expected = predicted(adapter, begun(adapter, 1)), predicted(plain, begun(plain, 1))
    assert graphs() == compiled > 0
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)


@given(st.sets(st.sampled_from([1, 2, 4, 8, 16]), min_size=1), st.integers(1, 40), st.integers(1, 40))
def test_rows_are_filled_up_to_counts_that_are_known(known: set[int], count: int, most: int) -> None:
    rows = CompiledRows()
    rows.close()
    rows.counts["shape"] = known
    parts = rows.parts(count, most, "shape")
    if min(known) > most:
        assert parts == []
        return
    assert sum(taken for taken, _ in parts) == count
    assert all(taken <= filled <= most and filled in known for taken, filled in parts)
    assert all(first == filled for (first, filled), _ in pairwise(parts)), "only the last is filled up"
    assert rows.parts(count, most, "another shape") == []


def test_open_it_has_powers_of_two_and_notes_them() -> None:
    rows = CompiledRows()
    assert rows.parts(11, 6, "shape") == [(4, 4), (4, 4), (3, 4)]
    assert rows.parts(1, 6, "shape") == [(1, 1)]
    assert rows.counts == {"shape": {1, 4}}


def test_denoiser_whose_blocks_diffusers_does_not_name_is_refused() -> None:
    entry = tiny.model("flux", compile="blocks")
    with pytest.raises(NotLoaded, match="compile: diffusers names no blocks of SD3Transformer2DModel; leave it out of"):
        compile_blocks(tiny.stable_diffusion_3(), entry)


@pytest.mark.parametrize(
    ("family", "changes", "found"),
    [
        ("z-image", {"compile": "blocks"}, "compile: models of family z-image do not heed it"),
        ("diffusers", {"compile": "blocks"}, "compile: models of family diffusers do not heed it"),
        ("flux", {"compile_sizes": [[64, 64]]}, 'compile_sizes: nothing is compiled: set compile = "blocks"'),
        ("flux", {"compile": "blocks", "compile_sizes": [[64, 72]]}, "compile_sizes: 64 × 72 is outside the model's"),
        ("flux", {"compile": "blocks", "compile_sizes": [[64, 1024]]}, "compile_sizes: 64 × 1024 is outside"),
        ("flux", {"compile": "all"}, "compile"),
    ],
)
def test_entry_that_asks_for_what_is_not_compiled_is_refused(family: str, changes: dict[str, Any], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        tiny.model(family, **changes)
