"""How findings are shown, and that a check which breaks hides no other."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from jobs.errors import RedisUnavailable
from ops.doctor.diagnosis import has_failed
from ops.doctor.finding import Finding, State, attempt
from ops.doctor.report import show
from storage.errors import StorageUnavailable

WELL = Finding(check="Redis", state=State.OK, found="it answers")
ILL = Finding(check="S3", state=State.FAILURE, found="it says [bold]no[/bold]", advice="Ask again.")


def test_each_finding_is_shown_as_it_is_with_its_advice_and_all_are_counted() -> None:
    text = io.StringIO()
    show([[WELL], [ILL, ILL]], Console(file=text, width=100))
    shown = text.getvalue()
    assert "✓ ok" in shown
    assert shown.count("it says [bold]no[/bold]") == shown.count("→ Ask again.") == 2
    assert shown.rstrip().endswith("2 failures, 1 ok")


@pytest.mark.parametrize("state", list(State))
def test_only_a_failure_fails(state: State) -> None:
    assert has_failed([[WELL], [Finding(check="x", state=state, found="")]]) is (state is State.FAILURE)


@pytest.mark.parametrize("error", [RedisUnavailable("it is away"), StorageUnavailable("it is away"), KeyError("away")])
def test_check_that_breaks_is_a_failure_of_that_check(error: Exception) -> None:
    def broken() -> Finding:
        raise error

    finding = attempt("Redis", broken)
    assert (finding.check, finding.state) == ("Redis", State.FAILURE)
    assert "away" in finding.found
    assert bool(finding.advice) is isinstance(error, KeyError)
