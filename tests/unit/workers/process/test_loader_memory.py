"""A model that was dropped is gone: its weights, and all that refers to them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from ops.settings import CHECKOUT
from tests.unit.workers.adapters import QUIET
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed
from workers.process.loader import Loader
from workers.process.settings import WorkerSettings


@pytest.mark.filterwarnings(QUIET)
def test_dropped_model_leaves_nothing_of_it_and_can_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue.read(CHECKOUT / "models.toml")
    adapters: dict[str, Any] = {}
    engine = Engine(adapters, Capacity())
    loader = Loader(catalogue, WorkerSettings(device="cpu", threads=1), torch.device("cpu"), engine, adapters)
    engine.start()
    try:
        for _ in range(2):
            adapter: Any = loader.read(["shapes-flow"])[0]
            loader.put(adapter)
            entry = adapter.entry
            said = {"model": entry.name, "prompt": "a red circle", "seed": 1, "num_inference_steps": 2}
            spec = GenerateSpec.model_validate(entry.defaults.model_dump() | said)
            assert engine.submit(entry.name, adapter.work_to_try(spec)).result(600)
            with monkeypatch.context() as broken:  # An error of the last job has the model in its traceback.
                broken.setattr(adapter.pipeline.transformer, "forward", lambda *_args, **_kwargs: 1 / 0)
                with pytest.raises(GenerationFailed):
                    engine.submit(entry.name, adapter.work_to_try(spec)).result(600)
            weights = weakref.ref(next(adapter.pipeline.transformer.parameters()))
            del adapter, spec, entry
            loader.drop("shapes-flow")
            assert weights() is None
            assert adapters == {}
    finally:
        engine.stop()


@pytest.mark.filterwarnings(QUIET)
def test_model_that_makes_no_picture_is_not_given_to_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out when it is tried, and is gone then."""
    catalogue = Catalogue.read(CHECKOUT / "models.toml")
    adapters: dict[str, Any] = {}
    engine = Engine(adapters, Capacity())
    loader = Loader(catalogue, WorkerSettings(device="cpu", threads=1), torch.device("cpu"), engine, adapters)
    engine.start()
    try:
        adapter: Any = loader.read(["shapes-flow"])[0]
        transformer = adapter.pipeline.transformer
        monkeypatch.setattr(transformer, "forward", lambda *_args, **_kwargs: 1 / 0)
        with pytest.raises(InvalidConfiguration, match="model shapes-flow makes no picture"):
            loader.put(adapter)
        assert adapters == {}
        del adapter, transformer
        monkeypatch.undo()
        gc.collect()
    finally:
        engine.stop()
