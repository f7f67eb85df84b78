"""Limits that a model cannot keep are refused, with those that it can."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.families.diffusers import WholePipeline
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.stable_diffusion import StableDiffusion
from workers.loading.checks.sides import check_side_multiple

pytestmark = pytest.mark.filterwarnings(QUIET)


def an_entry(family: str, multiple: int, side: int = 64, **limits: int) -> Model:
    entry = tiny.model(family)
    defaults = entry.defaults.model_copy(update={"width": side, "height": side})
    return tiny.model(
        family,
        defaults=defaults,
        limits=entry.limits.model_copy(update={"min_side": 16, "side_multiple": multiple, **limits}),
    )


def check(adapter: Any) -> None:
    check_side_multiple(adapter, Catalogue([adapter.entry], Path()))


class OneSize:
    """Makes pictures of 64×64, whatever is asked."""

    def set_progress_bar_config(self, **_options: Any) -> None:
        """Has no bar."""

    def __call__(self, prompt: list[str], width: int, height: int) -> Any:
        return SimpleNamespace(images=np.zeros((len(prompt), 64, 64, 3)))


class EditsRounded:
    """Makes nothing without a picture, and cuts its sides to multiples of 16."""

    def set_progress_bar_config(self, **_options: Any) -> None:
        """Has no bar."""

    def __call__(self, prompt: str, image: Any) -> Any:
        width, height = (side // 16 * 16 for side in image.size)
        return SimpleNamespace(images=np.zeros((1, height, width, 3)))


def test_sides_of_a_model_that_only_edits_are_tried_with_an_edit() -> None:
    with pytest.raises(InvalidConfiguration, match=r"limits.side_multiple is 8, .* needs multiples of 16 "):
        check(WholePipeline(an_entry("diffusers", 8), EditsRounded()))
    check(WholePipeline(an_entry("diffusers", 16), EditsRounded()))


def test_side_that_is_rounded_is_refused() -> None:
    with pytest.raises(InvalidConfiguration) as raised:
        check(WholePipeline(an_entry("diffusers", 8), tiny_pipelines.flux()))
    assert str(raised.value) == (
        "model diffusers: limits.side_multiple is 8, and the model needs multiples of 16 (width and height: 56×56 "
        "pixels were requested, but the model made 48×48): set limits.side_multiple = 16 of [models.diffusers] in "
        "models.toml"
    )


def test_side_that_a_pipeline_refuses_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match=r"set limits.side_multiple = 4 of") as raised:
        check(WholePipeline(an_entry("diffusers", 2, side=16, min_side=4), tiny.stable_diffusion_3()))
    assert "14×14 pixels: `height` and `width` have to be divisible by 4" in str(raised.value)


def test_side_that_holds_a_part_of_a_latent_is_refused() -> None:
    pipeline = tiny.stable_diffusion()
    with pytest.raises(InvalidConfiguration, match=r"set limits.side_multiple = 6 of"):
        check(StableDiffusion(an_entry("diffusers", 3, side=63), pipeline, EmbeddingCache(1)))
    check(StableDiffusion(an_entry("diffusers", 2), pipeline, EmbeddingCache(1)))


@pytest.mark.parametrize(("make", "multiple"), [(tiny_pipelines.flux, 16), (tiny_pipelines.pixart, 8)])
def test_side_that_is_made_is_taken(make: Any, multiple: int) -> None:
    check(WholePipeline(an_entry("diffusers", multiple), make()))


def test_model_of_a_few_sizes_is_taken_for_no_multiple_describes_it() -> None:
    check(WholePipeline(an_entry("diffusers", 8, max_side=128), OneSize()))


def test_model_that_does_not_make_its_default_size_is_refused() -> None:
    with pytest.raises(InvalidConfiguration) as raised:
        check(WholePipeline(an_entry("diffusers", 8, side=72, min_side=72, max_side=128), OneSize()))
    assert str(raised.value) == (
        "model diffusers: it does not make its default size (width and height: 72×72 pixels were requested, but the "
        "model made 64×64): correct defaults or source of [models.diffusers] in models.toml, or install what the model "
        "needs"
    )


class Full(OneSize):
    """On a device that others fill."""

    def __call__(self, prompt: list[str], width: int, height: int) -> Any:
        raise torch.OutOfMemoryError(f"{len(prompt)} of {width}×{height}")


def test_memory_that_is_short_now_says_nothing_of_a_model() -> None:
    check(WholePipeline(an_entry("diffusers", 8), Full()))


def test_limits_that_allow_the_default_alone_are_taken() -> None:
    check(WholePipeline(an_entry("diffusers", 8, min_side=64, max_side=64), tiny_pipelines.flux()))
