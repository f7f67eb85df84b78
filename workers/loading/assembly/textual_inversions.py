"""Adds learned words to a pipeline of CLIP's text encoders (Gal et al. 2022, "An Image is Worth One Word")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from workers.loading.errors import NotLoaded

_OF_SDXL = {"clip_l": "", "clip_g": "_2"}  # tensors of a file, and the ends of its text encoders' names


def add_textual_inversions(pipeline: Any, catalogue: Catalogue, entry: Model) -> None:
    """
    Give the tokenizers and text encoders of a pipeline the words of its entry.

    Raises:
        NotLoaded: A file is of another sort of model.
    """
    for word, source in entry.textual_inversions.items():
        tensors = load_file(catalogue.place_of(source))
        ends = _OF_SDXL if hasattr(pipeline, "text_encoder_2") else {next(iter(tensors), ""): ""}
        if tensors.keys() != ends.keys():
            raise NotLoaded(
                f"textual_inversions.{word}: {Path(source).name} has the tensors {', '.join(tensors) or 'of nothing'}, "
                f"and one of family {entry.family} has {_said(pipeline)}; get one that was made for it"
            )
        for name, end in ends.items():
            _add(pipeline, word, tensors[name], end)


def _add(pipeline: Any, word: str, vectors: Any, end: str) -> None:
    encoder = getattr(pipeline, f"text_encoder{end}")
    width = encoder.get_input_embeddings().weight.shape[-1]
    if vectors.shape[-1] != width:
        raise NotLoaded(
            f"textual_inversions.{word}: its vectors have {vectors.shape[-1]} numbers, and those of text_encoder{end} "
            f"{width}; get one that was made for this model"
        )
    tokenizer = getattr(pipeline, f"tokenizer{end}")
    pipeline.load_textual_inversion({word: vectors}, token=word, tokenizer=tokenizer, text_encoder=encoder)


def _said(pipeline: Any) -> str:
    return " and ".join(_OF_SDXL) if hasattr(pipeline, "text_encoder_2") else "one"
