"""Train the transformer on latents of pictures drawn as it goes. The text encoder stays as it is."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import structlog
import torch
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen3Model

from workers.builtin.training.flow.guidance import Guidance
from workers.builtin.training.flow.latents import BUCKETS, LABELS, Batch, Bucket, LatentPool
from workers.builtin.training.flow.text import encode
from workers.builtin.training.flow.tokenizer import tokenize
from workers.builtin.training.flow.transformer import TrainingForward, new_transformer

log = structlog.get_logger()

BATCH = 64
_MATRIX_RATE, _LEARNING_RATE = 3e-3, 1.5e-3
_WARMUP_STEPS = 60
_CAPTION_DROPOUT = 0.1  # for classifier-free guidance (Ho & Salimans 2022)
_EMA_DECAY = 0.999
_SHIFT = 2.5  # of noise levels in training (Esser et al. 2024, section 5.3.2): a caption leaves little open
_FIGURE_WEIGHT = 2.0  # added to the loss where a figure is: most of a picture is background, which is learnt first
_LABEL_WEIGHT = 0.1
_TAP = 3  # the layer whose tokens have to say what stands where
_POOL_FIRST = 8_000
_POOL_GROWTH = 400
_POOL_GROWS_EVERY = 100
_CHECKPOINT_EVERY = 100


class FlowTraining:
    """
    The state of a run: transformer, its moving average, optimizers. Owns `folder/checkpoint.pt`.

    Rectified flow (Liu et al. 2022): the model predicts clean latents minus noise. Block matrices go by Muon (Jordan et
    al. 2024), the rest by AdamW. A linear head on the fourth layer says which figure stands in each patch, so that
    layers before it have something to learn from the first step on; it is not part of the model.
    """

    def __init__(
        self,
        autoencoder: AutoencoderKL,
        text_encoder: Qwen3Model,
        tokenizer: PreTrainedTokenizerFast,
        folder: Path,
        *,
        guidance: Guidance | None = None,
        compiled: bool = True,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.step, self._seed = 0, seed
        self._tokenizer, self._text_encoder = tokenizer, text_encoder
        self._checkpoint = folder / "checkpoint.pt"
        self._rng = random.Random(seed)
        self._pool = LatentPool(autoencoder, self._rng)
        self._model = new_transformer().train()
        self._average = copy.deepcopy(self._model).eval()
        self._head = torch.nn.Linear(self._model.dim, LABELS)
        self._forward = TrainingForward(self._model, compiled=compiled)
        self._guidance = guidance
        named = [(name, each) for name, each in self._model.named_parameters() if name != "x_pad_token"]
        matrices = [each for name, each in named if _is_matrix(name)]
        others = [each for name, each in named if not _is_matrix(name)]
        self._parameters = [*matrices, *others, *self._head.parameters()]
        self._optimizers = (
            torch.optim.Muon(matrices, lr=_MATRIX_RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(
                [*others, *self._head.parameters()], lr=_LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True
            ),
        )

    def run(self, *, until_step: int, cooldown_steps: int = 0) -> None:
        """Train on; the learning rate falls to nothing over the last `cooldown_steps`."""
        first = self.step
        # Each run draws other pictures and noise than those before it.
        self._rng.seed(f"{self._seed} {first}")
        torch.manual_seed(hash((self._seed, first)))
        if first < until_step:
            self._pool.grow(_POOL_FIRST)
        losses: list[tuple[float, float]] = []
        while self.step < until_step:
            cooldown = min(1.0, (until_step - self.step) / max(1, cooldown_steps))
            losses.append(self._train_step(cooldown, warmup=min(1.0, (self.step - first + 1) / _WARMUP_STEPS)))
            if self.step % 50 == 0:
                loss, labels = (round(sum(each) / len(losses), 4) for each in zip(*losses, strict=True))
                log.info("transformer", step=self.step, of=until_step, loss=loss, labels=labels)
                losses.clear()
            if self.step % _POOL_GROWS_EVERY == 0:
                self._pool.grow(_POOL_GROWTH)
            if self.step % _CHECKPOINT_EVERY == 0 or self.step == until_step:
                self.save()

    def averaged(self) -> ZImageTransformer2DModel:
        """A copy of the transformer with the averaged weights, ready for use."""
        return copy.deepcopy(self._average)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        partial = self._checkpoint.with_suffix(".partial")
        torch.save({"step": self.step} | {name: each.state_dict() for name, each in self._parts().items()}, partial)
        partial.replace(self._checkpoint)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none."""
        if not self._checkpoint.exists():
            return False
        state = torch.load(self._checkpoint, weights_only=True)
        self.step = state["step"]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        return True

    def start_from(self, model: Path) -> None:
        """Take the weights of a model directory; optimizers, head and step count start anew."""
        weights = ZImageTransformer2DModel.from_pretrained(model / "transformer").state_dict()
        for each in (self._model, self._average):
            each.load_state_dict(weights)

    def _parts(self) -> dict[str, torch.nn.Module | torch.optim.Optimizer]:
        by_muon, by_adamw = self._optimizers
        return {
            "model": self._model,
            "average": self._average,
            "head": self._head,
            "muon": by_muon,
            "adamw": by_adamw,
        }

    def _train_step(self, cooldown: float, *, warmup: float) -> tuple[float, float]:
        bucket = self._rng.choices(BUCKETS, weights=[each.share for each in BUCKETS])[0]
        batch = self._pool.sample(bucket, BATCH)
        # The weight of figures fades with the learning rate, for it moves the optimum a little towards them.
        loss, labels = self._losses(batch, bucket, _FIGURE_WEIGHT * cooldown)
        (loss + _LABEL_WEIGHT * labels).backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer, rate in zip(self._optimizers, (_MATRIX_RATE, _LEARNING_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = rate * cooldown * warmup
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self._average_weights()
        return loss.item(), labels.item()

    def _losses(self, batch: Batch, bucket: Bucket, figure_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        captions = [self._dropped(caption) for caption in batch.captions]
        texts = self._encode(captions, bucket.text_tokens)
        noise = torch.randn_like(batch.latents)
        sigmas = _sigmas(len(noise))
        levels = sigmas[:, None, None]
        samples, times, target = (1 - levels) * batch.latents + levels * noise, 1 - sigmas, batch.latents - noise
        if self._guidance is not None:  # Rows without a caption are with and without it the same: it adds nothing.
            nothing = self._encode([""] * len(captions), bucket.text_tokens)
            target += self._guidance(samples, times, texts, nothing, size=bucket.patches)
        predicted, features = self._forward(samples, times, *texts, size=bucket.patches, tap=_TAP)
        error = (predicted - target).square()
        weight = 1 + figure_weight * (batch.labels > 0).float()[..., None]
        labels = cross_entropy(self._head(features).flatten(0, 1), batch.labels.flatten())
        return (error * weight).mean() / weight.mean(), labels

    def _dropped(self, caption: str) -> str:
        return "" if self._rng.random() < _CAPTION_DROPOUT else caption

    @torch.no_grad()
    def _encode(self, captions: list[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
        tokens, padding = tokenize(self._tokenizer, captions, length)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return encode(self._text_encoder, tokens, padding).float(), padding

    @torch.no_grad()
    def _average_weights(self) -> None:
        decay = min(_EMA_DECAY, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self._average.parameters()), list(self._model.parameters()), 1 - decay)


def _is_matrix(name: str) -> bool:
    """Of a block: what Muon is for."""
    return ("attention.to_" in name or "feed_forward" in name) and name.endswith("weight")


def _sigmas(count: int) -> torch.Tensor:
    """One from each equal part of the noise levels, so that no batch is all easy or all hard, shifted towards noise."""
    parts = (torch.randperm(count) + torch.rand(count)) / count
    return _SHIFT * parts / (1 + (_SHIFT - 1) * parts)
