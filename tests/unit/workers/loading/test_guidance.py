"""What an entry says of its model's guidance is held against the model that was loaded."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.errors import InvalidConfiguration
from tests.unit.workers import tiny
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.stable_diffusion import StableDiffusion
from workers.loading.checks.guidance import check_guidance


def check(pipeline: Any, guidance_scale: float = 3.0, **said: Any) -> None:
    defaults = tiny.model("stable-diffusion").defaults.model_copy(update={"guidance_scale": guidance_scale})
    entry = tiny.model("stable-diffusion", defaults=defaults, **said)
    check_guidance(StableDiffusion(entry, pipeline, EmbeddingCache(1)))


def test_what_is_so_may_be_said_or_left_out() -> None:
    check(tiny.stable_diffusion())
    check(tiny.stable_diffusion(), guidance="true", negative_prompt=True)
    check(tiny.stable_diffusion(), negative_prompt=False)  # The operator wants none.
    check(tiny.distilled(), guidance="embedded")


@pytest.mark.parametrize("said", [{}, {"guidance": "true"}])
def test_model_that_is_distilled_with_guidance_has_to_say_so(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        check(tiny.distilled(), **said)
    assert str(refused.value) == (
        'model stable-diffusion: set guidance = "embedded" of [models.stable-diffusion] in models.toml: '
        "that is what guidance_scale is of its pipeline"
    )


def test_model_that_is_not_distilled_may_not_say_it_is() -> None:
    with pytest.raises(InvalidConfiguration, match=r'set guidance = "true" of'):
        check(tiny.stable_diffusion(), guidance="embedded")


def test_guidance_may_be_kept_from_callers_where_it_is_off_or_always_the_same() -> None:
    check(tiny.stable_diffusion(), guidance="none", guidance_scale=0.0)
    check(tiny.distilled(), guidance="none")
    with pytest.raises(InvalidConfiguration, match=r'set guidance = "true" of'):
        check(tiny.stable_diffusion(), guidance="none")
