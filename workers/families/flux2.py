"""FLUX.2 dev: a language model's text, guidance as an input of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import Flux2Pipeline
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu, format_input
from PIL import Image
from torch.nn import functional

from jobs.catalogue.entry import Edited, WayToEdit
from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.family import FlowFamily
from workers.families.flow.references import cropped, seen_by_field, with_references
from workers.families.flow.rows import FlowRow, guidance_scales, stack, timesteps
from workers.families.parts.autoencoder import Decoder, Likeliest, Source, Statistics, from_pixels, to_pixels
from workers.families.parts.devices import device_of
from workers.families.parts.embeddings import Embedding
from workers.runners.edit_work import Edit
from workers.runners.postprocess import Pixels

_MOST_SEEN = 1024 * 1024  # pixels of a picture that is looked at


class Flux2Autoencoder:
    """An `AutoencoderKLFlux2`, whose latents are normalised patch by patch."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._vae = pipeline.vae
        config, norm = self._vae.config, self._vae.bn
        self._mean = norm.running_mean.view(1, -1, 1, 1)
        self._std = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + config.batch_norm_eps)

    @property
    def channels(self) -> int:
        """Of latents, in patches of two by two."""
        return 4 * int(self._vae.config.latent_channels)

    def decode(self, latents: torch.Tensor) -> list[Pixels]:
        """The pictures of latents, (n, C, h / 2, w / 2)."""
        latents = latents * self._std.to(latents) + self._mean.to(latents)
        latents = self._pipeline._unpatchify_latents(latents).to(self._vae.dtype)
        return to_pixels(self._vae.decode(latents, return_dict=False)[0])

    def encode(self, edit: Edit, size: Sequence[int]) -> Source:
        """The picture, of which nothing is drawn; masks fade where a patch is half masked."""
        image, mask = from_pixels(edit.image), None
        if edit.mask is not None:
            mask = torch.from_numpy(edit.mask)[None, None].to(device_of(self._vae), image.dtype)
            mask = functional.interpolate(mask, size=tuple(size), mode="bilinear")
        latents = Likeliest(latents=self.look_at(image))
        return Source(image=latents, masked=None, mask=mask, statistics=Statistics(mean=0.0, scale=1.0))

    def look_at(self, image: torch.Tensor) -> torch.Tensor:
        """As of `Autoencoder`, (1, C, h / 2, w / 2)."""
        encoded = self._vae.encode(image.to(device_of(self._vae), self._vae.dtype))
        latents = self._pipeline._patchify_latents(encoded.latent_dist.mode())
        return (latents - self._mean.to(latents)) / self._std.to(latents)


class Flux2(FlowFamily):
    """
    Adapts a `Flux2Pipeline`.

    Its transformer has one set of position ids for all rows, and no mask of texts: one size and one text length a pass.
    """

    _keeps_flow_sigmas = True
    _stepped: ClassVar[Mapping[Edited, WayToEdit]] = {"image": "instruction"}

    @property
    def guidance(self) -> Guidance:
        return "embedded" if self._transformer.config.guidance_embeds else "none"

    def _open_autoencoder(self) -> Decoder:
        self.pipeline.vae.to(memory_format=torch.channels_last)
        return Flux2Autoencoder(self.pipeline)

    def _latent_shape(self, spec: GenerateSpec) -> tuple[int, int, int]:
        factor = self.side_multiple
        return (self._autoencoder.channels, spec.height // factor, spec.width // factor)

    def _mu(self, spec: GenerateSpec) -> float:
        _, height, width = self._latent_shape(spec)
        return float(compute_empirical_mu(height * width, spec.num_inference_steps))

    def _fixed_length(self) -> int:
        return self.max_tokens

    def _tokens(self, text: str) -> int:
        messages = format_input([text], system_message=self.pipeline.system_message)
        return len(self.pipeline.tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"][0])

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.flatten(2).transpose(1, 2)

    def _unpack(self, latents: torch.Tensor, spec: GenerateSpec) -> torch.Tensor:
        return latents.transpose(1, 2).unflatten(2, self._latent_shape(spec)[1:])

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        encoded, _ids = self.pipeline.encode_prompt(texts, device=self._text_device, max_sequence_length=length)
        return [(each,) for each in encoded]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        samples = stack([row.sample for row in rows]).to(self._dtype)
        texts = stack([row.text[0] for row in rows])
        predicted: torch.Tensor = self._transformer(
            hidden_states=with_references(samples, [row.references for row in rows]),
            timestep=timesteps(rows).to(self._dtype) / 1000,
            guidance=guidance_scales(rows) if self.guidance == "embedded" else None,
            encoder_hidden_states=texts,
            txt_ids=self.pipeline._prepare_text_ids(texts).to(self._device),
            img_ids=self._image_ids(rows),
            return_dict=False,
        )[0]
        return list(predicted[:, : samples.shape[1]])

    def _image_ids(self, rows: Sequence[FlowRow]) -> torch.Tensor:
        """(R, T, 4): where each token is; time, row, column, layer. What is looked at has times of its own."""
        height, width = (side // self.side_multiple for side in rows[0].size)
        ids: torch.Tensor = self.pipeline._prepare_latent_ids(torch.empty(1, 0, height, width))
        if rows[0].references is not None:
            seen = [torch.empty(1, 0, *size) for size in rows[0].references.sizes]
            ids = torch.cat([ids, self.pipeline._prepare_image_ids(seen)], dim=1)
        return ids.expand(len(rows), -1, -1).to(self._device)

    def _seen(self, edit: Edit) -> list[torch.Tensor]:
        """Up to a megapixel of each, its sides in multiples."""
        seen = []
        for pixels in seen_by_field(edit, self.entry).values():
            image = Flux2ImageProcessor._resize_if_exceeds_area(Image.fromarray(pixels), _MOST_SEEN)
            seen.append(cropped(image, self.side_multiple))
        return seen


FAMILY = Family(
    pipeline=Flux2Pipeline, parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"), adapt=Flux2
)
