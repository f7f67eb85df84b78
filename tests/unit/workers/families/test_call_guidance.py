"""A job's guidance reaches a pipeline by whatever name that has for it, and is refused where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diffusers import FluxPipeline
from diffusers.guiders import AdaptiveProjectedMixGuidance

from jobs.errors import ErrorCode, InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Stage
from jobs.table.states import Status
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, Measured, make_engine, run, submit
from workers.attempt.errors import JobLeft
from workers.engine.errors import GenerationFailed
from workers.families.diffusers import WholePipeline
from workers.families.whole.call_guidance import CallGuidance
from workers.loading.checks.guidance import check_guidance

pytestmark = pytest.mark.filterwarnings(QUIET)

ENTRY = tiny.model("diffusers")
DEFAULT = ENTRY.defaults.guidance_scale


def schnell() -> FluxPipeline:
    """FLUX.1, without an input for guidance."""
    flux = tiny_pipelines.flux()
    transformer = type(flux.transformer).from_config(flux.transformer.config, guidance_embeds=False)
    return FluxPipeline(**flux.components | {"transformer": transformer.eval()})


class Recording:
    """Makes black pictures, and notes what it was called with."""

    transformer: Any = None
    guider: Any = None

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def set_progress_bar_config(self, **_options: Any) -> None:
        """Has no bar."""

    def made(self, prompt: list[str], **given: Any) -> Any:
        self.calls.append(given)
        return SimpleNamespace(images=np.zeros((len(prompt), tiny.SIDE, tiny.SIDE, 3)))


class LikeQwen(Recording):
    def __call__(
        self, prompt: list[str], negative_prompt: Any = None, true_cfg_scale: float = 4.0, guidance_scale: Any = None
    ) -> Any:
        return self.made(prompt, negative=negative_prompt, true=true_cfg_scale, embedded=guidance_scale)


class LikeQwen21(Recording):
    def __call__(self, prompt: list[str], negative_prompt: Any = None, true_cfg_scale: float = 1.0) -> Any:
        return self.made(prompt, negative=negative_prompt, true=true_cfg_scale)


class LikeDistilledQwen(LikeQwen):
    transformer = SimpleNamespace(config=SimpleNamespace(guidance_embeds=True))


class LikeIdeogram(Recording):
    def __call__(
        self,
        prompt: list[str],
        guidance_scale: Any = None,
        guidance_schedule: Any = (7.0, 3.0),
        prompt_upsampling: bool = True,
    ) -> Any:
        return self.made(prompt, scale=guidance_scale, schedule=guidance_schedule, upsampling=prompt_upsampling)


class LikeDistilledHunyuan(Recording):
    transformer = SimpleNamespace(config=SimpleNamespace(guidance_embeds=True))

    def __call__(self, prompt: list[str], negative_prompt: Any = None, distilled_guidance_scale: float = 3.25) -> Any:
        return self.made(prompt, distilled=distilled_guidance_scale)


class LikeHunyuan(Recording):
    def __init__(self) -> None:
        super().__init__()
        self.guider = AdaptiveProjectedMixGuidance(guidance_scale=3.5)

    def __call__(self, prompt: list[str], negative_prompt: Any = None, distilled_guidance_scale: float = 3.25) -> Any:
        return self.made(prompt, negative=negative_prompt, guider=self.guider.guidance_scale)


class LikeCascade(Recording):
    def __call__(self, prompt: list[str], negative_prompt: Any = None, prior_guidance_scale: float = 4.0) -> Any:
        return self.made(prompt, prior=prior_guidance_scale)


class LikeErnie(Recording):
    def __call__(self, prompt: list[str], use_pe: bool = True, enable_prompt_rewrite: bool = True) -> Any:
        return self.made(prompt, rewrites=(use_pe, enable_prompt_rewrite))


class GlmImagePipeline(Recording):
    def __call__(self, prompt: list[str], generator: Any = None) -> Any:
        generators = generator if isinstance(generator, list) else [generator]
        return self.made(prompt, seeds=[each.initial_seed() for each in generators])


class LikeAmused(Recording):
    def __call__(
        self, prompt: list[str], num_inference_steps: int, callback: Any = None, callback_steps: int = 3
    ) -> Any:
        for index in range(0, num_inference_steps, callback_steps):
            callback(index, 999, None)
            self.calls.append({"step": index})
        return self.made(prompt)


def a_job(**fields: Any) -> GenerateSpec:
    return tiny.spec(ENTRY, num_inference_steps=4, **fields)


def called(pipeline: Recording, **fields: Any) -> dict[str, Any]:
    """What the pipeline is called with for a job."""
    engine = make_engine(WholePipeline(ENTRY, pipeline), capacity=Measured())
    ticket = submit(engine, a_job(**fields))
    run(engine, ticket)
    ticket.result()
    return pipeline.calls[-1]


def refusal(pipeline: Any, **fields: Any) -> str:
    engine = make_engine(WholePipeline(ENTRY, pipeline), capacity=Measured())
    ticket = submit(engine, a_job(**fields))
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as refused:
        ticket.result()
    assert refused.value.code == ErrorCode.INVALID_REQUEST
    return str(refused.value)


@pytest.mark.parametrize(
    ("make", "kind", "takes_negative_prompt"),
    [
        (tiny.stable_diffusion, "true", True),
        (tiny.stable_diffusion_3, "true", True),
        (tiny_pipelines.pixart, "true", True),
        (tiny_pipelines.sana, "true", True),
        (tiny.distilled, "embedded", False),
        (tiny_pipelines.flux, "embedded", False),
        (schnell, "none", False),
        (LikeQwen, "true", True),
        (LikeQwen21, "true", True),
        (LikeDistilledQwen, "embedded", False),
        (LikeIdeogram, "true", False),
        (LikeDistilledHunyuan, "embedded", False),
        (LikeHunyuan, "true", True),
        (LikeCascade, "true", True),
        (LikeErnie, "none", False),
    ],
)
def test_what_guidance_is_shows_in_the_pipeline(make: Any, kind: str, takes_negative_prompt: bool) -> None:
    guidance = CallGuidance(ENTRY, make())
    assert (guidance.kind, guidance.takes_negative_prompt) == (kind, takes_negative_prompt)


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (LikeQwen, {"true": 7.0, "embedded": None, "negative": [" "]}),
        (LikeQwen21, {"true": 7.0, "negative": [" "]}),
        (LikeDistilledQwen, {"true": 4.0, "embedded": 7.0, "negative": None}),
        (LikeIdeogram, {"scale": 7.0, "schedule": None, "upsampling": False}),
        (LikeDistilledHunyuan, {"distilled": 7.0}),
        (LikeHunyuan, {"guider": 7.0, "negative": None}),
        (LikeCascade, {"prior": 7.0}),
    ],
)
def test_guidance_has_the_name_of_the_pipeline(make: Any, given: dict[str, Any]) -> None:
    assert called(make(), guidance_scale=7.0) == given


def test_true_guidance_that_needs_a_negative_prompt_has_one_where_it_is_on() -> None:
    assert called(LikeQwen(), negative_prompt="gray")["negative"] == ["gray"]
    assert called(LikeQwen(), guidance_scale=1.0)["negative"] is None


@pytest.mark.parametrize("make", [schnell, LikeErnie])
def test_guidance_is_refused_where_there_is_none(make: Any) -> None:
    sentence = "guidance_scale: diffusers has no guidance; leave it out"
    assert refusal(make(), guidance_scale=DEFAULT + 1) == sentence
    if make is LikeErnie:
        called(make(), guidance_scale=DEFAULT)  # As if it were left out.


@pytest.mark.parametrize("make", [tiny.stable_diffusion_3, tiny_pipelines.pixart, LikeQwen, LikeHunyuan])
def test_negative_prompt_is_refused_where_guidance_is_off(make: Any) -> None:
    sentence = "negative_prompt: has no effect with guidance_scale 1; leave it out"
    assert refusal(make(), negative_prompt="gray", guidance_scale=1.0) == sentence


@pytest.mark.parametrize("make", [tiny_pipelines.flux, schnell, LikeIdeogram, LikeDistilledHunyuan])
def test_negative_prompt_is_refused_where_none_is_heeded(make: Any) -> None:
    assert refusal(make(), negative_prompt="gray") == "negative_prompt: diffusers does not support it"


def test_pipeline_that_is_guided_below_one_says_so_itself() -> None:
    class LikeZImage(Recording):
        _guidance_scale = 0.0

        @property
        def do_classifier_free_guidance(self) -> bool:
            return self._guidance_scale > 0

        def __call__(self, prompt: list[str], guidance_scale: float = 5.0, negative_prompt: Any = None) -> Any:
            return self.made(prompt, negative=negative_prompt)

    assert called(LikeZImage(), negative_prompt="gray", guidance_scale=0.5)["negative"] == ["gray"]
    assert "no effect" in refusal(LikeZImage(), negative_prompt="gray", guidance_scale=0.0)


@pytest.mark.parametrize(
    ("make", "said", "advice"),
    [
        (schnell, {"guidance": "embedded"}, 'set guidance = "none"'),
        (tiny_pipelines.flux, {"guidance": "true"}, 'set guidance = "embedded"'),
        (LikeQwen, {"guidance": "embedded"}, 'set guidance = "true"'),
        (LikeIdeogram, {"negative_prompt": True}, "set negative_prompt = false"),
    ],
)
def test_entry_that_says_otherwise_is_refused_at_the_start(make: Any, said: dict[str, Any], advice: str) -> None:
    with pytest.raises(InvalidConfiguration, match=advice):
        check_guidance(WholePipeline(tiny.model("diffusers", **said), make()))
    check_guidance(WholePipeline(tiny.model("diffusers"), make()))


# How much of a text is read.


def test_length_of_texts_is_that_of_the_entry() -> None:
    class LikeFlux(Recording):
        def __call__(self, prompt: list[str], max_sequence_length: int = 512) -> Any:
            return self.made(prompt, length=max_sequence_length)

    pipeline, other = LikeFlux(), LikeFlux()
    for each, said in ((pipeline, {"max_sequence_length": 100}), (other, {})):
        engine = make_engine(WholePipeline(tiny.model("diffusers", **said), each), capacity=Measured())
        run(engine, submit(engine, a_job()))
    assert [call["length"] for call in (pipeline.calls[-1], other.calls[-1])] == [100, 512]
    with pytest.raises(InvalidConfiguration, match="LikeQwen21 takes no max_sequence_length: leave it out"):
        WholePipeline(tiny.model("diffusers", max_sequence_length=100), LikeQwen21())


# What makes the same picture again.


def test_prompt_is_not_written_anew() -> None:
    assert called(LikeErnie()) == {"rewrites": (False, False)}


def test_pictures_that_would_share_a_seed_are_made_one_by_one() -> None:
    pipeline = GlmImagePipeline()
    engine = make_engine(WholePipeline(ENTRY, pipeline), capacity=Measured())
    tickets = [submit(engine, a_job(seed=7, n=2)), submit(engine, a_job(seed=20))]
    run(engine, *tickets)
    assert sorted(call["seeds"] for call in pipeline.calls) == [[7], [8], [20]]
    assert [len(ticket.result()) for ticket in tickets] == [2, 1]


# The older callback.


def test_steps_are_told_by_an_older_callback() -> None:
    told: list[int] = []
    engine = make_engine(WholePipeline(ENTRY, LikeAmused()), capacity=Measured())
    ticket = submit(engine, a_job(), lambda stage, step, _steps: told.append(step) if stage == Stage.GENERATE else None)
    run(engine, ticket)
    ticket.result()
    assert told == [0, 1, 2, 3, 4, 4]


def test_call_with_an_older_callback_is_interrupted_when_nobody_waits_for_it() -> None:
    pipeline = LikeAmused()
    engine = make_engine(WholePipeline(ENTRY, pipeline), capacity=Measured())
    ticket: Any = None

    def cancel(_stage: str, step: int, _steps: int) -> None:
        if step == 2:
            ticket.leave(JobLeft(Status.CANCELED))

    ticket = submit(engine, a_job(), cancel)
    run(engine, ticket)
    with pytest.raises(JobLeft):
        ticket.result()
    assert len(pipeline.calls) == 1
