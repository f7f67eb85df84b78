"""Train the built-in model's UNet on latents of pictures drawn as it goes. The text encoder stays as it is."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import structlog
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from transformers import CLIPTextModel, CLIPTokenizer

from workers.builtin.drawing import draw
from workers.builtin.scenes import caption_variant, training_scene
from workers.builtin.training.autoencoder import LATENT_CHANNELS
from workers.builtin.training.captions import spoil
from workers.builtin.training.pictures import to_pixels
from workers.builtin.training.unet.text import TEXT_WIDTH

log = structlog.get_logger()

BATCH = 32
_LEARNING_RATE = 1e-3
_WARMUP_STEPS = 200
_CAPTION_DROPOUT = 0.1  # for classifier-free guidance (Ho & Salimans 2022)
_EMA_DECAY = 0.9995
_FIGURE_WEIGHT = 3.0  # added to the loss where a figure is: most of a picture is background, which is learnt first
_FLAT = 0.15  # mean distance from the background's latents, in standard deviations, up to which there is no figure
_POOL_FIRST = 6_000
_POOL_GROWTH = 400
_POOL_GROWS_EVERY = 250
_CHECKPOINT_EVERY = 500


def new_unet() -> UNet2DConditionModel:
    """
    4.2 M parameters for 16×16 latents.

    Attention starts at 8×8: at 16×16 it took 45 % of a training step and made a step of 32 rows 1.5 times as slow.
    """
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def noise_schedule() -> DDPMScheduler:
    """v-prediction (Salimans & Ho 2022); linear betas end at a signal of 0.6 %, so flat colours are learnt too."""
    return DDPMScheduler(beta_schedule="linear", prediction_type="v_prediction")


class LatentPool:
    """Captions and scaled latents of drawn scenes, float32 (N, 8, 16, 16); grows while training goes on."""

    def __init__(self, autoencoder: AutoencoderKL, rng: random.Random) -> None:
        self._autoencoder = autoencoder
        self._rng = rng
        self._captions: list[str] = []
        self._latents = torch.empty(0, LATENT_CHANNELS, 16, 16)

    @torch.no_grad()
    def grow(self, count: int) -> None:
        scenes = [training_scene(self._rng) for _ in range(count)]
        pictures = [draw(scene, self._rng, grid_px=8) for scene in scenes]
        encode = self._autoencoder.encode
        chunks = [encode(chunk).latent_dist.mean for chunk in to_pixels(pictures).split(32)]
        scaled = torch.cat(chunks) * self._autoencoder.config.scaling_factor
        self._latents = torch.cat([self._latents, scaled])
        self._captions += [caption_variant(scene, self._rng) for scene in scenes]

    def sample(self, count: int) -> tuple[list[str], torch.Tensor]:
        picks = [self._rng.randrange(len(self._captions)) for _ in range(count)]
        return [self._dropped(self._captions[pick]) for pick in picks], self._latents[picks]

    def _dropped(self, text: str) -> str:
        return "" if self._rng.random() < _CAPTION_DROPOUT else spoil(text, self._rng)


class DenoiserTraining:
    """The state of a run: UNet, its moving average, optimizer. Owns `folder/checkpoint.pt`."""

    def __init__(
        self,
        autoencoder: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        folder: Path,
        *,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.unet = new_unet()
        self.parameters = list(self.unet.parameters())
        self.average = EMAModel(self.parameters, decay=_EMA_DECAY)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=_LEARNING_RATE, betas=(0.9, 0.99), fused=True)
        self.schedule = noise_schedule()
        self.step = 0
        self._tokenizer, self._text_encoder = tokenizer, text_encoder
        self._checkpoint = folder / "checkpoint.pt"
        self._pool = LatentPool(autoencoder, random.Random(seed))

    def run(self, *, until_step: int, cooldown_steps: int = 0) -> None:
        """Train on; the learning rate falls to nothing over the last `cooldown_steps`."""
        if self.step < until_step:
            self._pool.grow(_POOL_FIRST)
        losses: list[float] = []
        while self.step < until_step:
            losses.append(self._train_step(min(1.0, (until_step - self.step) / max(1, cooldown_steps))))
            if self.step % 100 == 0:
                log.info("denoiser", step=self.step, of=until_step, loss=round(sum(losses) / len(losses), 4))
                losses.clear()
            if self.step % _POOL_GROWS_EVERY == 0:
                self._pool.grow(_POOL_GROWTH)
            if self.step % _CHECKPOINT_EVERY == 0 or self.step == until_step:
                self.save()

    def averaged(self) -> UNet2DConditionModel:
        """A copy of the UNet with the averaged weights, ready for use."""
        self.average.store(self.parameters)
        self.average.copy_to(self.parameters)
        unet = copy.deepcopy(self.unet)
        self.average.restore(self.parameters)
        return unet.eval()

    def save(self) -> None:
        state = {
            "step": self.step,
            "unet": self.unet.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none."""
        if not self._checkpoint.exists():
            return False
        state = torch.load(self._checkpoint, weights_only=True)
        self.step = state["step"]
        self.unet.load_state_dict(state["unet"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        return True

    def start_from(self, model: Path) -> None:
        """Take the weights of a model directory; the optimizer and the step count start anew."""
        self.unet.load_state_dict(UNet2DConditionModel.from_pretrained(model / "unet").state_dict())
        self.average = EMAModel(self.parameters, decay=_EMA_DECAY)

    def _train_step(self, rate: float) -> float:
        captions, latents = self._pool.sample(BATCH)
        noise = torch.randn_like(latents)
        timesteps = self._timesteps()
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        target = self.schedule.get_velocity(latents, noise, timesteps)
        error = (self.unet(noisy, timesteps, self._encode(captions)).sample - target).square()
        # It fades with the learning rate, for it moves the optimum a little towards figures.
        weight = 1 + _FIGURE_WEIGHT * rate * _figures(latents)
        loss = (error * weight).mean() / weight.mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.param_groups[0]["lr"] = _LEARNING_RATE * rate * min(1.0, (self.step + 1) / _WARMUP_STEPS)
        self.optimizer.step()
        self.average.step(self.parameters)
        self.step += 1
        return loss.item()

    def _timesteps(self) -> torch.Tensor:
        """One from each equal part of the schedule, so that no batch is all easy or all hard."""
        parts = (torch.arange(BATCH) + torch.rand(BATCH)) / BATCH
        return (parts * self.schedule.config.num_train_timesteps).long()

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> torch.Tensor:
        tokens = self._tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self._text_encoder(tokens).last_hidden_state


def _figures(latents: torch.Tensor) -> torch.Tensor:
    """Where latents differ from the background. Returns 0 or 1, float32 (N, 1, H, W)."""
    background = latents.flatten(2).median(dim=-1).values[..., None, None]
    figures = ((latents - background).abs().mean(dim=1, keepdim=True) > _FLAT).float()
    # The outermost cells differ by the autoencoder's padding; no figure reaches them.
    return torch.nn.functional.pad(figures[..., 1:-1, 1:-1], (1, 1, 1, 1))
