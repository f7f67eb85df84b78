"""The stage beside the texts': pictures of edits that are stepped, as latents to begin at and as tokens to look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch

from jobs.catalogue.entry import Edited, WayToEdit
from jobs.kinds.generate import GenerateSpec
from workers.families.flow.references import look_at
from workers.families.flow.run import FlowConditioning
from workers.families.parts.autoencoder import Source
from workers.runners.edit_work import Edit, Work


@runtime_checkable
class Encoder(Protocol):
    """From pictures to latents."""

    def encode(self, edit: Edit, size: Sequence[int]) -> Source:
        """The picture that is edited, and its mask at the size (h, w) of its latents."""

    def look_at(self, image: torch.Tensor) -> torch.Tensor:
        """The likeliest latents of a picture, (1, C, h, w)."""


class PictureStage(ABC):
    """Encodes the pictures of edits, each in a forward of its own: the same in any company."""

    # What edits are stepped, and how; the autoencoder is an `Encoder` then.
    _stepped: ClassVar[Mapping[Edited, WayToEdit]] = {}

    _autoencoder: Any

    def _seen(self, edit: Edit) -> list[torch.Tensor]:
        """What an edit looks at, of families that edit by instruction; each (1, 3, height, width), -1 to 1."""
        del edit
        return []

    @property
    @abstractmethod
    def side_multiple(self) -> int:
        """Pixels of a side of what is one token."""

    @abstractmethod
    def _latent_shape(self, spec: GenerateSpec) -> tuple[int, int, int]:
        """(C, h, w) of an image of a job."""

    @abstractmethod
    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (n, C, h, w) as the model takes them."""

    def _is_stepped(self, work: Work) -> bool:
        return not isinstance(work, Edit) or edited(work) in self._stepped

    @torch.inference_mode()
    def _with_pictures(self, work: Work, conditioning: FlowConditioning) -> FlowConditioning:
        """What else a job is conditioned on, beside its texts."""
        if not isinstance(work, Edit):
            return conditioning
        assert isinstance(self._autoencoder, Encoder), "as it steps edits"  # noqa: S101
        source = references = None
        if self._stepped[edited(work)] == "strength":
            source = self._autoencoder.encode(work, self._latent_shape(work.spec)[1:])
        if images := self._seen(work):
            references = look_at(images, self._autoencoder.look_at, self._pack, token_side=self.side_multiple)
        return replace(conditioning, source=source, references=references)


def edited(edit: Edit) -> Edited:
    """Whether all of a picture is edited, or what is under a mask."""
    return "image" if edit.mask is None else "mask"
