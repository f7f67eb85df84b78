"""Published models: as large as they are, and small ones of the same parts."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest
import torch

from workers.bench.published.model import PublishedModel, build, entry_of, spec_of
from workers.bench.published.models import PUBLISHED
from workers.bench.published.small import small

# As docs/models.md has them, by other names where a dot is not for a table of toml.
DOCUMENTED = tomllib.loads((Path(__file__).parents[4] / "ops" / "models" / "published.toml").read_text("utf-8"))
NAMES = {"sd-1.5": "sd15", "flux.1-dev": "flux-dev"}

every = pytest.mark.parametrize("published", PUBLISHED, ids=[each.name for each in PUBLISHED])


@every
def test_published_models_have_their_real_sizes(published: PublishedModel) -> None:
    with torch.device("meta"):
        sizes = {name: sum(each.numel() for each in part.make().parameters()) for name, part in published.parts.items()}
    documented = DOCUMENTED["published"][NAMES.get(published.name, published.name)]["parameters"]
    assert {name: round(size / 1e9, 3) for name, size in sizes.items()} == documented


@every
def test_usual_job_is_that_of_the_entry_to_copy(published: PublishedModel) -> None:
    copied = DOCUMENTED["models"][NAMES.get(published.name, published.name)]
    assert published.family == copied["family"]
    assert published.steps == copied["defaults"]["num_inference_steps"]
    assert published.sides[0] == copied["defaults"]["width"]
    entry = entry_of(published, "bfloat16")
    documented = entry.model_copy(update={"guidance": copied.get("guidance", entry.guidance)})
    scale = copied["defaults"]["guidance_scale"]
    assert documented.is_guided(scale) == entry.is_guided(published.guidance_scale)


@every
def test_small_model_has_the_same_parts_in_the_dtype_that_is_measured(published: PublishedModel) -> None:
    pipeline = build(small(published), torch.device("cpu"), "bfloat16")
    assert type(pipeline) is published.pipeline[0]
    dtypes = Counter(each.dtype for name in published.parts for each in getattr(pipeline, name).parameters())
    assert dtypes.keys() == {torch.bfloat16}
    assert dtypes.total() > 0
    assert torch.get_default_dtype() is torch.float32


def test_jobs_have_prompts_of_their_own() -> None:
    entry = entry_of(small(PUBLISHED[0]), "float32")
    first, second = (spec_of(entry, seed, 32, num_inference_steps=2) for seed in (1, 2))
    assert first.prompt != second.prompt
    assert (first.width, first.height, first.num_inference_steps) == (32, 32, 2)
