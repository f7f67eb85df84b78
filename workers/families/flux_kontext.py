"""FLUX.1 Kontext: FLUX.1, which looks at a picture while it makes another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from diffusers import FluxKontextPipeline
from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS
from PIL import Image

from jobs.catalogue.entry import Edited, WayToEdit
from workers.families.family import Family
from workers.families.flux import Flux
from workers.families.parts.autoencoder import Autoencoder, Decoder, from_pixels
from workers.runners.edit_work import Edit


class FluxKontext(Flux):
    """Adapts a `FluxKontextPipeline`."""

    _stepped: ClassVar[Mapping[Edited, WayToEdit]] = {"image": "instruction", "mask": "strength"}

    def _open_autoencoder(self) -> Decoder:
        self.pipeline.vae.to(memory_format=torch.channels_last)
        return Autoencoder(self.pipeline.vae, shows_masked=False, draws=False)

    def _seen(self, edit: Edit) -> list[torch.Tensor]:
        """The picture in one of the sizes that it was trained on; with a mask as it is, for there it is kept."""
        if edit.mask is not None:
            return [from_pixels(edit.image)]
        processor, picture = self.pipeline.image_processor, Image.fromarray(edit.image)
        shape = picture.width / picture.height
        _, *preferred = min(
            (abs(shape - width / height), width, height) for width, height in PREFERRED_KONTEXT_RESOLUTIONS
        )
        width, height = (side // self.side_multiple * self.side_multiple for side in preferred)
        seen: torch.Tensor = processor.preprocess(processor.resize(picture, height, width), height, width)
        return [seen]


FAMILY = Family(
    pipeline=FluxKontextPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    adapt=FluxKontext,
)
