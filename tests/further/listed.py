"""All of them by what they are called in diffusers, with what they are to make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests import tiny_pipelines
from tests.further import flow, kandinsky, language, others, transformers, unets


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """
    One of them.

    Attributes:
        make: Makes it.
        side: Of its pictures, in pixels.
        steps: Of a job.
        by_hand: What its own call needs beside what a job says, to make what the job asks.
    """

    make: Callable[[], Any]
    side: int = 32
    steps: int = 4
    by_hand: Mapping[str, Any] = field(default_factory=dict)


# Some use what diffusers itself has deprecated: Chroma, Kandinsky, PRX.
OLD = "ignore:.*is deprecated (and will be removed in version|in favor of):FutureWarning"

_AS_ASKED = {"use_resolution_binning": False}

SERVED: dict[str, Further] = {
    "AmusedPipeline": Further(make=unets.amused),
    "AuraFlowPipeline": Further(make=flow.aura_flow),
    "BriaPipeline": Further(make=flow.bria),
    "ChromaPipeline": Further(make=flow.chroma),
    "CogView3PlusPipeline": Further(make=transformers.cogview_3_plus),
    "CogView4Pipeline": Further(make=flow.cogview_4),
    "ErnieImagePipeline": Further(make=language.ernie_image),
    "HiDreamImagePipeline": Further(make=language.hidream),
    "HunyuanDiTPAGPipeline": Further(make=transformers.hunyuan_dit_pag, by_hand=_AS_ASKED),
    "HunyuanDiTPipeline": Further(make=transformers.hunyuan_dit, by_hand=_AS_ASKED),
    "HunyuanImagePipeline": Further(make=language.hunyuan_image),
    "IFPipeline": Further(make=unets.deep_floyd),
    "Kandinsky3Pipeline": Further(make=kandinsky.kandinsky_3, side=64),
    "KandinskyV22CombinedPipeline": Further(make=kandinsky.kandinsky_22),
    "Krea2Pipeline": Further(make=language.krea_2),
    "LDMTextToImagePipeline": Further(make=unets.latent_diffusion, side=64),
    "LatentConsistencyModelPipeline": Further(make=unets.latent_consistency),
    "LongCatImagePipeline": Further(make=language.longcat, by_hand={"enable_prompt_rewrite": False}),
    "Lumina2Pipeline": Further(make=flow.lumina_2),
    "LuminaPipeline": Further(make=transformers.lumina_next),
    "OvisImagePipeline": Further(make=language.ovis),
    "PixArtAlphaPipeline": Further(make=transformers.pixart_alpha, side=64),
    "PixArtSigmaPipeline": Further(make=tiny_pipelines.pixart, side=64),
    "SanaPipeline": Further(make=tiny_pipelines.sana, side=64),
    "SanaSprintPipeline": Further(make=transformers.sana_sprint, side=64, steps=2),
    "StableDiffusionPAGPipeline": Further(make=unets.perturbed_attention),
    "StableDiffusionSAGPipeline": Further(make=unets.self_attention),
    "StableUnCLIPPipeline": Further(make=unets.stable_unclip),
}

# Those of films and sounds, and what they make.
OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "LTXPipeline": (others.ltx, "videos"),
    "LattePipeline": (others.latte, "videos"),
    "StableAudioPipeline": (others.stable_audio, "sound"),
    "WanPipeline": (others.wan, "videos"),
}

# Those that need what no job has, or what is not installed, by what their first call says.
UNABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "FluxControlPipeline": (others.flux_control, "Input is in incorrect format"),
    "PRXPipeline": (flow.prx, "'ftfy'"),
    "PRXPixelPipeline": (language.prx_pixel, "'ftfy'"),
}

# Those that make pictures, and of something else than a text.
WITHOUT_PROMPT: dict[str, Callable[[], Any]] = {
    "DiTPipeline": others.class_labels,
    "KandinskyV22Pipeline": others.kandinsky_22_decoder,
}
