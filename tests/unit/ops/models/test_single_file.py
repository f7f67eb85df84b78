"""`models add` on one file: which model its tensors are like, and that it serves with the configuration given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from jobs.catalogue.catalogue import Catalogue
from ops.cli import app
from ops.models.sources.gguf import read_gguf_header
from ops.models.sources.likeness import likeness_of
from tests.unit.ops.models.serving import first_picture
from tests.unit.ops.models.written import write_gguf, write_safetensors, write_stable_diffusion
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from tests.unit.workers.original import save_original
from workers.loading.checks.sides import check_side_multiple
from workers.loading.models import load_model
from workers.loading.weights.header import TensorHeader

pytestmark = pytest.mark.filterwarnings(QUIET)

XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
CLIP = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
WHOLE_XL = (
    "model.diffusion_model.input_blocks.0.0.weight",
    XL,
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias",
    "first_stage_model.quant_conv.bias",
)
UNET = "model.diffusion_model.input_blocks.0.0.weight"
FLUX = ("double_blocks.0.img_attn.norm.key_norm.scale", "img_in.weight")
FLUX2 = "single_stream_modulation.lin.weight"
CROSS = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
SD3 = "joint_blocks.0.context_block.adaLN_modulation.1.bias"


def add(folder: Path, *arguments: str) -> Result:
    file = folder / "models.toml"
    return CliRunner().invoke(app, ["models", "add", *arguments, "--models-file", str(file)])


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def like(names: Iterable[str], called: str = "mine.safetensors", shape: tuple[int, ...] = (8, 64)) -> str | None:
    found = likeness_of({name: TensorHeader("BF16", shape) for name in names}, called)
    return None if found is None else found.name


def prefixed(*names: str) -> tuple[str, ...]:
    return tuple(f"model.diffusion_model.{each}" for each in names)


GUIDED = (*FLUX, "guidance_in.in_layer.bias")


@pytest.mark.parametrize(
    ("names", "published"),
    [
        ((XL, UNET), "sdxl"),
        ((CLIP, UNET), "sd15"),
        ((SD3,), "sd35-medium"),
        (prefixed(SD3, "joint_blocks.37.x_block.mlp.fc1.weight"), "sd35-large"),
        (FLUX, "flux-schnell"),
        (GUIDED, "flux-dev"),
        (prefixed(*GUIDED), "flux-dev"),
        ((*FLUX, "distilled_guidance_layer.in_proj.bias"), "chroma"),
        ((FLUX2, "guidance_in.in_layer.weight"), "flux2-dev"),
        ((FLUX2,), "flux2-klein-9b"),
        (("layers.0.adaLN_modulation.0.weight", "cap_embedder.0.weight"), "z-image"),
        (("cap_embedder.0.weight",), "lumina-2"),
        (("txtfusion.projector.weight",), "krea-2"),
        ((UNET, "conditioner.embedders.0.model.text_projection", *prefixed("label_emb.0.0.weight")), None),
        ((CLIP,), None),
        (("something",), None),
        ((), None),
    ],
)
def test_file_is_known_by_its_tensors(names: tuple[str, ...], published: str | None) -> None:
    assert like(names) == published


@pytest.mark.parametrize(
    ("names", "called", "published"),
    [
        ((XL, UNET), "sd_xl_Turbo_1.0.safetensors", "sdxl-turbo"),
        (("layers.0.adaLN_modulation.0.weight",), "z_image_turbo_bf16.safetensors", "z-image-turbo"),
        ((FLUX2,), "flux-2-klein-base-9b.safetensors", "flux2-klein-base-9b"),
        (GUIDED, "flux1-kontext-dev.safetensors", "flux-kontext"),
        ((CLIP, UNET), "turbo.safetensors", "sd15"),
    ],
)
def test_file_is_known_by_its_name_where_tensors_are_alike(names: tuple[str, ...], called: str, published: str) -> None:
    assert like(names, called) == published


def test_klein_is_known_by_its_width() -> None:
    header = {FLUX2: TensorHeader("BF16", (9216, 3072)), "img_in.weight": TensorHeader("BF16", (3072, 128))}
    found = likeness_of(header, "klein.safetensors")
    assert found is not None
    assert found.name == "flux2-klein-4b"


@pytest.mark.parametrize(
    ("channels", "texts", "repository"),
    [
        (4, 1024, "stabilityai/stable-diffusion-2-1"),
        (9, 1024, "stabilityai/stable-diffusion-2-inpainting"),
        (9, 768, "stable-diffusion-v1-5/stable-diffusion-inpainting"),
        (4, 768, None),
    ],
)
def test_stable_diffusion_is_known_by_its_widths(channels: int, texts: int, repository: str | None) -> None:
    header = {
        UNET: TensorHeader("F16", (320, channels, 3, 3)),
        CROSS: TensorHeader("F16", (320, texts)),
        "cond_stage_model.model.token_embedding.weight": TensorHeader("F16", (49408, texts)),
    }
    found = likeness_of(header, "mine.safetensors")
    assert found is not None
    assert (found.name, found.repository, found.lacking(header)) == ("sd15", repository, ["vae"])


def test_flux_with_more_channels_is_no_flux_that_is_known() -> None:
    assert like(FLUX, shape=(8, 384)) is None


def test_entry_of_a_file_is_that_of_the_published_model(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "Juggernaut.safetensors", {name: ("F16", [4]) for name in WHOLE_XL})
    added = add(tmp_path, str(tmp_path / "Juggernaut.safetensors"))
    assert added.exit_code == 0, added.output
    model = Catalogue.read(tmp_path / "models.toml").models["juggernaut"]
    assert (model.source, model.family, model.dtype) == ("Juggernaut.safetensors", "stable-diffusion-xl", "float16")
    assert (model.defaults.width, model.defaults.num_inference_steps, model.config) == (1024, 30, None)
    assert '# no hub answered; add config = "stabilityai/stable-diffusion-xl-base-1.0@<commit>"' in added.stdout


@pytest.mark.parametrize(
    ("names", "repository"),
    [
        (WHOLE_XL[:-1], "stabilityai/stable-diffusion-xl-base-1.0"),
        (FLUX, "black-forest-labs/FLUX.1-schnell"),
        (("layers.0.adaLN_modulation.0.weight",), "Tongyi-MAI/Z-Image"),
    ],
)
def test_file_that_lacks_components_needs_its_pipeline(tmp_path: Path, names: tuple[str, ...], repository: str) -> None:
    write_safetensors(tmp_path / "model.safetensors", {name: ("F16", [4, 64]) for name in names})
    refused = add(tmp_path, str(tmp_path / "model.safetensors"))
    assert refused.exit_code == 2
    assert f"goes without what {repository} has beside it" in refused.stderr
    assert "say with --config which folder has that pipeline" in refused.stderr


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",), "is no model: it holds a LoRA"),
        (("transformer.blocks.0.attn.to_q.lora_A.weight",), "is no model: it holds a LoRA"),
        (("clip_l", "clip_g"), "is no model: it holds a learned word; name it in textual_inversions"),
        (("emb_params",), "is no model: it holds a learned word"),
        (("control_model.time_embed.0.weight",), "is no model: it holds a ControlNet"),
    ],
)
def test_file_that_is_no_model_is_refused_by_what_it_is(tmp_path: Path, names: tuple[str, ...], reason: str) -> None:
    write_safetensors(tmp_path / "file.safetensors", {name: ("F16", [4]) for name in names})
    refused = add(tmp_path, str(tmp_path / "file.safetensors"))
    assert (refused.exit_code, reason in refused.stderr) == (2, True), refused.stderr


@pytest.mark.parametrize("content", [b"GGUF", b"GGML" + bytes(20), b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16])
def test_gguf_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.gguf").write_bytes(content)
    refused = add(tmp_path, str(tmp_path / "file.gguf"))
    assert (refused.exit_code, "GGUF" in refused.stderr, "; copy " in refused.stderr) == (2, True, True)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.ckpt", b"", "is a pickle"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
        ("model.safetensors", b"abc", "is cut short"),
        ("model.zip", b"abc", "is no .safetensors or .gguf file"),
    ],
)
def test_file_that_no_worker_loads_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused = add(tmp_path, str(tmp_path / name))
    assert (refused.exit_code, "source: " in refused.stderr, reason in refused.stderr) == (2, True, True)
    assert not (tmp_path / "models.toml").exists()


def test_file_that_is_like_none_asks_for_a_configuration(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"something": ("F16", [4])})
    refused = add(tmp_path, str(tmp_path / "model.safetensors"))
    assert refused.exit_code == 2
    assert "are like those of no model that is known here; say with --config which folder" in refused.stderr


def test_denoiser_alone_is_a_component_of_the_folder_that_is_said(tmp_path: Path) -> None:
    folder = write_stable_diffusion(tmp_path / "whole")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    names = ("input_blocks.0.0.weight", "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight")
    write_safetensors(tmp_path / "unet.safetensors", {name: ("F16", [4, 4]) for name in names})
    added = add(tmp_path, str(tmp_path / "unet.safetensors"), "--config", str(folder))
    assert added.exit_code == 0, added.output
    model = Catalogue.read(tmp_path / "models.toml").models["unet"]
    assert (model.source, model.config, model.dtype) == ("whole", None, "float16")
    assert {name: each.source for name, each in model.components.items()} == {"unet": "unet.safetensors"}
    assert "StableDiffusionPipeline: 52 parameters" in added.stdout


def test_file_of_gguf_is_a_component_of_the_folder_that_is_said(tmp_path: Path) -> None:
    folder = write_stable_diffusion(tmp_path / "whole")
    write_gguf(tmp_path / "q4.gguf", {"input_blocks.0.0.weight": (12, [320, 4, 3, 3]), "out.2.bias": (0, [4])})
    assert read_gguf_header(tmp_path / "q4.gguf") == {
        "input_blocks.0.0.weight": TensorHeader("GGML 12", (320, 4, 3, 3)),
        "out.2.bias": TensorHeader("F32", (4,)),
    }
    added = add(tmp_path, str(tmp_path / "q4.gguf"), "--config", str(folder))
    assert added.exit_code == 0, added.output
    model = Catalogue.read(tmp_path / "models.toml").models["q4"]
    assert (model.source, model.dtype, model.components["unet"].source) == ("whole", "bfloat16", "q4.gguf")


def test_autoencoder_that_a_file_lacks_is_that_of_its_pipeline(tmp_path: Path) -> None:
    write_stable_diffusion(tmp_path / "whole")
    write_safetensors(tmp_path / "no-vae.safetensors", {name: ("F16", [4, 4]) for name in (CLIP, UNET)})
    added = add(tmp_path, str(tmp_path / "no-vae.safetensors"), "--config", str(tmp_path / "whole"))
    assert added.exit_code == 0, added.output
    model = Catalogue.read(tmp_path / "models.toml").models["no-vae"]
    assert (model.source, model.config, model.components["vae"].source) == ("no-vae.safetensors", "whole", "whole")


def test_configuration_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {name: ("F16", [4, 4]) for name in WHOLE_XL})
    for config in ("./gone", "a/b/c"):
        refused = add(tmp_path, str(tmp_path / "model.safetensors"), "--config", config)
        assert (refused.exit_code, f"config: there is no folder {config}" in refused.stderr) == (2, True)


def test_configuration_is_for_files_alone(tmp_path: Path) -> None:
    refused = add(tmp_path, str(tmp_path), "--config", str(tmp_path))
    assert refused.exit_code == 2
    assert "config: " in refused.stderr


def test_file_serves_its_first_picture_with_its_configuration(tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "configuration")
    for weights in (tmp_path / "configuration").glob("*/*.safetensors"):
        weights.unlink()
    save_original(pipeline, tmp_path / "model.safetensors")
    added = add(tmp_path, str(tmp_path / "model.safetensors"), "--config", str(tmp_path / "configuration"))
    assert added.exit_code == 0, added.output
    catalogue = Catalogue.read(tmp_path / "models.toml")
    entry = catalogue.models["model"]
    assert (entry.config, entry.family, entry.dtype) == ("configuration", "stable-diffusion", "float32")
    adapter = load_model(catalogue, entry, torch.device("cpu"), 1 << 20)
    check_side_multiple(adapter, catalogue)
    assert first_picture(adapter).shape == (tiny.SIDE, tiny.SIDE, 3)


def test_configuration_that_is_none_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {XL: ("F16", [4])})
    (tmp_path / "empty").mkdir()
    refused = add(tmp_path, str(tmp_path / "model.safetensors"), "--config", str(tmp_path / "empty"))
    assert refused.exit_code == 2
    assert "has no model_index.json" in refused.stderr
