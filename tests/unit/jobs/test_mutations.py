"""The listed mutations are of the scripts as they are; `make test-mutations` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations.listed import MUTATIONS
from tests.mutations.mutation import Mutation

CHECKOUT = Path(__file__).parents[3]
SCRIPTS = CHECKOUT / "jobs" / "scripts" / "lua"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_mutation_changes_a_script(mutation: Mutation) -> None:
    text = (SCRIPTS / mutation.script).read_text("utf-8")
    assert mutation.apply(text) != text


def test_mutations_have_names_of_their_own() -> None:
    assert len({each.name for each in MUTATIONS}) == len(MUTATIONS) >= 30


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_tests_that_should_notice_a_mutation_are_there(mutation: Mutation) -> None:
    for each in mutation.tests:
        file, _, name = each.partition("::")
        assert f"def {name}(" in (CHECKOUT / file).read_text("utf-8")
