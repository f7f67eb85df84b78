"""
A model in one file: which published one its tensors are like, and which components it has.

The names are those that its trainers gave its tensors: CHECKPOINT_KEY_NAMES and `infer_diffusers_model_type` of
diffusers' loaders/single_file_utils.py, which need torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from workers.loading.weights.header import TensorHeader

DENOISER_PREFIX = "model.diffusion_model."  # before its tensors' names, where the file has other components, too

_FIRST_CONV = "input_blocks.0.0.weight"
_XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
_XL_ALONE = "label_emb.0.0.weight"
_CROSS = "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
_WIDTH_OF_SD2 = 1024  # of the texts that its U-Net looks at
_CHANNELS_OF_INPAINTING = 9
_CHROMA = "distilled_guidance_layer.in_proj.bias"
_FLUX = "double_blocks.0.img_attn.norm.key_norm.scale"
_FLUX2 = "single_stream_modulation.lin.weight"
_FLUX_GUIDANCE, _FLUX_IN, _FLUX_CHANNELS = "guidance_in.in_layer", "img_in.weight", 64
_WIDTH_OF_KLEIN_4B = 3072
_SD3, _SD35_LARGE = "joint_blocks.0.context_block.adaLN_modulation.1.bias", "joint_blocks.37.x_block.mlp.fc1.weight"
# Of those whose transformers alone are published in one file.
_TRANSFORMERS = {
    "layers.0.adaLN_modulation.0.weight": "z-image",
    "cap_embedder.0.weight": "lumina-2",
    "double_layers.0.attn.w2q.weight": "aura-flow",
    "txtfusion.projector.weight": "krea-2",
    "blocks.0.cross_attn.kv_linear.weight": "sana",
}
# Of the pairs that differ in how they were trained alone: a word of a file's name, and the other one.
_BY_NAME = {
    "sdxl": ("turbo", "sdxl-turbo"),
    "z-image": ("turbo", "z-image-turbo"),
    "krea-2": ("turbo", "krea-2-turbo"),
    "flux2-klein-4b": ("base", "flux2-klein-base-4b"),
    "flux2-klein-9b": ("base", "flux2-klein-base-9b"),
    "flux-dev": ("kontext", "flux-kontext"),
}

_VAE = ("first_stage_model.", "vae.")
_OF_SD: dict[str, tuple[str, ...]] = {"text_encoder": ("cond_stage_model.",), "vae": _VAE}
_OF_XL = {"text_encoder": ("conditioner.embedders.0.",), "text_encoder_2": ("conditioner.embedders.1.",), "vae": _VAE}
_CLIP_L, _CLIP_G, _T5 = (f"text_encoders.{each}." for each in ("clip_l", "clip_g", "t5xxl"))
_OF_FLUX: dict[str, tuple[str, ...]] = {"text_encoder": (_CLIP_L,), "text_encoder_2": (_T5,), "vae": _VAE}
_OF_SD3 = {"text_encoder": (_CLIP_L,), "text_encoder_2": (_CLIP_G,), "text_encoder_3": (_T5,), "vae": _VAE}

_SD2, _INPAINTING = "stabilityai/stable-diffusion-2-1", "stable-diffusion-v1-5/stable-diffusion-inpainting"
_INPAINTING_2 = "stabilityai/stable-diffusion-2-inpainting"
_INPAINTING_XL = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"

Header = Mapping[str, TensorHeader]


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """
    What a file is one of.

    Attributes:
        name: In published.toml.
        repository: Of the hub, that has such a model's configuration; None for that of `name`.
        prefixes: Of the tensors of each component, beside the denoiser, that a file of it may have.
    """

    name: str
    repository: str | None = None
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def lacking(self, header: Header) -> list[str]:
        """Components that a file could have, and does not."""
        return [
            part for part, prefixes in self.prefixes.items() if not any(each.startswith(prefixes) for each in header)
        ]


def likeness_of(header: Header, called: str) -> Likeness | None:
    """
    What a file is one of; None where it is like none that is known.

    Args:
        header: Its tensors.
        called: Its name: some models are told from others by it alone.
    """
    names = {name.removeprefix(DENOISER_PREFIX): each for name, each in header.items()}
    found = _like_unet(names) or _like_transformer(names)
    if found is None:
        return None
    word, other = _BY_NAME.get(found.name, ("", ""))
    return replace(found, name=other) if word and word in called.lower() else found


def other_than_a_model(header: Header) -> str | None:
    """What a file holds that is no model, and what to do with it; None where it may be one."""
    if any(".lora_" in name or name.startswith("lora_") for name in header):
        return "it holds a LoRA, which changes a model and is none; save the model with it, as a folder"
    if header and set(header) <= {"emb_params", "clip_l", "clip_g"}:
        return "it holds a learned word; name it in textual_inversions of its model's entry"
    if any(name.startswith(("control_model.", "controlnet_")) for name in header):
        return "it holds a ControlNet, which no job here has a picture for"
    return None


def _like_unet(names: Header) -> Likeness | None:
    if _FIRST_CONV not in names:
        return None
    is_inpainting = _size(names, _FIRST_CONV, 1) == _CHANNELS_OF_INPAINTING
    if _XL in names or _XL_ALONE in names:
        if _is_prefixed(names, "conditioner.embedders.") and _XL not in names:
            return None  # The refiner, which has one text encoder, and begins at another's latents.
        return Likeness(name="sdxl", prefixes=_OF_XL, repository=_INPAINTING_XL if is_inpainting else None)
    if _size(names, _CROSS, -1) == _WIDTH_OF_SD2:
        return Likeness(name="sd15", prefixes=_OF_SD, repository=_INPAINTING_2 if is_inpainting else _SD2)
    if not _is_prefixed(names, *_OF_SD["text_encoder"]) and _CROSS not in names:
        return None
    return Likeness(name="sd15", prefixes=_OF_SD, repository=_INPAINTING if is_inpainting else None)


def _like_transformer(names: Header) -> Likeness | None:
    if _SD3 in names or _SD35_LARGE in names:
        return Likeness(name="sd35-large" if _SD35_LARGE in names else "sd35-medium", prefixes=_OF_SD3)
    if _FLUX2 in names:
        return Likeness(name=_like_flux2(names))
    if _CHROMA in names:
        return Likeness(name="chroma")
    if _FLUX in names:
        if _size(names, _FLUX_IN, -1) != _FLUX_CHANNELS:
            return None  # With more channels it fills, or follows a depth map, which no job has.
        return Likeness(name="flux-dev" if _is_prefixed(names, _FLUX_GUIDANCE) else "flux-schnell", prefixes=_OF_FLUX)
    return next((Likeness(name=model) for key, model in _TRANSFORMERS.items() if key in names), None)


def _like_flux2(names: Header) -> str:
    if _is_prefixed(names, _FLUX_GUIDANCE):
        return "flux2-dev"
    return "flux2-klein-4b" if _size(names, _FLUX_IN, 0) == _WIDTH_OF_KLEIN_4B else "flux2-klein-9b"


def _size(names: Header, name: str, side: int) -> int | None:
    """Of a side of a tensor; None where there is none."""
    shape = names[name].shape if name in names else ()
    return shape[side] if len(shape) >= max(side + 1, 1) else None


def _is_prefixed(names: Iterable[str], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in names)
