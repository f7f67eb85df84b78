"""The transformer of the built-in flow-matching model, and its forward for training on a processor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from diffusers import ZImageTransformer2DModel
from torch.nn.functional import linear, silu

from workers.builtin.training.autoencoder import LATENT_CHANNELS
from workers.builtin.training.flow.text import TEXT_WIDTH

_WIDTH, _HEADS, _LAYERS = 192, 6, 6
_GATES_FROM = 0.3
_PATCH = 2
TOKEN_VALUES = LATENT_CHANNELS * _PATCH**2
_NORM_EPS = 1e-5


def new_transformer() -> ZImageTransformer2DModel:
    """5.1 M parameters. A token is a patch of 16 by 16 pixels; the class allows no other."""
    model = ZImageTransformer2DModel(
        in_channels=LATENT_CHANNELS,
        dim=_WIDTH,
        n_layers=_LAYERS,
        n_refiner_layers=1,
        n_heads=_HEADS,
        n_kv_heads=_HEADS,
        cap_feat_dim=TEXT_WIDTH,
        rope_theta=64.0,
        axes_dims=[8, 12, 12],
        axes_lens=[640, 64, 64],
    )
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "pad_token" not in name:
            torch.nn.init.normal_(parameter, std=0.7 / math.sqrt(parameter.shape[1]))
    for block in (*model.noise_refiner, *model.layers):
        _zero(block.adaLN_modulation[0])
        # Gates open a little, so that each layer has a gradient from the first step on.
        bias = block.adaLN_modulation[0].bias.data.view(4, _WIDTH)
        bias[1] = bias[3] = _GATES_FROM
    for final in model.all_final_layer.values():
        _zero(final.linear)
        _zero(final.adaLN_modulation[1])
    torch.nn.init.normal_(model.x_pad_token, std=0.02)
    torch.nn.init.normal_(model.cap_pad_token, std=0.5)
    return model


def _zero(layer: torch.nn.Linear) -> None:
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)


def to_tokens(latents: torch.Tensor) -> torch.Tensor:
    """Latents (N, 8, h, w) as tokens (N, h/2 · w/2, 32), as the class cuts them."""
    count, channels, height, width = latents.shape
    cut = latents.view(count, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(count, -1, TOKEN_VALUES)


class TrainingForward:
    """
    The class's forward for texts of one padded length and pictures of one size.

    The class takes lists, pads and sorts them at each call, and rotates in complex numbers, which a processor is slow
    at: a step of 64 took 2.3 s with it, and 0.7 s so. Products are of `products`, everything else is float32.

    Args:
        compiled: Whether a block's arithmetic is compiled, once for each number of tokens. Needs a C++ compiler.
    """

    def __init__(
        self, model: ZImageTransformer2DModel, *, products: torch.dtype = torch.bfloat16, compiled: bool = True
    ) -> None:
        self._model = model
        self._products = products
        self._block: Callable[..., torch.Tensor] = torch.compile(_block, dynamic=False) if compiled else _block
        self._rotations: dict[tuple[int, int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(
        self,
        samples: torch.Tensor,
        times: torch.Tensor,
        texts: torch.Tensor,
        padding: torch.Tensor,
        *,
        size: tuple[int, int],
        tap: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        What the model predicts, and what layer `tap` makes of the pictures' tokens.

        Args:
            samples: Noisy latents as tokens, float32 (N, T, 32).
            times: 1 - sigma of each, float32 (N,).
            texts: As encoded, float32 (N, L, 128), L a multiple of 32.
            padding: Where there is no text, bool (N, L).
            size: Tokens of a column and of a row: T is their product, a multiple of 32.

        Returns:
            Clean latents minus noise, float32 (N, T, 32), and float32 (N, T, 192).
        """
        model = self._model
        pictures, words = self._rotate(texts.shape[1], *size)
        condition = model.t_embedder(times * model.t_scale)
        tokens = model.all_x_embedder["2-1"](samples)
        for layer in model.noise_refiner:
            tokens = self._run(layer, tokens, pictures, condition)
        norm, embed = model.cap_embedder
        embedded = torch.where(padding[..., None], model.cap_pad_token, embed(_rms(texts, norm.weight)))
        for layer in model.context_refiner:
            embedded = self._run(layer, embedded, words, None)
        count = tokens.shape[1]
        together, rotation = torch.cat([tokens, embedded], 1), torch.cat([pictures, words], 1)
        features = tokens
        for index, layer in enumerate(model.layers):
            together = self._run(layer, together, rotation, condition)
            if index == tap:
                features = together[:, :count]
        final = model.all_final_layer["2-1"]
        scale = 1 + final.adaLN_modulation(condition).unsqueeze(1)
        return final.linear(final.norm_final(together[:, :count]) * scale), features

    def _run(
        self, layer: Any, tokens: torch.Tensor, rotation: torch.Tensor, condition: torch.Tensor | None
    ) -> torch.Tensor:
        if condition is None:
            scale_attention = gate_attention = scale_feed = gate_feed = tokens.new_ones(1, 1, 1)
        else:
            modulation = layer.adaLN_modulation[0](condition).unsqueeze(1).chunk(4, 2)
            scale_attention, scale_feed = 1 + modulation[0], 1 + modulation[2]
            gate_attention, gate_feed = modulation[1].tanh(), modulation[3].tanh()
        attention, feed = layer.attention, layer.feed_forward
        # Pairs that turn together are neighbours in the class; here they are the halves of a head.
        halves = torch.cat([torch.arange(0, layer.head_dim, 2), torch.arange(1, layer.head_dim, 2)])
        heads = (torch.arange(attention.heads)[:, None] * layer.head_dim + halves).flatten()
        matrices = (
            attention.to_q.weight[heads],
            attention.to_k.weight[heads],
            attention.to_v.weight,
            attention.to_out[0].weight,
            feed.w1.weight,
            feed.w2.weight,
            feed.w3.weight,
        )
        norms = (
            attention.norm_q.weight[halves],
            attention.norm_k.weight[halves],
            layer.attention_norm1.weight,
            layer.attention_norm2.weight,
            layer.ffn_norm1.weight,
            layer.ffn_norm2.weight,
        )
        return self._block(
            tokens,
            rotation,
            (scale_attention, gate_attention, scale_feed, gate_feed),
            [each.to(self._products) for each in matrices],
            norms,
            attention.heads,
        )

    def _rotate(self, text: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines, float32 (2, tokens, half of a head), of pictures and of texts, as the class has them."""
        if (made := self._rotations.get((text, height, width))) is None:
            axes = (torch.tensor([text + 1]), torch.arange(height), torch.arange(width))
            pictures = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
            words = torch.nn.functional.pad(torch.arange(1, text + 1)[:, None], (0, 2))
            turns = [self._model.rope_embedder(each.int()) for each in (pictures, words)]
            first, second = (torch.stack([each.real, each.imag]).contiguous() for each in turns)
            made = self._rotations[text, height, width] = (first, second)
        return made


def _rms(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return values * torch.rsqrt(values.square().mean(-1, keepdim=True) + _NORM_EPS) * weight


def _turn(values: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding (Su et al. 2021) of (N, T, heads, 32), whose pairs are the halves of the last axis."""
    first, second = values.chunk(2, -1)
    cosine, sine = rotation[0][None, :, None], rotation[1][None, :, None]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)


def _block(
    tokens: torch.Tensor,
    rotation: torch.Tensor,
    modulation: tuple[torch.Tensor, ...],
    matrices: list[torch.Tensor],
    norms: tuple[torch.Tensor, ...],
    heads: int,
) -> torch.Tensor:
    count, length, _ = tokens.shape
    scale_attention, gate_attention, scale_feed, gate_feed = modulation
    to_query, to_key, to_value, to_out, w1, w2, w3 = matrices
    norm_query, norm_key, before_attention, after_attention, before_feed, after_feed = norms
    products = to_query.dtype
    inputs = (_rms(tokens, before_attention) * scale_attention).to(products)
    query, key, value = (
        linear(inputs, matrix).view(count, length, heads, -1) for matrix in (to_query, to_key, to_value)
    )
    query = _turn(_rms(query.float(), norm_query), rotation).to(products).transpose(1, 2)
    key = _turn(_rms(key.float(), norm_key), rotation).to(products).transpose(1, 2)
    # Two products instead of `scaled_dot_product_attention`, whose gradient in bfloat16 is slow on a processor.
    scores = torch.matmul(query, key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    attended = torch.matmul(scores.softmax(-1).to(products), value.transpose(1, 2))
    attended = linear(attended.transpose(1, 2).reshape(count, length, -1), to_out)
    tokens = tokens + gate_attention * _rms(attended.float(), after_attention)
    inputs = (_rms(tokens, before_feed) * scale_feed).to(products)
    hidden = silu(linear(inputs, w1).float()) * linear(inputs, w3).float()
    return tokens + gate_feed * _rms(linear(hidden.to(products), w2).float(), after_feed)
