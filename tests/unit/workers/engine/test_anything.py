"""The engine runs whatever its adapters understand: here words, of which nobody makes a picture."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pytest

from workers.engine.adapter import Adapter, OnStep
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed
from workers.engine.ticket import Ticket

MODEL = "speller"


class Spelling:
    """A word that comes letter by letter."""

    share_key: Hashable = "letters"
    cost_key: Hashable = "letters"
    rows = outputs = 1
    warnings = ("it is long",)

    def __init__(self, word: str) -> None:
        self.word = word
        self.made = ""

    @property
    def step(self) -> int:
        return len(self.made)

    @property
    def steps(self) -> int:
        return len(self.word)

    @property
    def passes_left(self) -> int:
        return self.steps - self.step

    def advance(self, prediction: str) -> None:
        self.made += prediction

    def note_shortage(self) -> None:
        raise AssertionError("words have no fixed rows")


class Speller:
    """An adapter of words to themselves, which has memory for `fits` outputs at a time."""

    name = MODEL
    fits = 1

    def encode(self, works: Sequence[str]) -> list[None]:
        return [None] * len(works)

    def begin(self, work: str, _conditioning: None) -> Spelling:
        return Spelling(work)

    def fixed_rows(self, _run: Spelling) -> None:
        return None

    def predict(self, batch: Sequence[Spelling], _max_rows: int, _on_step: OnStep) -> list[str]:
        return [each.word[each.step] for each in batch]

    def finish(self, run: Spelling, max_outputs: int) -> str:
        if max_outputs > self.fits:
            raise MemoryError
        return run.made

    def trial(self, run: Spelling) -> Spelling:
        return run


def spell(speller: Adapter[str, Spelling, str], *words: str) -> list[Ticket[str]]:
    engine = Engine({MODEL: speller}, Capacity())
    tickets: list[Ticket[str]] = [engine.submit(MODEL, word) for word in words]
    while not all(ticket.is_over for ticket in tickets):
        engine.turn()
    return tickets


def test_result_is_what_the_adapter_makes_of_what_was_handed_in() -> None:
    tickets = spell(Speller(), "ring", "triangle")
    assert [ticket.result() for ticket in tickets] == ["ring", "triangle"]
    assert {ticket.warnings for ticket in tickets} == {Spelling.warnings}
    assert [(ticket.model, ticket.work, ticket.steps_run) for ticket in tickets] == [
        (MODEL, "ring", 4),
        (MODEL, "triangle", 8),
    ]


def test_outputs_are_made_fewer_at_a_time_where_memory_is_short() -> None:
    class Many(Speller):
        fits = 2

        def begin(self, work: str, conditioning: None) -> Spelling:
            made = super().begin(work, conditioning)
            made.outputs = 9
            return made

    (ticket,) = spell(Many(), "star")
    assert ticket.result() == "star"


def test_memory_that_does_not_suffice_for_one_output_fails_the_job() -> None:
    class Nothing(Speller):
        fits = 0

    (ticket,) = spell(Nothing(), "star")
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    assert raised.value.code == "out_of_memory"


def test_a_callback_that_raises_ends_its_own_job_alone() -> None:
    def on_progress(_stage: str, step: int, _steps: int) -> None:
        if step == 2:
            raise ZeroDivisionError("a bug of a kind")

    engine = Engine({MODEL: Speller()}, Capacity())
    broken: Ticket[str] = engine.submit(MODEL, "triangle", on_progress)
    other: Ticket[str] = engine.submit(MODEL, "star")
    while not (broken.is_over and other.is_over):
        engine.turn()
    assert other.result() == "star"
    with pytest.raises(ZeroDivisionError):
        broken.result()
