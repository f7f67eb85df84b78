"""Postprocess: pixels become files, one image at a time: resize, crop, format, thumbnail."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Box, DigitalSource
from workers.runners.files import MadeFile
from workers.runners.image_metadata import options_of, parameters

Pixels = np.ndarray[Any, np.dtype[np.uint8]]  # (height, width, 3)

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_DEFAULT_QUALITY = 90
_THUMBNAIL_QUALITY = 80
_PNG_LEVEL = 4  # of zlib; 6 takes twice as long for files that are 6 % smaller

# Of memory at the worst (Pillow 13, noise, 2048² to 4096²): an image has 4 for each pixel, so have the one that it is
# scaled from and the one in between, which is scaled in width alone; then the result, a cropped copy, and its file.
_IMAGE_BYTES, _OUTPUT_BYTES, _WEBP_OUTPUT_BYTES = 4, 14, 29


def memory_bytes(spec: GenerateSpec) -> int:
    """How much memory postprocessing one image of a job takes, at the worst."""
    made, resize = spec.width * spec.height, spec.output.resize
    between, scaled = (resize.width * spec.height, resize.width * resize.height) if resize else (0, made)
    encoded = _WEBP_OUTPUT_BYTES if spec.output.format == "webp" else _OUTPUT_BYTES
    return _IMAGE_BYTES * (made + between) + encoded * scaled


def postprocess(pixels: Pixels, spec: GenerateSpec, model: Model, index: int) -> MadeFile:
    """
    Encode one image of a job.

    Args:
        pixels: uint8 (height, width, 3).
        index: Which of the job's `n` images it is.
    """
    image, output, seed = Image.fromarray(pixels), spec.output, spec.seed + index
    if output.resize:
        image = image.resize((output.resize.width, output.resize.height), Image.Resampling.LANCZOS)
    if output.crop:
        image = _crop(image, output.crop)
    is_full = model.metadata == "full" and output.metadata != "mark"
    return MadeFile(
        body=_to_file(image, spec, parameters(spec, model, seed) if is_full else None),
        extension=_EXTENSIONS[output.format],
        content_type=CONTENT_TYPES[output.format],
        meta={"width": image.width, "height": image.height, "seed": seed},
        thumbnail=_thumbnail(image, output.thumbnail, spec.digital_source) if output.thumbnail else None,
    )


def _crop(image: Image.Image, box: Box) -> Image.Image:
    left, top = (image.width - box.width) // 2, (image.height - box.height) // 2
    return image.crop((left, top, left + box.width, top + box.height))


def _to_file(image: Image.Image, spec: GenerateSpec, made_with: dict[str, Any] | None) -> bytes:
    file, form = io.BytesIO(), spec.output.format
    options: dict[str, Any] = options_of(form, spec.digital_source, made_with)
    if form == "png":
        options["compress_level"] = _PNG_LEVEL
    else:
        options["quality"] = spec.output.quality or _DEFAULT_QUALITY
    image.save(file, form.upper(), **options)
    return file.getvalue()


def _thumbnail(image: Image.Image, longer_side: int, source: DigitalSource) -> bytes:
    file = io.BytesIO()
    small = ImageOps.contain(image, (longer_side, longer_side), Image.Resampling.LANCZOS)
    small.save(file, "WEBP", quality=_THUMBNAIL_QUALITY, **options_of("webp", source, None))
    return file.getvalue()
