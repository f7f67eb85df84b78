"""What a family makes is held against the job, whatever family it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.unit.workers import tiny
from tests.unit.workers.adapters import run, submit
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.errors import WrongPictures
from workers.families.family import PictureFamily
from workers.families.simulated import DeviceTimes, SimulatedModel, SimulatedRun, VirtualClock
from workers.runners.postprocess import Pixels

ENTRY = tiny.model("simulated")


class Careless(SimulatedModel):
    """A family that looks at nothing."""

    def __init__(self, change: Callable[[list[Pixels]], list[Any]]) -> None:
        super().__init__(ENTRY, DeviceTimes(launch_s=0.0, row_s=0.0))
        self._change = change

    def decode(self, run: SimulatedRun, max_images: int) -> list[Pixels]:
        return self._change(super().decode(run, max_images))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda made: made[1:], "n: 2 pictures were requested, but the model made 1"),
        (lambda made: [each[1:] for each in made], "height: 16×16 pixels were requested, but the model made 16×15"),
        (lambda made: [each[:, :8] for each in made], "width: 16×16 pixels were requested, but the model made 8×16"),
        (lambda made: [each.astype(np.float32) for each in made], "the model made 16×16×3 values of float32"),
    ],
)
def test_family_that_does_not_look_is_looked_after(change: Callable[[Sequence[Pixels]], list[Any]], says: str) -> None:
    clock = VirtualClock()
    model: PictureFamily[Any] = Careless(change)
    engine = Engine({ENTRY.name: model}, Capacity(clock=clock), clock=clock)
    ticket = submit(engine, tiny.spec(ENTRY, n=2))
    run(engine, ticket)
    with pytest.raises(WrongPictures) as raised:
        ticket.result()
    assert raised.value.found.startswith(says)
    assert raised.value.code == "invalid_output"
