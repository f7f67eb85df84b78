"""Every family loads from a folder, behind its own adapter; what cannot be loaded says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, PreTrainedModel

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.catalogue.families import FAMILIES
from jobs.errors import InvalidConfiguration
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_engine, run, submit
from workers.families.diffusers import WholePipeline
from workers.families.registry import families
from workers.families.simulated import SimulatedModel
from workers.families.stable_diffusion import StableDiffusion
from workers.families.stable_diffusion_xl import StableDiffusionXL
from workers.loading.models import load_model

pytestmark = pytest.mark.filterwarnings(QUIET)

CPU = torch.device("cpu")


def load(entry: Model, folder: Path) -> Any:
    return load_model(Catalogue([entry], folder), entry, CPU, 1 << 20)


@pytest.mark.parametrize(
    ("family", "make", "kind"),
    [
        ("stable-diffusion", tiny.stable_diffusion, StableDiffusion),
        ("stable-diffusion-xl", tiny.stable_diffusion_xl, StableDiffusionXL),
        ("diffusers", tiny.stable_diffusion, WholePipeline),
    ],
)
def test_family_loads_and_makes_a_picture(family: str, make: Any, kind: Any, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "model")
    entry = tiny.model(family, source="model")
    adapter: Any = load(entry, tmp_path)
    assert isinstance(adapter, kind)
    engine = make_engine(adapter)
    ticket = submit(engine, tiny.spec(entry, num_inference_steps=2))
    run(engine, ticket)
    assert [picture.shape for picture in ticket.result()] == [(tiny.SIDE, tiny.SIDE, 3)]


@pytest.mark.parametrize("make", [tiny_pipelines.flux, tiny_pipelines.pixart, tiny_pipelines.sana])
def test_weights_that_are_tied_or_computed_are_not_missing(make: Any, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "model")
    assert isinstance(load(tiny.model("diffusers", source="model"), tmp_path), WholePipeline)


def test_variant_is_what_is_loaded(tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "model")
    pipeline.save_pretrained(tmp_path / "model", variant="fp16")
    for file in (tmp_path / "model").glob("*/*.safetensors"):
        if ".fp16." not in file.name:
            save_file({name: torch.zeros_like(each) for name, each in load_file(file).items()}, file, {"format": "pt"})
    adapter = load(tiny.model("stable-diffusion", source="model", variant="fp16"), tmp_path)
    for part in ("unet", "vae", "text_encoder"):
        assert_equal(getattr(adapter.pipeline, part), getattr(pipeline, part))


def assert_equal(loaded: torch.nn.Module, other: torch.nn.Module) -> None:
    """Of both, all tensors."""
    torch.testing.assert_close(dict(loaded.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


def test_simulated_model_reads_its_times_from_its_source(tmp_path: Path) -> None:
    assert isinstance(load(tiny.model("simulated", source="launch_s=0.02 row_s=0.001"), tmp_path), SimulatedModel)


@pytest.mark.parametrize("source", ["", "launch_s=0.02", "launch_s=fast row_s=1", "launch_s 0.02 row_s 1", "speed=3"])
def test_simulated_model_of_other_source_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="simulated"):
        load(tiny.model("simulated", source=source), tmp_path)


def test_scheduler_that_nobody_knows_is_refused_at_the_start(tmp_path: Path) -> None:
    entry = tiny.model("stable-diffusion", schedulers=("default", "dimm"))
    with pytest.raises(InvalidConfiguration, match="dimm"):
        load(entry, tmp_path)


def test_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(InvalidConfiguration, match=str(tmp_path / "model")):
        load(tiny.model("stable-diffusion", source="model"), tmp_path)


UNET = Path("unet/diffusion_pytorch_model.safetensors")
VAE = Path("vae/diffusion_pytorch_model.safetensors")
TEXT_ENCODER = Path("text_encoder/model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the built-in model, to be spoilt."""
    return Path(shutil.copytree(tiny.SHAPES, tmp_path / "model"))


def refusal(folder: Path, family: str = "stable-diffusion", **changes: Any) -> str:
    with pytest.raises(InvalidConfiguration) as raised:
        load(tiny.model(family, source=folder.name, **changes), folder.parent)
    reason = str(raised.value)
    assert reason.startswith(f"model {family} cannot be loaded from {folder}: ")
    assert "\n" not in reason
    return reason


def without(file: Path, *names: str) -> None:
    tensors = load_file(file)
    for name in names:
        del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("family", ["stable-diffusion", "diffusers"])
@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        (UNET, "conv_in.bias"),
        (VAE, "decoder.conv_in.bias"),
        (TEXT_ENCODER, "encoder.layers.0.layer_norm1.weight"),
    ],
)
def test_tensor_that_is_missing_is_named(folder: Path, family: str, file: Path, tensor: str) -> None:
    without(folder / file, tensor)
    assert f"{file.parent}: 1 tensor is in no file: {tensor}; download the whole model again" in refusal(folder, family)


def test_tensors_that_are_missing_are_counted(folder: Path) -> None:
    names = [
        f"encoder.layers.0.{part}.{kind}" for part in ("layer_norm1", "layer_norm2") for kind in ("bias", "weight")
    ]
    without(folder / TEXT_ENCODER, *names)
    assert f"text_encoder: 4 tensors are in no file: {', '.join(names[:3])} and 1 more" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "pickle"), [(UNET, "diffusion_pytorch_model.bin"), (TEXT_ENCODER, "pytorch_model.bin")]
)
def test_pickle_is_not_loaded_where_the_files_look_well(folder: Path, file: Path, pickle: str) -> None:
    torch.save(load_file(folder / file), folder / file.parent / pickle)
    (folder / file).rename(folder / file.parent / "other.safetensors")
    assert f"no file named {file.name}" in refusal(folder)


def test_loading_leaves_transformers_as_it_was(folder: Path) -> None:
    without(folder / TEXT_ENCODER, "final_layer_norm.bias")
    before = PreTrainedModel.__dict__["from_pretrained"]
    refusal(folder)
    assert PreTrainedModel.__dict__["from_pretrained"] is before
    assert isinstance(CLIPTextModel.from_pretrained(folder / "text_encoder"), CLIPTextModel)


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    rewrite(folder / "text_encoder" / "config.json", max_position_embeddings=8)
    assert "text_encoder: 1 tensor is of another shape than config.json says: " in refusal(folder)
    rewrite(folder / "unet" / "config.json", in_channels=5)
    assert "conv_in.weight" in refusal(folder)


def test_tokenizer_that_knows_no_letter_is_refused(folder: Path) -> None:
    rewrite(folder / "tokenizer" / "tokenizer.json", model={"type": "BPE", "vocab": {}, "merges": []})
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    assert "tokenizer" in refusal(folder)


@pytest.mark.parametrize("file", [UNET, VAE, TEXT_ENCODER])
def test_weights_that_are_cut_short_are_named(folder: Path, file: Path) -> None:
    (folder / file).write_bytes((folder / file).read_bytes()[:100_000])
    assert f"{folder / file} has 100000 bytes, and its header says" in refusal(folder)


def test_what_only_the_library_finds_is_one_sentence_too(folder: Path) -> None:
    """Its header says less than all of the file, so the file is of the right length; the tensor's own size is wrong."""
    (folder / UNET).write_bytes(of_one_tensor("conv_in.bias", [99], 4))
    assert "correct its entry in models.toml, or download the whole model again" in refusal(folder)


def test_device_that_cannot_be_moved_to_is_a_sentence(folder: Path) -> None:
    entry = tiny.model("stable-diffusion", source="model")
    with pytest.raises(InvalidConfiguration, match="model stable-diffusion cannot be loaded from"):
        load_model(Catalogue([entry], folder.parent), entry, torch.device("cuda:99"), 1 << 20)


def test_memory_that_does_not_suffice_is_told(folder: Path) -> None:
    """A sparse file of eight tebibytes, which takes as much memory twice in another type."""
    width, rows = 128, 1 << 35
    size = 2 * width * rows
    header = header_of_one_tensor("embeddings.token_embedding.weight", [rows, width], size)
    with (folder / TEXT_ENCODER).open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    rewrite(folder / "text_encoder" / "config.json", vocab_size=rows)
    assert "there is too little memory" in refusal(folder)


def header_of_one_tensor(name: str, shape: list[int], size: int, dtype: str = "F16") -> bytes:
    header = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}})
    return len(header).to_bytes(8, "little") + header.encode()


def of_one_tensor(name: str, shape: list[int], size: int) -> bytes:
    return header_of_one_tensor(name, shape, size, "F32") + bytes(size)


def test_pipeline_without_a_prompt_is_refused(tmp_path: Path) -> None:
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(tmp_path / "model")
    assert "DDPMPipeline takes no prompt" in refusal(tmp_path / "model", "diffusers")


@pytest.mark.parametrize(
    ("class_name", "made"),
    [("WanPipeline", "videos"), ("StableAudioPipeline", "sound"), ("KandinskyV22PriorPipeline", "embeddings")],
)
def test_model_that_makes_no_pictures_is_refused_before_it_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, class_name: str, made: str
) -> None:
    rewrite(folder / "model_index.json", _class_name=class_name)
    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", lambda *_, **__: pytest.fail("it is loaded"))
    assert f"{class_name} makes {made}, and this serves models that make pictures" in refusal(folder, "diffusers")


@pytest.mark.parametrize("family", ["stable-diffusion", "diffusers"])
@pytest.mark.parametrize(
    ("file", "tensor"),
    [(UNET, "conv_in.bias"), (VAE, "decoder.conv_in.bias"), (TEXT_ENCODER, "final_layer_norm.weight")],
)
def test_weights_that_are_no_numbers_are_named(folder: Path, family: str, file: Path, tensor: str) -> None:
    tensors = load_file(folder / file)
    tensors[tensor][0] = torch.nan
    save_file(tensors, folder / file, metadata={"format": "pt"})
    sentence = f"{file.parent}: 1 tensor is partly NaN (not a number): {tensor}; get the model from somewhere else"
    assert sentence in refusal(folder, family)


def test_infinite_weights_are_numbers(folder: Path) -> None:
    tensors = load_file(folder / UNET)
    tensors["conv_in.bias"][:2] = torch.tensor([torch.inf, -torch.inf])
    save_file(tensors, folder / UNET, metadata={"format": "pt"})
    load(tiny.model("diffusers", source=folder.name), folder.parent)


def test_model_of_another_family_is_refused(folder: Path) -> None:
    assert "the model has no text_encoder_2, tokenizer_2, which family stable-diffusion-xl needs" in refusal(
        folder, "stable-diffusion-xl"
    )


def test_families_are_found_by_their_modules() -> None:
    assert families() == sorted(["diffusers", *FAMILIES])


def test_family_that_there_is_not_is_named(tmp_path: Path) -> None:
    entry = tiny.model("diffusers", source="model").model_copy(update={"family": "flux-3"})
    with pytest.raises(
        InvalidConfiguration, match=r"there is no family 'flux-3'; there are aura-flow, chroma, diffusers, flux"
    ):
        load(entry, tmp_path)
