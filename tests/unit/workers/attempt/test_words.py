"""The engine's words are those of the job table, which it does not know."""

from __future__ import annotations

from jobs.errors import ErrorCode
from jobs.kinds.picture import Stage
from workers.engine import errors, ticket


def test_stages_of_the_engine_are_stages_of_the_table() -> None:
    assert [Stage(word) for word in (ticket.ENCODE, ticket.GENERATE)] == [Stage.ENCODE, Stage.GENERATE]


def test_codes_of_the_engine_are_codes_of_the_api() -> None:
    codes = (errors.OUT_OF_MEMORY, errors.GENERATION_ERROR, errors.INVALID_OUTPUT)
    assert [ErrorCode(code) for code in codes] == [
        ErrorCode.OUT_OF_MEMORY,
        ErrorCode.GENERATION_ERROR,
        ErrorCode.INVALID_OUTPUT,
    ]
