"""Of an entry of `models.toml`, the lines that say where a model's weights are, and how they are loaded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Dtype = Literal["float32", "bfloat16", "float16"]
Quantization = Literal["int8", "fp8", "nf4"]
Variant = Annotated[str, Field(pattern=r"^[\w-]+(\.[\w-]+)*$")]
GGUF_SUFFIX = ".gguf"  # a file whose weights stay quantized in memory
Word = Annotated[str, Field(pattern=r"^\S+$")]


class Table(BaseModel):
    """A table of the file, with no other lines than those that are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Component(Table):
    """
    A component of a pipeline that is loaded by itself.

    Attributes:
        source: A folder or a file (relative to the catalogue), or a hub id; unset, as the model's own.
        revision: Of a hub: its commit.
        subfolder: Of the source. Unset, the component's name where the source is a pipeline's folder, else none.
        dtype: Unset, the model's. Only of the autoencoder may it be another one.
        variant: Of its files, as the model's.
        quantization: Of its linear layers' weights, as the model's.
    """

    source: str | None = None
    revision: str | None = None
    subfolder: Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")] | None = None
    dtype: Dtype | None = None
    variant: Variant | None = None
    quantization: Quantization | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Component:
        if not self.model_fields_set:
            raise ValueError("it says nothing: set source, dtype or quantization, or leave it out")
        if self.revision is not None and self.source is None:
            raise ValueError("revision is that of source, which is not set")
        if self.quantization is not None and (self.source or "").endswith(GGUF_SUFFIX):
            raise ValueError("quantization: a file of GGUF is quantized already; leave it out")
        return self


class Loading(Table):
    """
    How the model of an entry is loaded.

    Attributes:
        variant: Of its files: "fp16" for `diffusion_pytorch_model.fp16.safetensors`, and its like.
        config: Of a model in one file: the folder (relative to the catalogue) of a pipeline whose configuration it has,
            or `id@commit` of the hub. Unset, that which its tensors look like.
        components: By the names that the pipeline has for them, such as "vae".
        textual_inversions: Files of learned words (relative to the catalogue), by the word that a prompt has for each.
        attention: What computes the attention of the transformer, as diffusers names it: "native", "flash", "sage", ...
        compile: "blocks": the repeated blocks of the transformer or the U-Net are compiled when a worker starts, for
            `compile_sizes` and the default size, and row counts that are powers of two. Others run as they are.
        compile_sizes: Widths and heights of pictures, in pixels.
        call: Further arguments of the pipeline's own call, the same for all jobs.
        safety_checker: Whether the pipeline's own looks at each picture, and fails a job of which it withholds one.
            Unset, as the family does: "diffusers" has it look where there is one, "stable-diffusion" does not.
        quantization: What the weights of linear layers of the transformer or the U-Net are while they wait in memory:
            "int8" and "fp8" (a byte each; the package torchao), "nf4" (half a byte; bitsandbytes, and a GPU). They are
            computed with as `dtype`.
        offload: Where weights wait in the machine's memory instead of a GPU's, which takes less of that, and more time.
            "model": whole components, of which one is on the device at a time; "group": layers, each for its moment. On
            a processor it has no effect, of which a worker warns: entries are for machines of both kinds.
        vae_tiling: Whether pictures are decoded in tiles, which takes less memory, and more time.
    """

    variant: Variant | None = None
    config: str | None = None
    components: dict[str, Component] = {}
    textual_inversions: dict[Word, str] = {}
    safety_checker: bool | None = None
    vae_tiling: bool = False
    quantization: Quantization | None = None
    offload: Literal["model", "group"] | None = None
    attention: str | None = None
    compile: Literal["blocks"] | None = None
    compile_sizes: tuple[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], ...] = ()
    call: dict[str, Any] = {}

    @property
    def quantizations(self) -> dict[str, Quantization]:
        """By the lines of the entry that ask for them: `quantization`, `components.text_encoder.quantization`."""
        own = {"quantization": self.quantization}
        own |= {f"components.{name}.quantization": each.quantization for name, each in self.components.items()}
        return {line: how for line, how in own.items() if how is not None}
