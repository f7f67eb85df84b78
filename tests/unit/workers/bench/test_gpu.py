"""The measurements of `bench gpu`, on tiny models and a CPU: the same code, other numbers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from workers.bench.device.peak import forward_flops, measure_peak, sheet_flops_per_s
from workers.bench.device.subject import EAGER, IN_TURNS, OVERLAPPED, Subject
from workers.bench.published.stable_diffusion import (
    STABLE_DIFFUSION_15,
    STABLE_DIFFUSION_XL,
    Published,
    build,
    entry_of,
)
from workers.engine import capacity
from workers.families.diffusion.rows import Rows

CPU = torch.device("cpu")

# numpy's, of how diffusers' Euler scheduler makes its sigmas.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

_TEXT = {
    **STABLE_DIFFUSION_15.text_encoders[0],
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
_VAE = {"block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 64}
_UNET = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "sample_size": 8,
}


def tiny(published: Published, **unet: Any) -> Published:
    return Published(
        name=f"tiny-{published.name}",
        family=published.family,
        unet={**published.unet, **_UNET, **unet},
        vae={**published.vae, **_VAE},
        text_encoders=(_TEXT,) * len(published.text_encoders),
        scheduler=published.scheduler,
        guidance_scale=published.guidance_scale,
        pipeline=published.pipeline,
    )


TINY = {
    "sd": tiny(STABLE_DIFFUSION_15, cross_attention_dim=16),
    "sdxl": tiny(
        STABLE_DIFFUSION_XL,
        cross_attention_dim=32,
        transformer_layers_per_block=(1, 1),
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 16,
    ),
}


@pytest.fixture(params=["sd", pytest.param("sdxl", marks=pytest.mark.long)])
def subject(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    monkeypatch.setattr(capacity, "_MOST_ROWS", 8)  # A CPU takes a minute for the pictures of a GPU's passes.
    published = TINY[request.param]
    entry = entry_of(published, side=64, steps=3, dtype="float32")
    subject = Subject(build(published, CPU, "float32"), entry, CPU, tmp_path / "sizes.json")
    yield subject
    subject.close()


def test_passes_have_a_time_and_a_rate_for_each_size(subject: Subject) -> None:
    passes = subject.passes((1, 2), tries=2)
    assert [each.rows for each in passes] == [2, 4]
    assert all(each.seconds > 0 and each.flops_per_s > 0 for each in passes)


def test_every_way_that_needs_no_compiler_makes_pictures(subject: Subject) -> None:
    ways = subject.contenders({}, single_images=1)
    assert list(ways) == [EAGER, OVERLAPPED, IN_TURNS]
    assert all(way() > 0 for way in ways.values())


@pytest.mark.long  # The import of torch's compiler takes as long as twenty other tests.
def test_every_way_makes_pictures(subject: Subject) -> None:
    ways = subject.contenders({"compiled": partial(torch.compile, backend="eager")}, single_images=2)
    assert list(ways) == [EAGER, "one at a time, compiled", OVERLAPPED, IN_TURNS]
    assert all(way() > 0 for way in ways.values())
    assert not subject.skipped


@pytest.mark.long  # Likewise.
def test_a_way_that_cannot_be_compiled_is_left_out_with_its_reason(subject: Subject) -> None:
    def broken(_unet: Any) -> Any:
        def call(*_args: Any, **_kwargs: Any) -> Any:
            raise RuntimeError("no compiler here")

        return torch.compile(_unet, backend=lambda *_: call)

    ways = subject.contenders({"broken": broken}, single_images=1)
    assert list(ways) == [EAGER, OVERLAPPED, IN_TURNS]
    assert "no compiler here" in subject.skipped["one at a time, broken"]


@pytest.mark.parametrize(
    ("published", "unet", "text"),
    [
        (STABLE_DIFFUSION_15, 859_520_964, [123_060_480]),
        (STABLE_DIFFUSION_XL, 2_567_463_684, [123_060_480, 694_659_840]),
    ],
    ids=["sd-1.5", "sdxl"],
)
def test_published_models_have_their_real_sizes(published: Published, unet: int, text: list[int]) -> None:
    with torch.device("meta"):
        assert parameters(UNet2DConditionModel(**published.unet)) == unet
        assert parameters(AutoencoderKL(**published.vae)) == 83_653_863
        models = [CLIPTextModel, CLIPTextModelWithProjection][: len(text)]
        built = [model(CLIPTextConfig(**config)) for model, config in zip(models, published.text_encoders, strict=True)]
    assert [parameters(model) for model in built] == text


def test_forward_of_sd_15_at_512_px_takes_0_8_tflop_a_row() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**STABLE_DIFFUSION_15.unet)
        rows = Rows(sample=torch.empty(2, 4, 64, 64), timesteps=torch.empty(2), text=torch.empty(2, 77, 768), extra={})
    assert forward_flops(unet, rows) == pytest.approx(2 * 0.803e12, rel=0.01)


def test_peak_of_a_product_is_measured() -> None:
    assert measure_peak(CPU, "float32", side=64, tries=2) > 0


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("Some other", None),
    ],
)
def test_data_sheet_is_found_by_the_name_of_the_device(name: str, peak: float | None) -> None:
    assert sheet_flops_per_s(name) == peak


def parameters(model: torch.nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
