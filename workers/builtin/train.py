"""
Train the built-in model and write it as a diffusers directory: `python -m workers.builtin.train --help`.

Stops and resumes at its checkpoints. Where there is none it goes on from the model directory, so that a better model
can be trained from the one in the repository; `--fresh` starts from nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import DDIMScheduler, StableDiffusionPipeline

from workers.builtin.training.autoencoder import train_autoencoder
from workers.builtin.training.unet.denoiser import DenoiserTraining
from workers.builtin.training.unet.text import train_text_encoder
from workers.builtin.training.unet.tokenizer import new_tokenizer


def main(
    build: Annotated[Path, typer.Option(file_okay=False, help="Where checkpoints live.")] = Path("build/shapes"),
    out: Annotated[Path, typer.Option(file_okay=False, help="The diffusers directory to write.")] = Path(
        "workers/builtin/model"
    ),
    until_step: Annotated[int, typer.Option(help="Train the denoiser up to this step; 0 only writes.")] = 16_000,
    cooldown_steps: Annotated[int, typer.Option(help="Let the learning rate fall over the last steps.")] = 3_000,
    fresh: Annotated[bool, typer.Option("--fresh", help="Use no weights that are there already.")] = False,
) -> None:
    """Train from the last checkpoint on, then write the model."""
    torch.set_flush_denormal(True)
    build.mkdir(parents=True, exist_ok=True)
    for part in ("vae", "text_encoder"):
        if not fresh and not (build / part).exists() and (out / part).exists():
            shutil.copytree(out / part, build / part)
    tokenizer = new_tokenizer()
    autoencoder = train_autoencoder(build / "vae")
    text_encoder = train_text_encoder(build / "text_encoder", tokenizer)
    training = DenoiserTraining(autoencoder, text_encoder, tokenizer, build)
    if not fresh and not training.resume() and (out / "unet").exists():
        training.start_from(out)
    training.run(until_step=until_step, cooldown_steps=cooldown_steps)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=training.averaged(),
        scheduler=DDIMScheduler.from_config(
            training.schedule.config, clip_sample=False, timestep_spacing="trailing", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    # Half of the size, and loaded as float32 all the same; transformers would keep a text encoder at 16 bits.
    pipeline.unet.half()
    pipeline.save_pretrained(out)


if __name__ == "__main__":
    typer.run(main)
