"""What the demo makes of its picture."""

from __future__ import annotations

import pytest

from ops.demo import in_another_colour


@pytest.mark.parametrize(
    ("prompt", "edit"),
    [
        ("a large red circle on a blue background", "a large yellow circle on a blue background"),
        ("a yellow star left of a cyan ring", "a green star left of a cyan ring"),
        ("a green star on a yellow background", "a magenta star on a yellow background"),
        ("a house by the sea", None),
        ("", None),
    ],
)
def test_the_first_colour_becomes_one_that_is_not_there(prompt: str, edit: str | None) -> None:
    assert in_another_colour(prompt) == edit
