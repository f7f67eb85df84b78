"""
No parameter is without effect, whatever the family: a field that is taken changes the picture, and one that would not
is refused by its name, at submission or by the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from diffusers import FluxPipeline

from jobs.catalogue.entry import Model
from jobs.catalogue.families import FAMILIES
from jobs.envelope import Envelope
from jobs.errors import ErrorCode, InvalidRequest, NoEffect
from jobs.fields import parse
from jobs.kinds.generate import GENERATE, GenerateRequest, GenerateSpec
from tests import tiny_pipelines
from tests.further import transformers
from tests.further.listed import OLD
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, Measured, make_engine, run, submit
from tests.unit.workers.flow import ALL, entry_of, max_tokens, side_of
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.scheduler_names import OWN
from workers.families.registry import families, family_of
from workers.runners.postprocess import Pixels

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

PROMPT = "a red circle"

_STEPS = 2

# Of `OTHERS`, what models refuse: all of them; without a negative prompt; without guidance; in the family `diffusers`.
_UNGUIDED = frozenset({"negative_prompt, guidance off"})
_NOT_NEGATED = _UNGUIDED | {"negative_prompt"}
_NOT_GUIDED = _NOT_NEGATED | {"guidance_scale"}
_ANY = frozenset({"scheduler", "shift"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    A model of a family.

    Attributes:
        side: Of its pictures, pixels; twice as much is another one of them.
        scheduler: One that it takes beside its own; None where there is none.
        said: Of its entry.
        refused: Of `OTHERS`, what it does not take.
    """

    family: str
    make: Callable[[], Any]
    side: int = tiny.SIDE
    scheduler: str | None = "euler"
    said: dict[str, Any] = field(default_factory=dict)
    refused: frozenset[str] = _UNGUIDED | {"shift"}

    @property
    def entry(self) -> Model:
        size = {"width": self.side, "height": self.side}
        usual = {**size, "num_inference_steps": _STEPS}
        return tiny.model(
            self.family,
            defaults=tiny.model("diffusers").defaults.model_copy(update=usual),
            schedulers=(OWN, *((self.scheduler,) if self.scheduler else ())),
            **self.said,
        )


def schnell() -> FluxPipeline:
    """FLUX.1, without an input for guidance."""
    flux = tiny_pipelines.flux()
    transformer = type(flux.transformer).from_config(flux.transformer.config, guidance_embeds=False)
    return FluxPipeline(**flux.components | {"transformer": transformer.eval()})


def flow(name: str, refused: frozenset[str], scheduler: str | None = "heun") -> Case:
    """One of the tiny flow-matching models."""
    entry = entry_of(name)
    said = {"limits": entry.limits, "guidance": entry.guidance, "max_sequence_length": max_tokens(name)}
    make = ALL[name][1]
    return Case(family=entry.family, make=make, side=side_of(name), scheduler=scheduler, said=said, refused=refused)


def pixart(make: Callable[[], Any], family: str) -> Case:
    """Sides are multiples of 16."""
    limits = tiny.model("diffusers").limits.model_copy(update={"min_side": 16})
    return Case(family=family, make=make, side=32, said={"limits": limits, "max_sequence_length": 100})


# A further family, or a model that takes something else, joins by a line.
CASES = {
    "sd": Case(family="stable-diffusion", make=tiny.stable_diffusion),
    "sd, distilled": Case(
        family="stable-diffusion", make=tiny.distilled, said={"guidance": "embedded"}, refused=_NOT_NEGATED | {"shift"}
    ),
    "sdxl": Case(family="stable-diffusion-xl", make=tiny.stable_diffusion_xl, scheduler="ddim"),
    "sd3": flow("stable-diffusion-3", _UNGUIDED),
    "flux": flow("flux-dev", _NOT_NEGATED),
    "schnell": flow("flux-schnell", _NOT_GUIDED),
    "kontext": flow("flux-kontext", _NOT_NEGATED),
    "flux 2": flow("flux2-dev", _NOT_NEGATED),
    "klein": flow("flux2-klein", _NOT_NEGATED),
    "klein, distilled": flow("flux2-klein-distilled", _NOT_GUIDED),
    "qwen": flow("qwen-image", _UNGUIDED),
    "z-image": flow("z-image", _UNGUIDED),
    "chroma": flow("chroma", _UNGUIDED),
    "aura-flow": flow("aura-flow", _UNGUIDED),
    "lumina 2": flow("lumina2", _UNGUIDED),
    "hunyuan": flow("hunyuan-image", _UNGUIDED),
    "hunyuan, distilled": flow("hunyuan-image-distilled", _NOT_NEGATED),
    "krea 2": flow("krea2", _UNGUIDED),
    "sana": flow("sana", _UNGUIDED),
    "sprint": flow("sana-sprint", _NOT_NEGATED | _ANY, scheduler=None),
    "pixart": pixart(tiny_pipelines.pixart, "pixart-sigma"),
    "pixart, the first": pixart(transformers.pixart_alpha_told_of_sizes, "pixart-alpha"),
    "any: sd3": Case(family="diffusers", make=tiny.stable_diffusion_3, scheduler=None, refused=_ANY | _UNGUIDED),
    "any: pixart": Case(family="diffusers", make=tiny_pipelines.pixart, side=64),
    "any: sana": Case(family="diffusers", make=tiny_pipelines.sana, side=64, scheduler=None, refused=_ANY | _UNGUIDED),
    "any: flux": Case(
        family="diffusers", make=tiny_pipelines.flux, side=64, scheduler=None, refused=_ANY | _NOT_NEGATED
    ),
    "any: schnell": Case(family="diffusers", make=schnell, side=64, scheduler=None, refused=_ANY | _NOT_GUIDED),
    "any: schnell, as its entry says": Case(
        family="diffusers",
        make=schnell,
        side=64,
        scheduler=None,
        said={"guidance": "none"},
        refused=_ANY | _NOT_GUIDED,
    ),
}

# What a simulated device makes is of its seed alone; others make no picture of a text alone.
_NO_GENERATION = {"simulated", *(name for name, traits in FAMILIES.items() if traits.only_edits)}

# Another value of each field than the plain job has. A negative prompt without guidance comes beside it.
OTHERS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "prompt": lambda _case: {"prompt": "a blue star on a white background"},
    "negative_prompt": lambda _case: {"negative_prompt": "gray"},
    "negative_prompt, guidance off": lambda case: {
        "negative_prompt": "gray",
        "guidance_scale": case.entry.traits.guided_above,
    },
    "guidance_scale": lambda _case: {"guidance_scale": 9.0},
    "num_inference_steps": lambda _case: {"num_inference_steps": _STEPS + 1},
    "scheduler": lambda case: {"scheduler": case.scheduler or "heun"},
    "shift": lambda _case: {"shift": 5.0},
    "seed": lambda _case: {"seed": 1},
    "width": lambda case: {"width": 2 * case.side},
    "height": lambda case: {"height": 2 * case.side},
}
_OF_NO_PICTURE = {"model", "n", "output", "reproducible"}


@cache
def engine_of(name: str) -> Engine:
    case = CASES[name]
    return make_engine(
        family_of(case.entry).adapt(case.entry, case.make(), EmbeddingCache(1 << 20)), capacity=Measured()
    )


def made(name: str, spec: GenerateSpec) -> Pixels:
    """Raises `GenerationFailed` as the job does."""
    engine = engine_of(name)
    ticket = submit(engine, spec)
    run(engine, ticket)
    (picture,) = ticket.result()
    return picture


def settled(case: Case, **fields: Any) -> GenerateSpec:
    asked = {"prompt": PROMPT, "seed": 0, **fields}
    return GENERATE.settle(parse(GenerateRequest, asked), case.entry)


@cache
def plain(name: str) -> Pixels:
    return made(name, settled(CASES[name]))


# Enough for a change: one of each sort.
_QUICK = {"sd", "sd, distilled", "flux", "schnell", "z-image", "any: flux", "any: schnell, as its entry says"}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in _QUICK else [pytest.mark.long]) for n in CASES])
def test_field_changes_the_picture_or_is_refused(name: str, other: str) -> None:
    case, changed = CASES[name], OTHERS[other](CASES[name])
    if other in case.refused:
        assert_refused(name, changed)
        return
    spec = settled(case, **changed)
    picture = made(name, spec)
    assert picture.shape == (spec.height, spec.width, 3)
    assert not np.array_equal(picture, plain(name))


def assert_refused(name: str, changed: dict[str, Any]) -> None:
    """By a field's name, at submission or by the worker; and what is refused for it would really have no effect."""
    case = CASES[name]
    try:
        made(name, settled(case, **changed))
    except NoEffect as exc:
        assert exc.field in changed
        assert_heeds_nothing(name, changed, exc.field)
    except InvalidRequest as exc:
        assert (exc.field, case.scheduler) == ("scheduler", None)
    except GenerationFailed as exc:
        assert (exc.code, case.family) == (ErrorCode.INVALID_REQUEST, "diffusers")
        assert str(exc).startswith(tuple(f"{each}: " for each in changed))
    else:
        pytest.fail(f"{changed} is taken")


def assert_heeds_nothing(name: str, changed: dict[str, Any], field: str) -> None:
    """A job that has not been through submission makes the same picture as without the field; or the worker knows."""
    asked = {"prompt": PROMPT, **changed}
    without = {each: value for each, value in asked.items() if each != field}
    pictures = []
    for fields in (asked, without):
        try:
            pictures.append(made(name, tiny.spec(CASES[name].entry, **fields)))
        except GenerationFailed as exc:
            assert exc.code == ErrorCode.INVALID_REQUEST
            return
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_every_family_is_tried() -> None:
    assert {case.family for case in CASES.values()} == set(families()) - _NO_GENERATION


def test_every_field_is_tried() -> None:
    fields = set(GenerateSpec.model_fields) - set(Envelope.model_fields) - _OF_NO_PICTURE
    assert {name.partition(",")[0] for name in OTHERS} == fields
