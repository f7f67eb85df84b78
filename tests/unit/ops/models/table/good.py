"""Sources that are served, in every form that an entry can take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from tests.integration.workers.hub import COMMIT, REPOSITORY
from tests.unit.workers import tiny, tiny_files
from tests.unit.workers.gguf_files import write_gguf
from tests.unit.workers.original import save_original
from tests.unit.workers.original_flow import save_z_image
from workers.bench import tiny_pipelines

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
STORED = "s3://BUCKET/models/"
WORD = "<style>"
WEIGHTS = "diffusion_pytorch_model.safetensors"

Lines = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """
    One.

    Attributes:
        write: Its files into a folder; gives the lines of its entry that are not `BASE`.
        repository: Of the hub, whose files are those of `hub` in the folder; None where no hub is asked.
        is_stored: Whether its files are in a bucket, and not in the folder: what is `s3://BUCKET/…` in its lines.
        make: The pipeline whose pictures it makes; None where it makes others.
        prompt: Of the picture that tells whether it does.
    """

    write: Callable[[Path], Mapping[str, Any]]
    repository: str | None = None
    is_stored: bool = False
    make: Callable[[], Any] | None = tiny.stable_diffusion
    prompt: str = "a red circle"


def _folder(folder: Path, **options: Any) -> Lines:
    tiny.stable_diffusion().save_pretrained(folder / "model", **options)
    return {"source": "model"}


def _shards(folder: Path) -> Lines:
    lines = _folder(folder, max_shard_size="50KB")
    assert len([*(folder / "model" / "unet").glob("*-of-*.safetensors")]) > 1
    return lines


def _links(folder: Path) -> Lines:
    """As the hub's own cache has them."""
    lines = _folder(folder)
    for number, file in enumerate(sorted((folder / "model").rglob("*.*"))):
        (folder / f"blob{number}").write_bytes(file.read_bytes())
        file.unlink()
        file.symlink_to(folder / f"blob{number}")
    return lines


def _file(folder: Path, without: tuple[str, ...] = ()) -> Lines:
    save_original(tiny.stable_diffusion(), folder / "mine.safetensors", without)
    return {"source": "mine.safetensors"}


def _file_with_configuration(folder: Path, without: tuple[str, ...] = ()) -> Lines:
    tiny.stable_diffusion().save_pretrained(folder / "configuration")
    for weights in (folder / "configuration").glob("*/*.safetensors"):
        weights.unlink()
    return _file(folder, without) | {"config": "configuration"}


def _at_hub(folder: Path, make: Callable[[], Any] = tiny.stable_diffusion) -> Lines:
    make().save_pretrained(folder / "hub")
    return {"source": REPOSITORY, "revision": COMMIT}


def _file_of_xl(folder: Path) -> Lines:
    tiny_files.stable_diffusion_xl().save_pretrained(folder / "hub")
    save_original(tiny_files.stable_diffusion_xl(), folder / "xl.safetensors")
    return {"source": "xl.safetensors", "family": "stable-diffusion-xl"}


def _file_at_hub(folder: Path, **lines: Any) -> Lines:
    _at_hub(folder)
    return _file(folder) | lines


def _other_autoencoder(folder: Path, where: Path) -> None:
    torch.manual_seed(9)
    other = AutoencoderKL.from_config(tiny.stable_diffusion().vae.config)
    assert isinstance(other, AutoencoderKL)
    other.eval().save_pretrained(folder / where)


def _autoencoder(folder: Path) -> Lines:
    _other_autoencoder(folder, Path("other"))
    return _folder(folder) | {"components": {"vae": {"source": "other"}}}


def _autoencoder_in_a_subfolder(folder: Path) -> Lines:
    tiny.stable_diffusion().vae.save_pretrained(folder / "others" / "first")
    lines = _file_with_configuration(folder, ("first_stage_model.",))
    return lines | {"components": {"vae": {"source": "others", "subfolder": "first"}}}


def _text_encoder_of_hub(folder: Path) -> Lines:
    _at_hub(folder)
    component = {"source": REPOSITORY, "revision": COMMIT, "subfolder": "text_encoder"}
    return _folder(folder) | {"components": {"text_encoder": component}}


def _unet_of_a_file(folder: Path) -> Lines:
    lines = _folder(folder)
    (folder / "model" / "unet" / WEIGHTS).rename(folder / "unet.safetensors")
    return lines | {"components": {"unet": {"source": "unet.safetensors"}}}


def _unet_of_a_whole_file(folder: Path) -> Lines:
    lines = _folder(folder)
    (folder / "model" / "unet" / WEIGHTS).unlink()
    save_original(tiny.stable_diffusion(), folder / "whole.safetensors")
    return lines | {"components": {"unet": {"source": "whole.safetensors"}}}


def _learned_word(folder: Path) -> Lines:
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(3))
    save_file({"emb_params": vectors}, folder / "style.safetensors")
    return _folder(folder) | {"textual_inversions": {WORD: "style.safetensors"}}


def _transformer_of_a_file(folder: Path) -> Lines:
    pipeline = tiny_pipelines.z_image()
    pipeline.save_pretrained(folder / "model")
    (folder / "model" / "transformer" / WEIGHTS).unlink()
    save_z_image(pipeline, folder / "z-image.safetensors")
    components = {"transformer": {"source": "z-image.safetensors"}}
    return {"source": "model", "family": "z-image", "schedulers": ["default"], "components": components}


def _transformer_of_gguf(folder: Path) -> Lines:
    lines = _transformer_of_a_file(folder)
    write_gguf(folder / "q8.gguf", tiny_pipelines.z_image().transformer.state_dict())
    return lines | {"components": {"transformer": {"source": "q8.gguf"}}}


def _variant_beside_others(folder: Path) -> Lines:
    """The plain files are zeros, which nobody asks for."""
    lines = _folder(folder)
    _folder(folder, variant="fp16")
    for file in (folder / "model").glob("*/*.safetensors"):
        if ".fp16." not in file.name:
            save_file({name: torch.zeros_like(each) for name, each in load_file(file).items()}, file, {"format": "pt"})
    return lines | {"variant": "fp16"}


def _stored_file(folder: Path) -> Lines:
    return {name: f"{STORED}{said}" for name, said in _file_with_configuration(folder).items()}


def _stored_parts(folder: Path) -> Lines:
    """All but what a folder here has; and the learned word that nobody asks for."""
    lines = _unet_of_a_file(folder) | _learned_word(folder)
    (folder / "model" / "unet" / WEIGHTS).unlink()
    component = {"source": f"{STORED}unet.safetensors"}
    words = {WORD: f"{STORED}style.safetensors"}
    return lines | {"source": f"{STORED}model", "components": {"unet": component}, "textual_inversions": words}


GOOD: dict[str, Form] = {
    "folder": Form(write=_folder),
    "folder in shards": Form(write=_shards),
    "folder of links": Form(write=_links),
    "folder of variant fp16": Form(write=lambda at: _folder(at, variant="fp16") | {"variant": "fp16"}),
    "folder with variant fp16 beside others": Form(write=_variant_beside_others),
    "folder behind its pipeline's own call": Form(write=lambda at: _folder(at) | {"family": "diffusers"}),
    "folder of another dtype": Form(write=lambda at: _folder(at) | {"dtype": "bfloat16"}, make=None),
    "file with a configuration": Form(write=_file_with_configuration),
    "file without a configuration": Form(write=_file_at_hub, repository=SD15),
    "file with a configuration of the hub": Form(
        write=lambda at: _file_at_hub(at, config=f"{REPOSITORY}@{COMMIT}"), repository=REPOSITORY
    ),
    "file of SDXL without a configuration": Form(
        write=_file_of_xl, repository=SDXL, make=tiny_files.stable_diffusion_xl
    ),
    "hub at a commit": Form(write=_at_hub, repository=REPOSITORY),
    "autoencoder of another folder": Form(write=_autoencoder, make=None),
    "autoencoder of a subfolder, for a file that has none": Form(write=_autoencoder_in_a_subfolder),
    "autoencoder of another dtype": Form(
        write=lambda at: _folder(at) | {"dtype": "bfloat16", "components": {"vae": {"dtype": "float32"}}}, make=None
    ),
    "text encoder of the hub": Form(write=_text_encoder_of_hub, repository=REPOSITORY),
    "unet of a file": Form(write=_unet_of_a_file),
    "unet of a whole model's file": Form(write=_unet_of_a_whole_file),
    "transformer of a file": Form(write=_transformer_of_a_file, make=tiny_pipelines.z_image),
    "transformer of GGUF": Form(write=_transformer_of_gguf, make=None),
    "folder in the store": Form(write=lambda at: _folder(at) | {"source": f"{STORED}model"}, is_stored=True),
    "file in the store, its configuration, too": Form(write=_stored_file, is_stored=True),
    "parts in the store": Form(write=_stored_parts, is_stored=True),
    "learned word": Form(write=_learned_word),
    "learned word that is asked for": Form(write=_learned_word, make=None, prompt=f"a red circle, {WORD}"),
}
