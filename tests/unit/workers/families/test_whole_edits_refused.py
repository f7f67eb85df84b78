"""What a pipeline without a family of its own does not edit is refused, by the name of the field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.errors import ErrorCode
from tests.unit.workers.adapters import QUIET, run, submit
from tests.unit.workers.families.test_whole_edits import ENTRY, an_edit, engine_of, picture, pipeline
from workers.engine.errors import GenerationFailed
from workers.families.diffusers import WholePipeline
from workers.runners.edit_work import Work

pytestmark = pytest.mark.filterwarnings(QUIET)


class Instructed:
    """A pipeline that edits by instruction, and takes no negative prompt."""

    def set_progress_bar_config(self, **_options: Any) -> None:
        """Has no bar."""

    def __call__(self, prompt: str, image: Any) -> None:
        """Draws nothing."""


class Controlled(Instructed):
    """Calls depth an image."""

    def __call__(self, prompt: str, image: Any, controlnet_conditioning_scale: float = 1.0) -> None:
        """Draws nothing."""


def refusal(made: Any, work: Work, code: ErrorCode = ErrorCode.INVALID_REQUEST) -> str:
    engine = engine_of(WholePipeline(ENTRY, made))
    ticket = submit(engine, work)
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    assert raised.value.code == code
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "work", "sentence"),
    [
        ("pixart", an_edit(1), "image: diffusers edits no pictures"),
        ("pixart", an_edit(1, is_masked=True), "mask: diffusers does not repaint a masked part of a picture"),
        ("kandinsky-3", an_edit(1, is_masked=True), "mask: diffusers does not repaint a masked part of a picture"),
        ("pix2pix", an_edit(1, strength=0.8), "strength: diffusers edits by instruction, without a strength; use 1"),
        ("pix2pix", an_edit(1).spec, "image: diffusers only edits pictures"),
        ("sd3", an_edit(1, strength=0.1), "strength: 0.1 of 5 steps is none"),
    ],
)
def test_what_no_pipeline_does_is_refused(name: str, work: Work, sentence: str) -> None:
    assert refusal(pipeline(name), work) == sentence


def test_what_a_pipeline_does_not_take_is_refused() -> None:
    edit = an_edit(1, negative_prompt="gray")
    assert refusal(Instructed(), edit) == "negative_prompt: diffusers does not support it"
    assert refusal(Controlled(), an_edit(1)) == "image: diffusers edits no pictures"


ONE_AT_A_TIME = "references: the model diffusers edits one picture at a time; {} were sent"


@pytest.mark.parametrize(
    ("name", "is_masked", "further", "sentence"),
    [
        ("pix2pix", False, 1, ONE_AT_A_TIME.format(2)),
        ("sd3", False, 2, ONE_AT_A_TIME.format(3)),
        ("kontext", False, 1, ONE_AT_A_TIME.format(2)),
        ("klein", True, 1, ONE_AT_A_TIME.format(2)),
        ("klein", False, 16, "references: the model diffusers takes at most 16 pictures for an edit; 17 were sent"),
    ],
)
def test_further_pictures_that_would_be_ignored_are_refused(
    name: str, is_masked: bool, further: int, sentence: str
) -> None:
    edit = replace(an_edit(1, is_masked=is_masked), references=[picture(2)] * further)
    assert refusal(pipeline(name), edit) == sentence


def test_further_picture_of_a_size_that_the_pipeline_does_not_take_is_an_invalid_input() -> None:
    edit = replace(an_edit(1), references=[picture(2), picture(3, (32, 64))])
    says = "references: Image too small: 32×64. Both dimensions must be at least 64px"
    assert refusal(pipeline("klein"), edit, ErrorCode.INVALID_INPUT) == says
