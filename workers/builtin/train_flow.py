"""
Train the built-in flow-matching model and write it as a diffusers directory.

`python -m workers.builtin.train_flow --help` says with what.

Stops and resumes at its checkpoints. Where there is none it goes on from the model directory, so that a better model
can be trained from the one in the repository; `--fresh` starts from nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

from workers.builtin.training.flow.denoiser import FlowTraining
from workers.builtin.training.flow.guidance import Guidance
from workers.builtin.training.flow.text import train_text_encoder
from workers.builtin.training.flow.tokenizer import new_tokenizer


def main(
    build: Annotated[Path, typer.Option(file_okay=False, help="Where checkpoints live.")] = Path("build/shapes-flow"),
    out: Annotated[Path, typer.Option(file_okay=False, help="The diffusers directory to write.")] = Path(
        "workers/builtin/flow_model"
    ),
    autoencoder: Annotated[Path, typer.Option(file_okay=False, help="The autoencoder, of the other model.")] = Path(
        "workers/builtin/model/vae"
    ),
    until_step: Annotated[int, typer.Option(help="Train the transformer up to this step; 0 only writes.")] = 10_000,
    cooldown_steps: Annotated[int, typer.Option(help="Let the learning rate fall over the last steps.")] = 2_500,
    guided_by: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Learn what guidance adds to this model directory: the last stage."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Use no weights that are there already.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile blocks, once for each length; needs g++.")
    ] = True,
) -> None:
    """
    Train from the last checkpoint on, then write the model.

    A step of 64 pictures takes about 0.7 s of one core that multiplies bfloat16 in tiles (AMX), and several times as
    long on one that has no instruction for bfloat16.
    """
    torch.set_flush_denormal(True)
    build.mkdir(parents=True, exist_ok=True)
    if not fresh and not (build / "text_encoder").exists() and (out / "text_encoder").exists():
        shutil.copytree(out / "text_encoder", build / "text_encoder")
    tokenizer = new_tokenizer()
    vae = AutoencoderKL.from_pretrained(autoencoder)
    vae.register_to_config(shift_factor=0.0)  # Z-Image's pipelines add it, whatever it is.
    text_encoder = train_text_encoder(build / "text_encoder", tokenizer)
    guidance = None
    if guided_by is not None:
        teacher = ZImageTransformer2DModel.from_pretrained(guided_by / "transformer")
        guidance = Guidance(teacher, compiled=compiled)
    training = FlowTraining(vae, text_encoder, tokenizer, build, guidance=guidance, compiled=compiled)
    if not fresh and not training.resume() and (out / "transformer").exists():
        training.start_from(out)
    training.run(until_step=until_step, cooldown_steps=cooldown_steps)
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=2.0
        ),  # As in training, about: much is decided while all is noise.
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=new_tokenizer(),  # One that was never called: a called one keeps how it padded.
        transformer=training.averaged(),
    )
    # Half of the size, and loaded as float32 all the same; transformers would keep a text encoder at 16 bits.
    pipeline.transformer.half()
    pipeline.save_pretrained(out)


if __name__ == "__main__":
    typer.run(main)
