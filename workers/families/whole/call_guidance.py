"""What a pipeline of diffusers calls guidance: most `guidance_scale`, and some otherwise, or not at all."""

from __future__ import annotations

import inspect
import math
from typing import Any

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from workers.engine.errors import GenerationFailed

_OWN, _OF_PRIOR = "guidance_scale", "prior_guidance_scale"  # The second is Stable Cascade's.
_TRUE_CFG, _DISTILLED, _SCHEDULE = "true_cfg_scale", "distilled_guidance_scale", "guidance_schedule"
_GUIDERS = ("guider", "ocr_guider")  # components that guide in place of the pipeline: HunyuanImage
_ON = 7.0  # a scale that turns on what can be turned on


class CallGuidance:
    """
    Of one pipeline behind its own call.

    Attributes:
        kind: What a job's `guidance_scale` is of it; None where that does not show.
        takes_negative_prompt: Whether a negative prompt has an effect, with true guidance.
        empty_negative: The negative prompt of a job that has none and is guided; None leaves it out.
    """

    def __init__(self, entry: Model, pipeline: Any) -> None:
        self._entry, self._pipeline = entry, pipeline
        self._takes = inspect.signature(pipeline.__call__).parameters
        self._is_by_true_cfg = self._has_true_cfg()
        self.kind = self._kind()
        self.takes_negative_prompt = "negative_prompt" in self._takes and self.kind not in ("embedded", "none")
        self.empty_negative = " " if self._is_by_true_cfg else None

    def is_on(self, scale: float) -> bool:
        """Whether images are computed without their prompts, too, at this `guidance_scale`."""
        if self.kind in ("embedded", "none"):
            return False
        if self._guiders:
            return not math.isclose(scale, 1.0)
        return bool(self._own_word(scale)) if self._own_word(_ON) else scale > 1

    def check(self, spec: GenerateSpec) -> None:
        """Raise `GenerationFailed`, `invalid_request`, for a field of guidance that would have no effect."""
        name = self._entry.name
        if self.kind == "none" and spec.guidance_scale != self._entry.defaults.guidance_scale:
            raise _refused(f"guidance_scale: {name} has no guidance; leave it out")
        if not spec.negative_prompt:
            return
        if not self.takes_negative_prompt:
            raise _refused(f"negative_prompt: {name} does not support it")
        if not self.is_on(spec.guidance_scale):
            raise _refused(f"negative_prompt: has no effect with guidance_scale {spec.guidance_scale:g}; leave it out")

    def arguments(self, scale: float) -> dict[str, Any]:
        """What its call is given for a job's `guidance_scale`; guiders have it from then on."""
        for name in self._guiders:
            setattr(self._pipeline, name, getattr(self._pipeline, name).new(guidance_scale=scale))
        if self._is_by_true_cfg:
            return {_TRUE_CFG: scale}
        if _DISTILLED in self._takes:
            return {_DISTILLED: scale}
        if _SCHEDULE in self._takes:  # Ideogram: one of the two, and the other's default is a schedule.
            return {_OWN: scale, _SCHEDULE: None}
        return {_OWN if _OWN in self._takes else _OF_PRIOR: scale}

    def _has_true_cfg(self) -> bool:
        """Whether it guides by that parameter: QwenImage. FLUX.1's pipelines have it at 1, beside an embedded one."""
        if _TRUE_CFG not in self._takes or self._embeds:
            return False
        return _OWN not in self._takes or self._takes[_TRUE_CFG].default > 1

    def _kind(self) -> Guidance | None:
        if self._embeds:
            return "embedded"
        if self._is_by_true_cfg or self._guiders:
            return "true"
        if self._takes.keys().isdisjoint((_OWN, _OF_PRIOR)) or (_TRUE_CFG in self._takes and self._embeds is False):
            return "none"  # The second is FLUX.1 schnell.
        if _config_of(self._pipeline, "unet", "time_cond_proj_dim") is not None:
            return "embedded"
        if _SCHEDULE in self._takes or "negative_prompt" in self._takes:
            return "true"
        return {True: "true", False: "none", None: None}[self._own_word(_ON)]  # False: FLUX.2 klein, distilled.

    def _own_word(self, scale: float) -> bool | None:
        """Whether the pipeline says that it guides at a scale; None where it does not say."""
        if self._is_by_true_cfg or not hasattr(type(self._pipeline), "do_classifier_free_guidance"):
            return None
        self._pipeline._guidance_scale = scale  # Which its next call sets, too.
        said = getattr(self._pipeline, "do_classifier_free_guidance", None)  # None: it goes by more than that.
        return None if said is None else bool(said)

    @property
    def _embeds(self) -> bool | None:
        """Whether its transformer takes guidance as an input; None where it does not say."""
        found = _config_of(self._pipeline, "transformer", "guidance_embeds")
        return None if found is None else bool(found)

    @property
    def _guiders(self) -> list[str]:
        if _DISTILLED not in self._takes or self._embeds:
            return []
        return [name for name in _GUIDERS if getattr(self._pipeline, name, None) is not None]


def _config_of(pipeline: Any, component: str, name: str) -> Any:
    return getattr(getattr(getattr(pipeline, component, None), "config", None), name, None)


def _refused(sentence: str) -> GenerationFailed:
    return GenerationFailed(ErrorCode.INVALID_REQUEST, sentence)
