"""Of an entry of `models.toml`, the lines that say where a model's weights are, and how they are loaded."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Variant = Annotated[str, Field(pattern=r"^[\w-]+(\.[\w-]+)*$")]


class Table(BaseModel):
    """A table of the file, with no other lines than those that are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Loading(Table):
    """
    How the model of an entry is loaded.

    Attributes:
        variant: Of its files: "fp16" for `diffusion_pytorch_model.fp16.safetensors`, and its like.
        config: Of a model in one file: the folder (relative to the catalogue) of a pipeline whose configuration it has,
            or `id@commit` of the hub. Unset, that which its tensors look like.
    """

    variant: Variant | None = None
    config: str | None = None
