"""Models that are not what their entry says: refused at the start with a sentence, or served as they are."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests import tiny_pipelines
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import CHECKOUT, Command, System, until

EX_CONFIG = 78
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 2626272\n"
TEXT_ENCODER = Path("text_encoder/model.safetensors")
UNET = Path("unet/diffusion_pytorch_model.safetensors")

Spoil = Callable[[Path], object]


def entry(name: str, family: str, *, side: int = 64, side_multiple: int = 8, max_side: int = 128) -> str:
    return f"""
[models.{name}]
source = "{name}"
revision = "test"
dtype = "float32"
family = "{family}"
schedulers = ["default"]
defaults = {{ width = {side}, height = {side}, num_inference_steps = 2, guidance_scale = 3.0, scheduler = "default" }}
limits = {{ min_side = 64, max_side = {max_side}, side_multiple = {side_multiple}, max_steps = 50, max_n = 2 }}
"""


def copy_built_in(folder: Path) -> Path:
    catalogue = CHECKOUT / "models.toml"
    source = tomllib.loads(catalogue.read_text("utf-8"))["models"]["shapes"]["source"]
    return Path(shutil.copytree(catalogue.parent / source, folder))


def drop(file: Path, tensor: str) -> None:
    tensors = load_file(file)
    del tensors[tensor]
    save_file(tensors, file, metadata={"format": "pt"})


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def refused(system: System, *names: str) -> str:
    """Start a worker that must end by itself, for good, with one line that says why; that line."""
    worker = system.worker(is_ready=False, env={"IMAGEMILL_WORKER_MODELS": ",".join(names)})
    until("the worker has ended, or is ready, or starts again", lambda: over(worker), 150)
    assert worker.exit_code == EX_CONFIG, "\n".join(worker.lines[-5:])
    text = "\n".join(worker.lines)
    assert "Traceback" not in text
    assert "Some weights of" not in text
    (line,) = [line for line in worker.lines if "worker cannot start" in line]
    return line


def over(worker: Command) -> bool:
    return worker.exit_code is not None or bool(worker.printed(r"worker@\S+ ready|starting another"))


@pytest.mark.parametrize("name", ["pixart", "sana"])
def test_pipeline_that_takes_no_none_for_a_negative_prompt_is_served(
    make_system: MakeSystem, tmp_path: Path, name: str
) -> None:
    getattr(tiny_pipelines, name)().save_pretrained(tmp_path / name)
    system = make_system(entry(name, "diffusers", side_multiple=64))
    worker = system.worker(is_ready=False)
    until("the worker is ready, or has ended", lambda: over(worker), 250)
    assert worker.exit_code is None, "\n".join(worker.lines[-5:])
    system.serve()
    job = system.end_of(system.submit(width=128, n=2))
    assert job["status"] == "succeeded", job
    for image in job["images"]:
        with urllib.request.urlopen(image["url"]) as reply:  # noqa: S310
            assert Image.open(io.BytesIO(reply.read())).size == (128, 64) == (image["width"], image["height"])


def test_pipeline_that_takes_several_pictures_edits_with_them_through_every_door(
    make_system: MakeSystem, tmp_path: Path
) -> None:
    """It says so itself: nothing of that is in its entry."""
    tiny_pipelines.flux_2_klein().save_pretrained(tmp_path / "klein")
    system = make_system(entry("klein", "diffusers", side_multiple=16))
    system.worker()
    system.serve()
    names = [str(tmp_path / f"{name}.png") for name in "abc"]
    for name, colour in zip(names, ("red", "green", "blue"), strict=True):
        Image.linear_gradient("L").resize((96, 64)).convert("RGB").rotate(len(colour)).save(name)
    sent_along = [base64.b64encode(Path(each).read_bytes()).decode() for each in names]
    image, first, second = ({"data": f"data:image/png;base64,{each}"} for each in sent_along)

    def made(**fields: Any) -> dict[str, Any]:
        job = system.end_of(system.submit(kind="edit", prompt="x", image=image, seed=7, **fields))
        assert job["status"] == "succeeded", job
        return job

    by_http, turned = made(references=[first, second]), made(references=[second, first])
    by_cli = system.cli(
        "edit", names[0], "x", "--reference", names[1], "--reference", names[2], "--seed", "7", "--json"
    )
    assert by_cli.returncode == 0, by_cli.stderr
    typed = system.end_of(json.loads(by_cli.stdout)["id"])
    with system.celery() as celery:
        kwargs = {"prompt": "x", "image": image, "references": [first, second], "seed": 7}
        sent = celery.send_task("imagemill.edit", kwargs=kwargs, queue="gpu.klein").get(timeout=60)
    url = f"http://127.0.0.1:{system.api.port if system.api else 0}/v1"
    with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
        answer = client.images.edit(image=[Path(each) for each in names], prompt="x", extra_body={"seed": 7})
    assert answer.data is not None
    hashes = [job["images"][0]["sha256"] for job in (by_http, typed, sent)]
    hashes.append(hashlib.sha256(base64.b64decode(answer.data[0].b64_json or "")).hexdigest())
    assert len(set(hashes)) == 1
    assert turned["images"][0]["sha256"] not in hashes
    assert (by_http["images"][0]["width"], by_http["images"][0]["height"]) == (96, 64)


def test_limits_that_a_model_cannot_keep_are_refused_with_those_that_it_can(
    make_system: MakeSystem, tmp_path: Path
) -> None:
    """Asked for 72×64, it makes 64×64."""
    tiny_pipelines.flux().save_pretrained(tmp_path / "flux")
    line = refused(make_system(entry("flux", "diffusers")), "flux")
    assert "limits.side_multiple is 8, and the model needs multiples of 16" in line
    assert "set limits.side_multiple = 16 of [models.flux] in models.toml" in line


def test_more_pictures_than_the_pipeline_takes_are_refused_in_its_entry(
    make_system: MakeSystem, tmp_path: Path
) -> None:
    tiny_pipelines.flux().save_pretrained(tmp_path / "flux")
    said = entry("flux", "diffusers", side_multiple=16).replace("max_n = 2", "max_n = 2, max_references = 3")
    line = refused(make_system(said), "flux")
    assert "limits.max_references of [models.flux] in models.toml is 3, and its pipeline takes 0" in line


def test_model_that_does_not_make_its_default_size_is_refused(make_system: MakeSystem, tmp_path: Path) -> None:
    tiny_pipelines.flux().save_pretrained(tmp_path / "flux")
    system = make_system(entry("flux", "diffusers", side=72, max_side=72).replace("min_side = 64", "min_side = 72"))
    assert "width and height: 72×72 pixels were requested, but the model made 64×64" in refused(system, "flux")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda at: drop(at / TEXT_ENCODER, "encoder.layers.0.layer_norm1.weight"),
            "text_encoder: 1 tensor is in no file: encoder.layers.0.layer_norm1.weight",
        ),
        (lambda at: drop(at / UNET, "conv_in.bias"), "unet: 1 tensor is in no file: conv_in.bias"),
        (lambda at: (at / TEXT_ENCODER).write_text(POINTER), f"{TEXT_ENCODER} is a git-lfs pointer"),
        (lambda at: halve(at / TEXT_ENCODER), f"{TEXT_ENCODER} has "),
        (lambda at: (at / "tokenizer" / "tokenizer.json").unlink(), "tokenizer has no vocabulary"),
        (lambda at: (at / "model_index.json").write_text("[]"), "model_index.json holds no JSON object"),
    ],
    ids=["text encoder's tensor", "unet's tensor", "git-lfs", "cut short", "vocabulary", "index"],
)
def test_model_that_does_not_load_ends_the_worker_with_a_sentence(
    make_system: MakeSystem, tmp_path: Path, spoil: Spoil, says: str
) -> None:
    spoil(copy_built_in(tmp_path / "spoilt"))
    line = refused(make_system(entry("spoilt", "stable-diffusion")), "spoilt")
    assert f"of models.toml) cannot be loaded from {tmp_path / 'spoilt'}" in line
    assert says in line
    assert "again" in line or "git lfs pull" in line  # what to do


def test_doctor_finds_folders_that_are_not_whole(make_system: MakeSystem, tmp_path: Path) -> None:
    spoils: dict[str, Spoil] = {
        "pointer": lambda at: (at / UNET).write_text(POINTER),
        "half": lambda at: halve(at / TEXT_ENCODER),
        "gone": lambda at: shutil.rmtree(at / "vae"),
        "broken": lambda at: (at / "unet" / "config.json").write_text("{"),
        "whole": lambda at: None,
    }
    for name, spoil in spoils.items():
        spoil(copy_built_in(tmp_path / name))
    system = make_system("".join(entry(name, "stable-diffusion") for name in spoils))
    doctor = system.cli("doctor", "--json")
    assert doctor.returncode != 0
    found = {each["check"]: each["state"] for each in map(json.loads, doctor.stdout.splitlines())}
    states = {name: found[f"model {name}"] for name in spoils}
    assert states == dict.fromkeys(spoils, "failure") | {"whole": "ok"}
