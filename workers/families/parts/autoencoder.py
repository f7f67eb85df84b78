"""Between pixels and latents, for families whose autoencoder is an `AutoencoderKL` or does as that does."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents
from torch.nn import functional

from jobs.errors import ErrorCode
from workers.engine.errors import GenerationFailed
from workers.families.parts.devices import device_of
from workers.runners.edit_work import Edit
from workers.runners.postprocess import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """
    How latents differ from what the autoencoder works with: latents = (its - mean) * scale.

    Attributes:
        mean, scale: A number, or one for each channel, (1, C, 1, 1).
    """

    mean: torch.Tensor | float
    scale: torch.Tensor | float


@dataclass(frozen=True, kw_only=True)
class Likeliest:
    """
    Of a distribution of latents: nothing is drawn. `retrieve_latents` reads it.

    Attributes:
        latents: (1, C, h, w).
    """

    latents: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    The picture that is edited, encoded; nothing is drawn yet, so it is the same for every image of a job.

    Attributes:
        image: A distribution of latents, of one row, or `Likeliest` ones.
        masked: The same, without what is under the mask. For models that never see it, whatever draws as much: their
            pipelines draw it all the same. None without a mask, and where nothing is drawn.
        mask: (1, 1, h, w), 1 where it is repainted; None without one.
        statistics: Of the latents.
    """

    image: Any
    masked: Any
    mask: torch.Tensor | None
    statistics: Statistics

    def tensors(self) -> Iterator[torch.Tensor]:
        """All that it has on the device."""
        for encoded in (self.image, self.masked):
            held = getattr(encoded, "latent_dist", encoded)
            yield from (each for each in vars(held).values() if isinstance(each, torch.Tensor)) if held else ()
        if self.mask is not None:
            yield self.mask

    def sample(self, encoded: Any, generators: Sequence[torch.Generator], like: torch.Tensor) -> torch.Tensor:
        """
        Latents for each image, (n, C, h, w), each drawn by its own generator.

        Args:
            encoded: `image` or `masked`.
            like: Has their device and dtype.
        """
        drawn = torch.cat([retrieve_latents(copy.copy(encoded), generator=each) for each in generators])
        return ((drawn.to(like) - self.statistics.mean) * self.statistics.scale).to(like)


class Decoder(Protocol):
    """
    From latents to pictures.

    Attributes:
        channels: Of latents.
    """

    @property
    def channels(self) -> int: ...

    def decode(self, latents: torch.Tensor) -> list[Pixels]:
        """The pictures of latents, (n, C, h, w). Raises `GenerationFailed` where a value is not finite."""


class Autoencoder:
    """
    Of a pipeline.

    Args:
        is_xl: Whether it is used as SDXL's pipelines do: in 32 bits where its activations overflow 16, and with the
            statistics of its latents, where it has any.
        shows_masked: Whether edits with a mask need the latents of what that leaves of the picture.
        draws: Whether edits begin at latents that are drawn, and not at the likeliest ones.
    """

    def __init__(self, vae: Any, *, is_xl: bool = False, shows_masked: bool = True, draws: bool = True) -> None:
        self._vae = vae
        self._is_xl = is_xl
        if is_xl and vae.dtype == torch.float16 and vae.config.force_upcast:
            vae.to(torch.float32)
        self._statistics = self._statistics_of()
        self._shows_masked = shows_masked
        self._draws = draws

    @property
    def channels(self) -> int:
        """Of latents."""
        return int(self._vae.config.latent_channels)

    def decode(self, latents: torch.Tensor) -> list[Pixels]:
        """
        The pictures of latents, (n, C, h, w).

        Raises:
            GenerationFailed: `invalid_output`, where a value is not finite.
        """
        latents = latents.to(self._vae.dtype) / self._statistics.scale + self._statistics.mean
        return to_pixels(self._decode(latents))

    def encode(self, edit: Edit, size: Sequence[int]) -> Source:
        """
        The picture, and what its mask leaves of it, each in a forward of its own: the same in any company.

        Args:
            size: (h, w) of its latents.
        """
        image = from_pixels(edit.image).to(device_of(self._vae))
        encoded, mask, masked = self._encode(image), None, None
        if edit.mask is not None:
            mask = torch.from_numpy(edit.mask)[None, None].to(image)
            masked = self._encode(image * (mask < 0.5)) if self._shows_masked else encoded
            mask = functional.interpolate(mask, size=tuple(size))
        begun = encoded if self._draws else Likeliest(latents=retrieve_latents(encoded, sample_mode="argmax"))
        return Source(image=begun, masked=masked, mask=mask, statistics=self._statistics)

    def look_at(self, image: torch.Tensor) -> torch.Tensor:
        """
        Latents of a picture that is looked at while another is made: the likeliest ones.

        Args:
            image: (1, 3, height, width), -1 to 1.

        Returns:
            (1, C, h, w).
        """
        latents: torch.Tensor = retrieve_latents(self._encode(image.to(device_of(self._vae))), sample_mode="argmax")
        return (latents - self._statistics.mean) * self._statistics.scale

    def _statistics_of(self) -> Statistics:
        return _statistics(self._vae, has_own=self._is_xl)

    def _encode(self, image: torch.Tensor) -> Any:
        return self._vae.encode(image.to(self._vae.dtype))

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        decoded: torch.Tensor = self._vae.decode(latents, return_dict=False)[0]
        return decoded


def check_finite(values: torch.Tensor) -> None:
    """Raise `GenerationFailed` for a value that is not."""
    if not torch.isfinite(values).all():
        raise GenerationFailed(ErrorCode.INVALID_OUTPUT, "the model produced values that are not finite")


def _statistics(vae: Any, *, has_own: bool) -> Statistics:
    config = vae.config
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if not has_own or mean is None or std is None:
        return Statistics(mean=getattr(config, "shift_factor", None) or 0.0, scale=config.scaling_factor)
    like = {"device": device_of(vae), "dtype": vae.dtype}
    mean, std = (torch.tensor(values, **like).view(1, -1, 1, 1) for values in (mean, std))
    return Statistics(mean=mean, scale=config.scaling_factor / std)


def from_pixels(pixels: Pixels) -> torch.Tensor:
    """(1, 3, height, width), float32, -1 to 1."""
    levels = torch.tensor(pixels).permute(2, 0, 1)[None]  # A copy: what comes from Pillow cannot be written to.
    return 2.0 * (levels.float() / 255.0) - 1.0


def to_pixels(decoded: torch.Tensor) -> list[Pixels]:
    """
    Pictures of what an autoencoder made, (n, 3, height, width), -1 to 1.

    Raises:
        GenerationFailed: `invalid_output`, where a value is not finite.
    """
    check_finite(decoded)  # An autoencoder may overflow where its latents did not.
    levels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())
