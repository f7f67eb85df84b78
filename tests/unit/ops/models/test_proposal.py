"""The entry of a published model is what is proposed for it, and others of its family get what suits them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ops.models.components import Component, Pipeline
from ops.models.proposal import propose
from ops.models.published import read
from workers.families.registry import family_of_pipeline

SOURCE = read()
FACTOR = {"sana": 32, "sana-sprint": 32, "hunyuan-image": 32}
CLASS_OF = {name: each["pipeline"] for name, each in SOURCE["families"].items()}
SAMPLED = ("stable-diffusion-3", "pixart", "sana")  # beside those with a UNet


def published(name: str, **changes: Any) -> Pipeline:
    """A pipeline as one of the published models has it: class, number of parameters, size of latents."""
    about, entry = SOURCE["published"][name], SOURCE["models"][name]
    factor = FACTOR.get(entry["family"], 8)
    index: dict[str, Any] = {"_class_name": CLASS_OF[entry["family"]]}
    denoiser = "unet" if "unet" in about["parameters"] else "transformer"
    config: dict[str, Any] = {"patch_size": 2}
    if denoiser == "unet" or entry["family"].startswith(SAMPLED):
        config["sample_size"] = entry["defaults"]["width"] // factor
    for key, value in {**about.get("told_by", {}), **changes}.items():
        where, _, rest = key.rpartition(".")
        (config if where else index)[rest] = value
    numbers = {"BF16" if entry["dtype"] == "bfloat16" else "F16": int(1e9 * about["parameters"][denoiser])}
    vae = {"spatial_compression_ratio": factor}
    return Pipeline(
        index=index,
        components={
            denoiser: Component(name=denoiser, class_name="ADenoiser", config=config, numbers=numbers),
            "vae": Component(name="vae", class_name="AnAutoencoder", config=vae),
        },
    )


@pytest.mark.parametrize("name", SOURCE["published"])
def test_published_model_gets_its_own_entry(name: str) -> None:
    entry = SOURCE["models"][name]
    expected = {key: value for key, value in entry.items() if key not in ("source", "revision")}
    assert propose(published(name), entry["source"]).entry == expected
    # Without its id, too: a copy in a folder, which is called like it.
    assert propose(published(name), entry["source"].rpartition("/")[2]).entry == expected


@pytest.mark.parametrize(
    ("name", "called", "changes", "title"),
    [
        ("sdxl", "my-own-turbo", {}, "SDXL Turbo"),
        ("sdxl", "my-own", {}, "Stable Diffusion XL"),
        ("z-image", "Z-Image-Turbo", {}, "Z-Image-Turbo"),
        ("flux-dev", "somebody/finetune", {"transformer.guidance_embeds": False}, "FLUX.1 schnell"),
        ("flux-dev", "somebody/finetune", {"transformer.guidance_embeds": True}, "FLUX.1 dev"),
        ("flux2-klein-base-9b", "finetune", {"is_distilled": True}, "FLUX.2 klein 9B"),
        ("hunyuan-image", "finetune", {"transformer.guidance_embeds": True}, "HunyuanImage 2.1 distilled"),
        ("sd15", "finetune", {"unet.time_cond_proj_dim": 256}, "LCM Dreamshaper 7"),
    ],
)
def test_others_get_that_of_the_most_like(name: str, called: str, changes: dict[str, Any], title: str) -> None:
    assert f"those of {title}, which it is most like" in propose(published(name, **changes), called).about[1]


def test_unet_that_takes_guidance_as_an_input_stays_in_its_family() -> None:
    entry = propose(published("sd15", **{"unet.time_cond_proj_dim": 256}), "finetune").entry
    assert (entry["family"], entry["guidance"], entry["defaults"]["num_inference_steps"]) == (
        "stable-diffusion",
        "embedded",
        4,
    )


def test_model_of_another_size_gets_sizes_of_its_own() -> None:
    entry = propose(published("sd15", **{"unet.sample_size": 96}), "stable-diffusion-2-1").entry
    assert entry["defaults"]["width"] == entry["defaults"]["height"] == 768
    assert (entry["limits"]["min_side"], entry["limits"]["max_side"]) == (384, 1536)


def test_positions_bound_the_longest_side() -> None:
    entry = propose(published("sd35-large", **{"transformer.pos_embed_max_size": 72}), "finetune").entry
    assert entry["limits"]["max_side"] == 72 * 2 * 8


def test_families_are_known_by_their_pipelines() -> None:
    assert {family_of_pipeline(name) for name in CLASS_OF.values()} == {*CLASS_OF}
    assert family_of_pipeline("StableDiffusionXLImg2ImgPipeline") == "stable-diffusion-xl"
    assert family_of_pipeline("FluxFillPipeline") is None


def test_memory_is_that_of_all_weights_and_not_said_where_some_are_not_known() -> None:
    pipeline = published("sdxl")
    parts = {"vae": 84_000_000, "text_encoder": 123_000_000, "text_encoder_2": 695_000_000}
    whole = {name: Component(name=name, class_name="A", numbers={"F16": count}) for name, count in parts.items()}
    denoiser = pipeline.components["unet"]
    entry = propose(replace(pipeline, components={"unet": denoiser, **whole}), "finetune").entry
    assert entry["memory_gb"] == 7.0  # 2.567e9 of the U-Net and 0.902e9 others, of two bytes: 6.94
    lacking = {**whole, "vae": pipeline.components["vae"]}
    assert "memory_gb" not in propose(replace(pipeline, components={"unet": denoiser, **lacking}), "finetune").entry
