"""
Opens, edits and files one picture as a worker does, without a model, and prints how much memory that took.

Of two moments: until the model begins, and while a result becomes a file; each beside what the runner said of it.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.catalogue.entry import Defaults, Limits, Model
from jobs.kinds.edit import EDIT, EditSpec
from jobs.kinds.inputs import Input
from jobs.kinds.registry import parse_request
from workers.process.allocator import keep_freed_memory, return_large_pictures
from workers.runners.canvas import lay_out
from workers.runners.postprocess import postprocess
from workers.runners.registry import RUNNERS

_MODEL = Model(
    name="m",
    source="none",
    revision="1",
    dtype="float32",
    family="stable-diffusion",
    defaults=Defaults(width=512, height=512, num_inference_steps=20, guidance_scale=3.0, scheduler="ddim"),
    limits=Limits(min_side=64, max_side=4096, max_steps=100, max_n=4, max_output_pixels=50_000_000),
    schedulers=("ddim",),
)


def picture(form: str, side: int) -> bytes:
    """Stripes with noise at its edge, so that its file is neither tiny nor slow to make."""
    pixels = np.empty((side, side, 3), np.uint8)
    pixels[:] = (np.arange(side) % 256)[:, None, None]
    pixels[:, :64] = np.random.default_rng(0).integers(0, 256, (side, 64, 3), np.uint8)
    options = {"PNG": {"compress_level": 1}, "JPEG": {"progressive": True, "subsampling": 0}, "WEBP": {"method": 0}}
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, form, **options[form])
    return body.getvalue()


def spec_of(sent: int, side: int, result: int | None, output: str) -> EditSpec:
    named = Input(file=f"file-{'a' * 24}", bytes=sent, width=side, height=side)
    size = {} if result is None else {"width": result, "height": result}
    fields = {"kind": "edit", "prompt": "x", "image": named, "mask": named, "output": {"format": output}, **size}
    return EDIT.settle(parse_request(fields), _MODEL)  # type: ignore[arg-type]


def most_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) << 10


def measure(body: bytes, spec: EditSpec) -> dict[str, int]:
    """Bytes beyond what is there before, at the most, `until` a moment; and what the runner `said`."""
    runner = RUNNERS["edit"]
    before = most_bytes("VmRSS")
    opened = {field: runner.open(field, body, spec) for field in ("image", "mask")}
    opened["mask"][1000:] = False  # A part that is cut out.
    canvas = lay_out(opened["image"], opened["mask"], _MODEL, wanted=(spec.width, spec.height))
    made = canvas.cut()
    canvas.cut_mask()
    laid_out = most_bytes("VmHWM") - before
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the most begins anew
    held = most_bytes("VmRSS")
    postprocess(canvas.paste(made), spec, _MODEL, 0)
    filed = most_bytes("VmHWM") - held
    said = {"said_laid_out": runner.input_bytes(spec), "said_filed": runner.file_bytes(spec)}
    return {"laid_out": laid_out, "filed": filed, **said}


def main(form: str, side: int, result: int | None, output: str) -> None:
    keep_freed_memory()  # As a worker has it.
    return_large_pictures()
    file = Path(os.environ["EDITED"])
    if not file.exists():  # Made by another process: what this one frees would be taken for less.
        file.write_bytes(picture(form, side))
        os.execv(sys.executable, [sys.executable, "-m", "tests.system.edit_memory", *sys.argv[1:]])  # noqa: S606
    body = file.read_bytes()
    found: dict[str, int] = {}
    spec = spec_of(len(body), side, result, output)
    Path("/proc/self/clear_refs").write_text("5")
    thread = threading.Thread(target=lambda: found.update(measure(body, spec)))  # As attempts are.
    thread.start()
    thread.join()
    sys.stdout.write(json.dumps({**found, "pixels": side * side}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None, sys.argv[4])
