"""Rows come out where they went in, however many forwards they take."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.families.diffusion.rows import Rows, forward_in_parts, pack


def rows_of(start: int, count: int) -> Rows:
    numbers = torch.arange(start, start + count, dtype=torch.float32)
    sample = numbers.view(-1, 1, 1, 1)
    return Rows(sample=sample, timesteps=numbers, text=numbers.view(-1, 1, 1), extra={"time_ids": numbers.view(-1, 1)})


class Forward:
    """Adds up everything that a row has; notes how many rows each forward had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, rows: Rows) -> torch.Tensor:
        self.sizes.append(len(rows))
        total = rows.sample.flatten() + rows.timesteps + rows.text.flatten() + rows.extra["time_ids"].flatten()
        return total.view(-1, 1, 1, 1)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 20), st.none() | st.integers(1, 6))
def test_every_row_has_its_own_prediction(counts: list[int], max_rows: int, exactly: int | None) -> None:
    starts = [sum(counts[:index]) for index in range(len(counts))]
    packed = pack([rows_of(start, count) for start, count in zip(starts, counts, strict=True)])
    forward = Forward()
    predicted = forward_in_parts(packed, forward, max_rows=max_rows, exactly=exactly)
    assert predicted.flatten().tolist() == [4.0 * number for number in range(sum(counts))]
    if exactly is None:
        assert max(forward.sizes) <= max_rows
        assert len(forward.sizes) == -(-sum(counts) // max_rows)
    else:
        assert set(forward.sizes) == {exactly}


def test_forwards_are_of_about_equal_size() -> None:
    forward = Forward()
    forward_in_parts(rows_of(0, 9), forward, max_rows=8)
    assert forward.sizes == [5, 4]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_padding_repeats_the_first_row(count: int) -> None:
    padded = rows_of(5, count).padded_to(4)
    assert padded.timesteps.tolist() == [5.0 + index for index in range(count)] + [5.0] * (4 - count)
