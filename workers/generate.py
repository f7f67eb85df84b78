"""Generate: noise becomes latents step by step, and latents become pixels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from jobs.errors import ErrorCode
from jobs.spec import JobSpec
from workers.encode import Embeddings
from workers.errors import GenerationFailed
from workers.models import LoadedModel
from workers.postprocess import Pixels
from workers.schedulers import make_scheduler


@torch.inference_mode()
def generate(
    model: LoadedModel, spec: JobSpec, embeddings: Embeddings, on_step: Callable[[int, int], None]
) -> torch.Tensor:
    """
    Denoise the `n` images of a job together.

    Args:
        on_step: Told (steps done, steps in all) after each; what it raises ends the job.

    Returns:
        Latents, (n, C, height/f, width/f) with the autoencoder's factor f, the model's dtype.

    Raises:
        GenerationFailed: `invalid_output`, where a latent is not finite.
    """
    scheduler = make_scheduler(spec.scheduler, model.pipeline.scheduler.config)
    scheduler.set_timesteps(spec.num_inference_steps, device=model.device)
    generators = [torch.Generator("cpu").manual_seed(spec.seed + index) for index in range(spec.n)]
    latents = _noise(model, spec, generators) * scheduler.init_noise_sigma
    step_options = _step_options(scheduler, generators)
    # Schedulers of second order (Heun) visit a step's timesteps twice.
    calls = len(scheduler.timesteps)
    for call, timestep in enumerate(scheduler.timesteps, start=1):
        noise_pred = _predict(model, spec, embeddings, scheduler.scale_model_input(latents, timestep), timestep)
        latents = scheduler.step(noise_pred, timestep, latents, **step_options).prev_sample
        on_step(call * spec.num_inference_steps // calls, spec.num_inference_steps)
    if not torch.isfinite(latents).all():
        raise GenerationFailed(ErrorCode.INVALID_OUTPUT, "the model produced values that are not finite")
    return latents


@torch.inference_mode()
def decode(model: LoadedModel, latents: torch.Tensor) -> list[Pixels]:
    """Run the autoencoder's decoder. Returns n pictures, uint8 (height, width, 3)."""
    vae = model.pipeline.vae
    pixels = vae.decode(latents / vae.config.scaling_factor).sample
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())


def _noise(model: LoadedModel, spec: JobSpec, generators: list[torch.Generator]) -> torch.Tensor:
    factor = model.pipeline.vae_scale_factor
    shape = (spec.n, model.pipeline.unet.config.in_channels, spec.height // factor, spec.width // factor)
    # Each image from its own generator, on the CPU: the same picture on every device and in every company.
    return randn_tensor(shape, generator=generators, device=model.device, dtype=model.pipeline.unet.dtype)


def _predict(
    model: LoadedModel, spec: JobSpec, embeddings: Embeddings, latents: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    unet = model.pipeline.unet
    prompt = embeddings.prompt.expand(spec.n, -1, -1)
    if embeddings.negative is None:
        return unet(latents, timestep, encoder_hidden_states=prompt).sample
    text = torch.cat([embeddings.negative.expand(spec.n, -1, -1), prompt])
    without, with_prompt = unet(latents.repeat(2, 1, 1, 1), timestep, encoder_hidden_states=text).sample.chunk(2)
    return without + spec.guidance_scale * (with_prompt - without)


def _step_options(scheduler: Any, generators: list[torch.Generator]) -> dict[str, Any]:
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": generators} if takes_generator else {}
