"""Sources that no worker serves, each for one reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ops.doctor.finding import State
from tests.integration.workers.hub import COMMIT, REPOSITORY, TAG
from tests.unit.ops.models.table.good import GOOD, STORED, WEIGHTS, WORD
from tests.unit.workers import tiny
from tests.unit.workers.original import save_original
from workers.process.stored.listing import SUMS

_UNET, _TEXTS = Path("model/unet") / WEIGHTS, Path("model/text_encoder/model.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """
    One.

    Attributes:
        of: The source in `GOOD` that is spoilt.
        spoil: What is done to its folder; gives lines of its entry that are others.
        start: What a worker says when it starts.
        check: What `models check` says, without a look at the weights; None where it says the same. With `--load` it
            says what a worker does.
        state: Of what it says.
    """

    start: str
    spoil: Callable[[Path], object] = lambda _: None
    of: str = "folder"
    check: str | None = None
    state: State = State.FAILURE


def _without(file: Path, tensor: str) -> None:
    tensors = load_file(file)
    del tensors[tensor]
    save_file(tensors, file, {"format": "pt"})


def _with(file: Path, name: str, value: torch.Tensor) -> None:
    save_file(load_file(file) | {name: value}, file, {"format": "pt"})


def _configure(file: Path, **changes: Any) -> int:
    return file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def _rename(file: Path, name: str) -> Path:
    return file.rename(file.with_name(name))


def _nan(file: Path, name: str) -> None:
    tensors = load_file(file)
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, file, {"format": "pt"})


def _file_without(at: Path, prefix: str) -> None:
    save_original(tiny.stable_diffusion(), at / "mine.safetensors", [prefix])


def _word_of_another_width(at: Path) -> None:
    save_file({"emb_params": torch.zeros(1, 9)}, at / "style.safetensors")


def _letters_lost(at: Path) -> None:
    tokenizer = at / "model" / "tokenizer"
    _configure(tokenizer / "tokenizer.json", model={"type": "BPE", "vocab": {}, "merges": []})
    if (tokenizer / "vocab.json").exists():
        (tokenizer / "vocab.json").write_text("{}")


_SEEN_BY_LOADING: dict[str, Any] = {"check": "", "state": State.OK}  # Names and shapes of tensors, and their numbers.
_WHOLE_FILE = "file with a configuration"

BROKEN: dict[str, Broken] = {
    "no folder": Broken(spoil=lambda at: {"source": "./gone"}, start="there is no folder"),
    "scheduler that nobody knows": Broken(
        spoil=lambda _: {"schedulers": ["default", "dimm"]}, start="no scheduler dimm is known"
    ),
    "variant that is not there": Broken(spoil=lambda _: {"variant": "fp16"}, start="has weights of variant fp16"),
    "variant alone, which the entry does not name": Broken(
        of="folder of variant fp16", spoil=lambda _: {"variant": None}, start='set variant = "fp16" of its entry'
    ),
    "unet's tensor that no file has": Broken(
        spoil=lambda at: _without(at / _UNET, "conv_in.bias"),
        start="unet: 1 tensor is in no file: conv_in.bias",
        **_SEEN_BY_LOADING,
    ),
    "text encoder's tensor that no file has": Broken(
        spoil=lambda at: _without(at / _TEXTS, "final_layer_norm.bias"),
        start="text_encoder: 1 tensor is in no file: final_layer_norm.bias",
        **_SEEN_BY_LOADING,
    ),
    "unet's tensor of another shape": Broken(
        spoil=lambda at: _with(at / _UNET, "conv_in.bias", torch.zeros(5)), start="conv_in.bias", **_SEEN_BY_LOADING
    ),
    "text encoder's tensor of another shape": Broken(
        spoil=lambda at: _configure(at / "model/text_encoder/config.json", max_position_embeddings=8),
        start="text_encoder: 1 tensor is of another shape than config.json says",
        **_SEEN_BY_LOADING,
    ),
    "numbers that are none": Broken(
        spoil=lambda at: _nan(at / _UNET, "conv_in.bias"),
        start="unet: 1 tensor is partly NaN (not a number): conv_in.bias",
        **_SEEN_BY_LOADING,
    ),
    "tokenizer that knows no letter": Broken(spoil=_letters_lost, start="tokenizer", **_SEEN_BY_LOADING),
    "class of another family": Broken(
        spoil=lambda _: {"family": "stable-diffusion-xl"},
        start="the model has no text_encoder_2, tokenizer_2, which family stable-diffusion-xl needs",
        check="model_index.json names StableDiffusionPipeline, and family is stable-diffusion-xl",
        state=State.WARNING,
    ),
    "pipeline that makes no pictures": Broken(
        spoil=lambda at: (
            _configure(at / "model/model_index.json", _class_name="WanPipeline") and {"family": "diffusers"}
        ),
        start="WanPipeline makes videos",
        **_SEEN_BY_LOADING,
    ),
    "index that is no object": Broken(
        spoil=lambda at: (at / "model/model_index.json").write_text("[]"), start="holds no JSON object"
    ),
    "shard that is not there": Broken(
        of="folder in shards",
        spoil=lambda at: min((at / "model/unet").glob("*-of-*")).unlink(),
        start="is not there, and the model's index names it",
    ),
    "link to what is not there": Broken(
        of="folder of links", spoil=lambda at: (at / _UNET).resolve().unlink(), start="links to what is not there"
    ),
    "file that is a pickle": Broken(
        of=_WHOLE_FILE,
        spoil=lambda at: _rename(at / "mine.safetensors", "mine.ckpt") and {"source": "mine.ckpt"},
        start="is a pickle, which may run code",
    ),
    "file that is cut short": Broken(
        of=_WHOLE_FILE, spoil=lambda at: _cut(at / "mine.safetensors"), start="bytes, and its header says"
    ),
    "file without an autoencoder": Broken(
        of=_WHOLE_FILE,
        spoil=lambda at: _file_without(at, "first_stage_model."),
        start="the file has no vae: name one as source of [models.mine.components.vae]",
        **_SEEN_BY_LOADING,
    ),
    "file without a tensor": Broken(
        of=_WHOLE_FILE,
        spoil=lambda at: _file_without(at, "model.diffusion_model.out.2.bias"),
        start="1 tensor is not in it: conv_out.bias",
        **_SEEN_BY_LOADING,
    ),
    "file of another family": Broken(
        of=_WHOLE_FILE,
        spoil=lambda _: {"family": "stable-diffusion-xl"},
        start="its configuration is one of StableDiffusionPipeline, and family stable-diffusion-xl",
        **_SEEN_BY_LOADING,
    ),
    "file of a family that does not load so": Broken(
        of=_WHOLE_FILE,
        spoil=lambda _: {"family": "krea2"},
        start="Krea2Pipeline does not load from one file",
        **_SEEN_BY_LOADING,
    ),
    "file without a configuration, offline": Broken(
        of=_WHOLE_FILE,
        spoil=lambda _: {"config": None},
        start="is taken for one like stable-diffusion-v1-5/stable-diffusion-v1-5: the configuration of",
        **_SEEN_BY_LOADING,
    ),
    "configuration that is not there": Broken(
        of=_WHOLE_FILE, spoil=lambda _: {"config": "./gone"}, start="there is no folder ./gone"
    ),
    "configuration of a branch": Broken(
        of=_WHOLE_FILE, spoil=lambda _: {"config": REPOSITORY}, start=f'set config = "{REPOSITORY}@<commit>"'
    ),
    "configuration without a vocabulary": Broken(
        of=_WHOLE_FILE,
        spoil=lambda at: shutil.rmtree(at / "configuration" / "tokenizer"),
        start="names tokenizer, and there is no folder",
    ),
    "hub's tag": Broken(
        spoil=lambda _: {"source": REPOSITORY, "revision": TAG}, start=f"revision {TAG!r} is no commit"
    ),
    "hub, offline": Broken(
        spoil=lambda _: {"source": REPOSITORY, "revision": COMMIT}, start=f"{REPOSITORY} at {COMMIT} is not here"
    ),
    "configuration of the hub, offline": Broken(
        of=_WHOLE_FILE,
        spoil=lambda _: {"config": f"{REPOSITORY}@{COMMIT}"},
        start=f"config: {REPOSITORY} at {COMMIT} is not here",
    ),
    "store that has no such model": Broken(
        of="folder in the store", spoil=lambda _: {"source": f"{STORED}gone"}, start="has nothing at s3://"
    ),
    "bucket that is not there": Broken(
        of="folder in the store", spoil=lambda _: {"source": "s3://no-such-bucket/model"}, start="has no bucket"
    ),
    "folder in the store with a pointer": Broken(
        of="folder in the store",
        spoil=lambda at: (at / _UNET).write_text("version https://git-lfs.github.com/spec/v1\n"),
        start="is a git-lfs pointer",
    ),
    "folder in the store that is cut short": Broken(
        of="folder in the store", spoil=lambda at: _cut(at / _UNET), start="bytes, and its header says"
    ),
    "folder in the store, of another content than its checksums": Broken(
        of="folder in the store",
        spoil=lambda at: (at / "model" / SUMS).write_text(f"{'0' * 64}  model_index.json\n"),
        start="has SHA-256 ",
        **_SEEN_BY_LOADING,
    ),
    "gguf as a whole model": Broken(
        spoil=lambda at: (at / "q4.gguf").write_bytes(b"GGUF") and {"source": "q4.gguf"},
        start="holds one component; name it as source of [models.mine.components.transformer]",
    ),
    "component of a pointer": Broken(
        of="unet of a file",
        spoil=lambda at: (at / "unet.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        start="components.unet: ",
    ),
    "component that lacks a tensor": Broken(
        of="unet of a file",
        spoil=lambda at: _without(at / "unet.safetensors", "conv_out.bias"),
        start="unet.safetensors lacks tensors of UNet2DConditionModel",
        **_SEEN_BY_LOADING,
    ),
    "component that the pipeline has not": Broken(
        spoil=lambda _: {"components": {"transformer": {"source": "model"}}},
        start="components.transformer: ",
    ),
    "component's subfolder that is not there": Broken(
        of="autoencoder of a subfolder, for a file that has none",
        spoil=lambda at: _rename(at / "others" / "first", "second"),
        start="others/first; put it there",
    ),
    "component of a branch": Broken(
        spoil=lambda _: {"components": {"vae": {"source": "some/vae", "revision": "main"}}},
        start="components.vae: there is no folder some/vae, and of a hub's model revision 'main' is no commit",
    ),
    "text encoder of one file": Broken(
        of="unet of a file",
        spoil=lambda _: {"components": {"text_encoder": {"source": "unet.safetensors"}}},
        start="unet has no weights",
    ),
    "learned word that is not there": Broken(
        of="learned word",
        spoil=lambda at: (at / "style.safetensors").unlink(),
        start=f"textual_inversions.{WORD}: there is no file style.safetensors",
    ),
    "learned word of another model": Broken(
        of="learned word",
        spoil=_word_of_another_width,
        start="its vectors have 9 numbers, and those of text_encoder 32",
        **_SEEN_BY_LOADING,
    ),
    "safety checker that the model has not": Broken(
        spoil=lambda _: {"safety_checker": True},
        start="safety_checker: the model comes without one",
        **_SEEN_BY_LOADING,
    ),
    "attention that nobody has": Broken(
        spoil=lambda _: {"attention": "swift"}, start="attention: there is no 'swift'", **_SEEN_BY_LOADING
    ),
}
assert not [name for name, each in BROKEN.items() if each.of not in GOOD]
