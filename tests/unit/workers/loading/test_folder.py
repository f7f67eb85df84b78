"""A model's folder is found whole, or the first thing that is wrong with it is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workers.loading.weights.folder import first_fault

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SHARD = "diffusion_pytorch_model-00002-of-00002.safetensors"
INDEX = {
    "_class_name": ["a module", "APipeline"],
    "requires_safety_checker": False,
    "feature_extractor": [None, None],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "ByT5Tokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}


def safetensors(values: int = 2, size_bytes: int | None = None, tensor: str = "weight") -> bytes:
    size = 4 * values if size_bytes is None else size_bytes
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, tensor: {"dtype": "F32", "shape": [values], "data_offsets": [0, size]}}
    )
    return len(header).to_bytes(8, "little") + header.encode() + bytes(4 * values)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("scheduler", "text_encoder", "tokenizer", "tokenizer_2", "unet"):
        (tmp_path / name).mkdir()
    write_json(tmp_path / "model_index.json", INDEX)
    write_json(tmp_path / "scheduler" / "scheduler_config.json", {})
    for name, file in (("text_encoder", "model.safetensors"), ("unet", WEIGHTS)):
        write_json(tmp_path / name / "config.json", {})
        (tmp_path / name / file).write_bytes(safetensors())
    for name in ("tokenizer", "tokenizer_2"):
        write_json(tmp_path / name / "tokenizer_config.json", {})
    write_json(tmp_path / "tokenizer" / "vocab.json", {"a": 0})
    (tmp_path / "tokenizer" / "merges.txt").write_text("a b")
    return tmp_path


def fault_of(folder: Path, variant: str | None = None) -> str | None:
    fault = first_fault(folder, {"safety_checker"}, variant)
    return None if fault is None else f"{fault.found}; {fault.advice}"


def shard(folder: Path, *present: str) -> None:
    (folder / "unet" / WEIGHTS).unlink()
    weight_map = {"first": WEIGHTS.replace(".", "-00001-of-00002."), "second": SHARD}
    write_json(folder / "unet" / f"{WEIGHTS}.index.json", {"weight_map": weight_map})
    for tensor, name in weight_map.items():
        if name in (present or weight_map.values()):
            (folder / "unet" / name).write_bytes(safetensors(tensor=tensor))


def lose_tensor(folder: Path) -> None:
    shard(folder)
    (folder / "unet" / SHARD).write_bytes(safetensors(tensor="third"))


def shard_of_variant(folder: Path, *present: str) -> None:
    shard(folder, *present)
    unet = folder / "unet"
    names = {each: each.replace("model-", "model.fp16-") for each in (WEIGHTS.replace(".", "-00001-of-00002."), SHARD)}
    for plain, name in names.items():
        if (unet / plain).exists():
            (unet / plain).rename(unet / name)
    (unet / f"{WEIGHTS}.index.json").unlink()
    write_json(
        unet / f"{WEIGHTS}.index.fp16.json", {"weight_map": dict(zip(("first", "second"), names.values(), strict=True))}
    )


def shard_in_pickles(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).unlink()
    write_json(folder / "unet" / f"{WEIGHTS}.index.json", {"weight_map": {"first": "shard.bin"}})
    (folder / "unet" / "shard.bin").write_bytes(b"")
    (folder / "unet" / "other.safetensors").write_bytes(safetensors())


def test_whole_folder_has_no_fault(folder: Path) -> None:
    assert fault_of(folder) is None


def test_model_in_several_files_has_no_fault(folder: Path) -> None:
    shard(folder)
    assert fault_of(folder) is None


def test_component_that_is_loaded_is_looked_for(folder: Path) -> None:
    fault = first_fault(folder)
    assert fault is not None
    assert "names safety_checker, and there is no folder" in fault.found


def test_weights_that_nobody_loads_may_be_pointers(folder: Path) -> None:
    for name in ("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin", "flax_model.msgpack"):
        (folder / "unet" / name).write_bytes(POINTER)
    assert fault_of(folder) is None


OF_VARIANT = "diffusion_pytorch_model.fp16.safetensors"


def test_weights_of_a_variant_alone_have_to_be_asked_for(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / OF_VARIANT)
    assert fault_of(folder, "fp16") is None  # The text encoder has none of it, and its others are loaded.
    assert (
        fault_of(folder)
        == f'{folder}/unet has weights of variant fp16 alone; set variant = "fp16" of its entry in models.toml'
    )


def test_variant_in_several_files_has_no_fault(folder: Path) -> None:
    shard_of_variant(folder)
    assert fault_of(folder, "fp16") is None
    assert "has weights of variant fp16 alone" in str(fault_of(folder))


def test_variant_is_looked_at(folder: Path) -> None:
    (folder / "unet" / OF_VARIANT).write_bytes(POINTER)
    assert fault_of(folder) is None
    assert f"{OF_VARIANT} is a git-lfs pointer" in str(fault_of(folder, "fp16"))


def test_variant_that_lacks_a_file_is_named(folder: Path) -> None:
    shard_of_variant(folder, WEIGHTS.replace(".", "-00001-of-00002."))
    assert f"{SHARD.replace('model-', 'model.fp16-')} is not there" in str(fault_of(folder, "fp16"))


def test_variant_that_no_component_has_is_named(folder: Path) -> None:
    assert f"no component in {folder} has weights of variant bf16; leave `variant` out" in str(fault_of(folder, "bf16"))


def test_component_may_lie_in_the_folder_itself(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").rename(folder / "scheduler_config.json")
    (folder / "scheduler").rmdir()
    assert fault_of(folder) is None


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda at: (at / "model_index.json").unlink(), r"has no model_index.json; put a whole diffusers folder"),
        (lambda at: (at / "model_index.json").write_text("{"), r"model_index.json is not valid JSON: .* line 1"),
        (lambda at: (at / "model_index.json").write_text("[]"), r"model_index.json holds no JSON object"),
        (lambda at: (at / "unet" / WEIGHTS).write_bytes(POINTER), r"unet/diff.* is a git-lfs pointer.*`git lfs pull`"),
        (lambda at: (at / "tokenizer/merges.txt").write_bytes(POINTER), r"merges.txt is a git-lfs pointer"),
        (lambda at: (at / "unet" / WEIGHTS).write_bytes(b""), r"unet/diff.* is cut short, .* it has 0 bytes"),
        (lambda at: (at / "unet" / WEIGHTS).write_bytes(safetensors()[:9]), r"unet/diff.* is cut short"),
        (lambda at: (at / "unet" / WEIGHTS).write_bytes(safetensors()[:-1]), r"has 115 bytes, .* header says 116"),
        (lambda at: (at / "unet" / WEIGHTS).write_bytes(safetensors() + b"0"), r"has 117 bytes, .* header says 116"),
        (lambda at: (at / "unet" / WEIGHTS).write_bytes(b"\x02" + bytes(7) + b"[]"), r"its header cannot be read"),
        (lambda at: (at / "unet" / WEIGHTS).unlink(), r"unet has no weights, such as"),
        (lambda at: (at / "unet" / WEIGHTS).rename(at / "unet/diffusion_pytorch_model.bin"), r"model.bin is a pickle"),
        (lambda at: (at / "unet" / WEIGHTS).rename(at / "unet/anything.ckpt"), r"anything.ckpt is a pickle"),
        (shard_in_pickles, r"shard.bin is a pickle.*; get it as safetensors"),
        (lambda at: shard(at, WEIGHTS.replace(".", "-00001-of-00002.")), rf"{SHARD} is not there"),
        (lose_tensor, rf"{SHARD} has no second, which the model's index says it has; copy the model again"),
        (lambda at: (at / "unet/config.json").write_text('{"a":'), r"unet/config.json is not valid JSON"),
        (lambda at: (at / "unet/config.json").unlink(), r"unet has no configuration"),
        (lambda at: (at / "scheduler/scheduler_config.json").unlink(), r"scheduler has no configuration"),
        (lambda at: [(at / "tokenizer" / name).unlink() for name in ("vocab.json", "merges.txt")], r"no vocabulary"),
        (lambda at: (at / "tokenizer").rename(at / "elsewhere"), r"names tokenizer, and there is no folder"),
        (lambda at: (at / "unet/more.json").symlink_to("gone"), r"more.json links to what is not there"),
    ],
)
def test_fault_is_named(folder: Path, spoil: Callable[[Path], object], found: str) -> None:
    spoil(folder)
    fault = fault_of(folder)
    assert fault is not None
    assert re.search(found, fault), fault
