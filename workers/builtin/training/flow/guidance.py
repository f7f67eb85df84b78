"""What guidance adds to a prediction: a model that is trained towards it needs no second forward of its own."""

from __future__ import annotations

import torch
from diffusers import ZImageTransformer2DModel

from workers.builtin.training.flow.transformer import TrainingForward

SCALE = 2.0  # With it, the model that is the teacher draws most of what it was asked.


class Guidance:
    """
    The difference that classifier-free guidance (Ho & Salimans 2022) makes, of a teacher that was trained without it.

    Added to the target of the rows with a caption ("model guidance": Tang et al. 2025, arXiv 2502.12154). The target
    stays what was drawn, so that the student learns on, from the teacher only what guidance is.

    Args:
        teacher: Stays as it is.
        products: As for `TrainingForward`, and `compiled`.
    """

    def __init__(
        self, teacher: ZImageTransformer2DModel, *, products: torch.dtype = torch.bfloat16, compiled: bool = True
    ) -> None:
        self._forward = TrainingForward(teacher.eval().requires_grad_(False), products=products, compiled=compiled)

    @torch.no_grad()
    def __call__(
        self,
        samples: torch.Tensor,
        times: torch.Tensor,
        texts: tuple[torch.Tensor, torch.Tensor],
        no_texts: tuple[torch.Tensor, torch.Tensor],
        *,
        size: tuple[int, int],
    ) -> torch.Tensor:
        """
        `SCALE` times what the teacher predicts with the texts less what it predicts without, float32 (N, T, 32).

        Args:
            samples: Noisy latents as tokens, float32 (N, T, 32).
            times: 1 - sigma of each, float32 (N,).
            texts: Encoded, float32 (N, L, 128), and where they are padded, bool (N, L).
            no_texts: The same of empty ones.
            size: Tokens of a column and of a row.
        """
        given, without = (self._forward(samples, times, *each, size=size, tap=0)[0] for each in (texts, no_texts))
        return SCALE * (given - without)
