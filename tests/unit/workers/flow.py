"""Flow-matching families on tiny models, and what diffusers' own pipelines make of the same jobs."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    HunyuanImagePipeline,
    SanaSprintPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image

from jobs.catalogue.entry import Defaults, Model
from jobs.catalogue.families import FAMILIES
from jobs.kinds.generate import GenerateSpec
from tests.further import flow as further
from tests.further import language, transformers
from workers.bench import tiny_families
from workers.bench.tiny_pipelines import EDITING_PIPELINES, FLOW_PIPELINES
from workers.families.flow.family import FlowFamily
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.scheduler_names import FLOW_SCHEDULERS, OWN
from workers.families.registry import family_of
from workers.runners.edit_work import Edit

NAMES = (OWN, *FLOW_SCHEDULERS)

# By names, what their family is called, and what makes them: those of the benchmark, and further ones.
PIPELINES: dict[str, tuple[str, Callable[[], Any]]] = FLOW_PIPELINES | {
    "chroma": ("chroma", further.chroma),
    "aura-flow": ("aura-flow", further.aura_flow),
    "lumina2": ("lumina2", further.lumina_2),
    "hunyuan-image": ("hunyuan-image", language.hunyuan_image),
    "hunyuan-image-distilled": ("hunyuan-image", language.hunyuan_image_distilled),
    "krea2": ("krea2", language.krea_2),
    "sana": ("sana", transformers.sana_as_published),
    "sana-sprint": ("sana-sprint", transformers.sana_sprint),
}

# With those that were made for edits.
ALL = PIPELINES | EDITING_PIPELINES
# Left out of a change's tests: of the further ones, one is enough.
LONG = ("chroma", "aura-flow", "lumina2", "hunyuan-image-distilled", "krea2", "sana", "sana-sprint")

_SANA = ("sana", "sana-sprint")  # A latent is 32 pixels wide.

_CACHE_BYTES = 1 << 20


def max_tokens(name: str) -> int:
    """Of a text: most models have all filled up to as many. Some begin with a long text of their own."""
    return 384 if name.startswith(("flux2-dev", "qwen-image", "lumina2", "hunyuan-image", "krea2")) else 128


def names_of(name: str) -> tuple[str, ...]:
    """Schedulers that a model runs with."""
    return (OWN,) if name == "sana-sprint" else NAMES


def side_of(name: str) -> int:
    """Of its smallest pictures that have several tokens, pixels."""
    return 64 if name in (*_SANA, "flux-kontext") else 32


def letters_of(name: str, word: str, index: int) -> str:
    """What comes behind some prompts of a model that has a text encoder for letters."""
    return f" that says '{word}'" if ALL[name][0] == "hunyuan-image" and index % 2 else ""


def entry_of(name: str, **changes: Any) -> Model:
    """A catalogue entry for one of `ALL`, with every scheduler, and texts that take little time."""
    side = side_of(name)
    fields: dict[str, Any] = {
        "family": ALL[name][0],
        "schedulers": names_of(name),
        "defaults": Defaults(width=side, height=side, num_inference_steps=4, guidance_scale=3.0, scheduler=OWN),
    }
    if FAMILIES[ALL[name][0]].max_sequence_length:
        fields["max_sequence_length"] = max_tokens(name)
    if name == "hunyuan-image-distilled":
        fields["guidance"] = "embedded"
    return tiny_families.entry_of(name, **fields | changes)


@cache
def pipeline_of(name: str) -> Any:
    """One of `ALL`, made once."""
    pipeline = ALL[name][1]()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def adapter_of(name: str, **changes: Any) -> FlowFamily:
    """A fresh adapter of it, its cache empty."""
    entry = entry_of(name, **changes)
    adapter = family_of(entry).adapt(entry, pipeline_of(name), EmbeddingCache(_CACHE_BYTES))
    assert isinstance(adapter, FlowFamily)
    return adapter


def in_half_precision(name: str) -> FlowFamily:
    """As `adapter_of`, its weights rounded."""
    entry = entry_of(name, dtype="bfloat16")
    pipeline = copy.deepcopy(pipeline_of(name)).to(torch.bfloat16)
    in_single = {*(pipeline.transformer._keep_in_fp32_modules or ())}
    for part_name, part in pipeline.transformer.named_modules():
        if in_single & {*part_name.split(".")}:  # As they are loaded.
            part.to(torch.float32)
    adapter = family_of(entry).adapt(entry, pipeline, EmbeddingCache(_CACHE_BYTES))
    assert isinstance(adapter, FlowFamily)
    return adapter


def spec_of(name: str, **fields: Any) -> GenerateSpec:
    """A job for it, with its defaults."""
    entry = entry_of(name)
    given = {"prompt": "a red circle on a blue background", "model": name, "seed": 0}
    return GenerateSpec.model_validate(entry.defaults.model_dump() | given | fields)


def run_edit_solo(pipeline: Any, edit: Edit, **options: Any) -> torch.Tensor:
    """What diffusers' pipeline for such edits makes of one, as `run_solo`; before its own pixels are put back."""
    return torch.cat([latents for latents, _ in _edit_calls(pipeline, edit, "latent", options)])


def pictures_of_edit(pipeline: Any, edit: Edit) -> list[Any]:
    """The same as pictures, (height, width, 3), 0 to 1."""
    return [images[0] for _, images in _edit_calls(pipeline, edit, "np", {})]


def _edit_calls(pipeline: Any, edit: Edit, output_type: str, options: dict[str, Any]) -> list[tuple[torch.Tensor, Any]]:
    sibling = sibling_of(pipeline, is_masked=edit.mask is not None)
    given: dict[str, Any] = {"image": Image.fromarray(edit.image), "strength": edit.spec.strength}
    if edit.mask is not None:
        given["mask_image"] = Image.fromarray(edit.mask.astype(np.uint8) * 255)
    counted = sibling.get_timesteps
    # It would count Heun's passes, of which there are two for a step.
    sibling.get_timesteps = lambda _steps, *args: counted(edit.spec.num_inference_steps, *args)
    return _calls(sibling, edit.spec, output_type, given | options)


def run_instructed_solo(pipeline: Any, edit: Edit) -> torch.Tensor:
    """What diffusers' pipeline that edits by instruction makes of one, as `run_solo`."""
    name = edit.spec.model
    images = [Image.fromarray(each) for each in (edit.image, *edit.references)]
    given: dict[str, Any] = {"image": images if name.startswith("flux2") or name.endswith("plus") else images[0]}
    return torch.cat([latents for latents, _ in _calls(pipeline, edit.spec, "latent", given)])


def sibling_of(pipeline: Any, *, is_masked: bool) -> Any:
    """Diffusers' pipeline for image to image, or for inpainting, of the same parts."""
    suffix = "InpaintPipeline" if is_masked else "Img2ImgPipeline"
    kind = getattr(diffusers, type(pipeline).__name__.removesuffix("Pipeline") + suffix)
    says = {"is_distilled": pipeline.config.is_distilled} if "is_distilled" in pipeline.config else {}
    sibling = kind(**pipeline.components, **says)
    sibling.set_progress_bar_config(disable=True)
    return sibling


def run_solo(pipeline: Any, job: GenerateSpec) -> torch.Tensor:
    """What diffusers makes of a job in its own call, image by image: latents as the model takes them, (n, …)."""
    return torch.cat([latents for latents, _ in _calls(pipeline, job, "latent", {})])


def _calls(
    pipeline: Any, job: GenerateSpec, output_type: str, pictures: dict[str, Any]
) -> list[tuple[torch.Tensor, Any]]:
    """The last latents and the result of a call for each image."""
    own = pipeline.scheduler
    made, seen = [], []

    def note(_pipeline: Any, _step: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        seen.append(kwargs["latents"])
        return kwargs

    try:
        for index in range(job.n):
            generator = torch.Generator().manual_seed(job.seed + index)
            # Never None, not for a moment: a pipeline then forgets that it has one.
            is_own = _is_sprint(pipeline)
            pipeline.scheduler = type(own).from_config(own.config) if is_own else _Scheduler(own, job, generator)
            with guided(pipeline, job) as given:
                images = pipeline(
                    generator=[generator], output_type=output_type, callback_on_step_end=note, **given, **pictures
                ).images
            # Sprint's last step is no step of its loop.
            made.append((images if _is_sprint(pipeline) and output_type == "latent" else seen[-1], images))
    finally:
        pipeline.scheduler = own
    return made


@contextmanager
def guided(pipeline: Any, job: GenerateSpec) -> Iterator[dict[str, Any]]:
    """What the call of a pipeline is given for a job; what its parts have to be told, they are, for as long."""
    known = inspect.signature(pipeline.__call__).parameters
    # FLUX.1 has both: its own guidance, and the true one beside it, which is off.
    is_flux = type(pipeline).__name__.startswith("Flux")
    is_true_cfg = "true_cfg_scale" in known and not is_flux
    given: dict[str, Any] = {
        "prompt": [job.prompt],
        "width": job.width,
        "height": job.height,
        "num_inference_steps": job.num_inference_steps,
        "true_cfg_scale" if is_true_cfg else "guidance_scale": job.guidance_scale,
        "distilled_guidance_scale": job.guidance_scale,
        "max_sequence_length": max_tokens(job.model),
        "use_resolution_binning": False,
    }
    if "max_area" in known:  # FLUX.1 Kontext makes another size otherwise.
        given["max_area"] = job.width * job.height
    if job.num_inference_steps != 2:
        given["intermediate_timesteps"] = None
    if not is_flux:  # A list for each call: Z-Image's pipeline writes into it.
        given["negative_prompt"] = [job.negative_prompt or (" " if is_true_cfg else "")]
    if not isinstance(pipeline, HunyuanImagePipeline):
        yield {name: value for name, value in given.items() if name in known}
        return
    were = (pipeline.guider, pipeline.ocr_guider, pipeline.tokenizer_max_length)
    scale = job.guidance_scale if job.guidance_scale > 1 else 1.0  # Off at 1 alone, where others are at less, too.
    pipeline.guider, pipeline.ocr_guider = (each and each.new(guidance_scale=scale) for each in were[:2])
    pipeline.tokenizer_max_length = max_tokens(job.model)
    try:
        yield {name: value for name, value in given.items() if name in known}
    finally:
        pipeline.guider, pipeline.ocr_guider, pipeline.tokenizer_max_length = were


def _is_sprint(pipeline: Any) -> bool:
    return isinstance(pipeline, SanaSprintPipeline)


class _Scheduler:
    """
    A scheduler of diffusers, called as every pipeline calls one: with noise levels and `mu`, which not all take.

    Made of the model's own configuration by diffusers alone. Of a model whose shift depends on the size, those that
    know no such thing get the shift that it comes to.
    """

    def __init__(self, own: Any, job: GenerateSpec, generator: torch.Generator) -> None:
        self.config = own.config
        self._own = own
        self._job = job
        self._generator = generator
        self._made: Any = None

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, sigmas: Any = None, mu: float | None = None
    ) -> None:
        job, own = self._job, self._own
        changes: dict[str, Any] = {}
        kind: Any = {
            OWN: type(own),
            "euler": FlowMatchEulerDiscreteScheduler,
            "heun": FlowMatchHeunDiscreteScheduler,
            "lcm": FlowMatchLCMScheduler,
            "dpmpp_2m": DPMSolverMultistepScheduler,
            "unipc": UniPCMultistepScheduler,
        }[job.scheduler]
        is_by_size = own.config.use_dynamic_shifting
        own_shift = own.config.get("shift", own.config.get("flow_shift"))  # The second is Sana's.
        if job.shift is not None:
            changes |= {"shift": job.shift, "flow_shift": job.shift, "use_dynamic_shifting": False}
        elif is_by_size and job.scheduler in ("heun", "dpmpp_2m"):
            assert mu is not None
            changes |= {"shift": math.exp(mu), "flow_shift": math.exp(mu), "use_dynamic_shifting": False}
        elif not is_by_size:
            changes |= {"shift": own_shift, "flow_shift": own_shift}
        if job.scheduler in ("dpmpp_2m", "unipc"):
            changes |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
        taken = inspect.signature(kind.__init__).parameters
        self._made = kind.from_config(own.config, **{name: each for name, each in changes.items() if name in taken})
        known = inspect.signature(self._made.set_timesteps).parameters
        given: dict[str, Any] = {"num_inference_steps": job.num_inference_steps}
        if sigmas is not None and "sigmas" in known and not self._keeps_sigmas:
            given["sigmas"] = np.array(sigmas)
        if "mu" in known and is_by_size and job.shift is None and job.scheduler != "dpmpp_2m":
            given["mu"] = mu
        self._made.set_timesteps(device=device, **given)

    @property
    def _keeps_sigmas(self) -> bool:
        """FLUX's pipelines ask schedulers with flow sigmas for theirs."""
        return self._job.model.startswith("flux") and bool(self._made.config.get("use_flow_sigmas"))

    def step(self, *args: Any, **kwargs: Any) -> Any:
        if "generator" in inspect.signature(self._made.step).parameters:
            kwargs["generator"] = [self._generator]
        return self._made.step(*args, **kwargs)

    def scale_noise(self, sample: torch.Tensor, timestep: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Schedulers that are not of flow matching alone call it otherwise."""
        if hasattr(self._made, "scale_noise"):
            scaled: torch.Tensor = self._made.scale_noise(sample, timestep, noise)
        else:
            scaled = self._made.add_noise(sample, noise, timestep)
        return scaled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)
