"""Postprocess: pixels become files: resize, crop, format, thumbnail, and the parameters in the file's own metadata."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from jobs.catalogue import Model
from jobs.spec import Box, JobSpec

Pixels = np.ndarray[Any, np.dtype[np.uint8]]  # (height, width, 3)

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_DEFAULT_QUALITY = 90
_THUMBNAIL_QUALITY = 80
_PNG_LEVEL = 4  # of zlib; 6 takes twice as long for files that are 6 % smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """One encoded image, ready to be stored. `body` and `thumbnail` are whole files."""

    body: bytes
    extension: str
    content_type: str
    width: int
    height: int
    seed: int
    thumbnail: bytes | None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


def postprocess(pixels: list[Pixels], spec: JobSpec, model: Model) -> list[ImageFile]:
    """
    Encode the images of a job.

    Args:
        pixels: uint8 (height, width, 3) each, in the order of their seeds.
    """
    return [_encode(Image.fromarray(array), spec, model, spec.seed + index) for index, array in enumerate(pixels)]


def _encode(image: Image.Image, spec: JobSpec, model: Model, seed: int) -> ImageFile:
    output = spec.output
    if output.resize:
        image = image.resize((output.resize.width, output.resize.height), Image.Resampling.LANCZOS)
    if output.crop:
        image = _crop(image, output.crop)
    return ImageFile(
        body=_to_file(image, spec, parameters(spec, model, seed)),
        extension=_EXTENSIONS[output.format],
        content_type=CONTENT_TYPES[output.format],
        width=image.width,
        height=image.height,
        seed=seed,
        thumbnail=_thumbnail(image, output.thumbnail) if output.thumbnail else None,
    )


def parameters(spec: JobSpec, model: Model, seed: int) -> dict[str, Any]:
    """What makes this image again. Nothing that differs between runs, so that equal jobs give equal bytes."""
    fields = ("prompt", "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "scheduler")
    settled = {name: getattr(spec, name) for name in fields}
    return {"software": "imagemill", "model": model.name, "revision": model.revision, **settled, "seed": seed}


def _crop(image: Image.Image, box: Box) -> Image.Image:
    left, top = (image.width - box.width) // 2, (image.height - box.height) // 2
    return image.crop((left, top, left + box.width, top + box.height))


def _to_file(image: Image.Image, spec: JobSpec, made_with: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    note = json.dumps(made_with, ensure_ascii=False)
    if spec.output.format == "png":
        text = PngInfo()
        text.add_itxt("parameters", note)
        image.save(file, "PNG", pnginfo=text, compress_level=_PNG_LEVEL)
    else:
        quality = spec.output.quality or _DEFAULT_QUALITY
        image.save(file, spec.output.format.upper(), quality=quality, exif=_exif(note))
    return file.getvalue()


def _exif(note: str) -> Image.Exif:
    exif = Image.Exif()
    # EXIF 2.32, 4.6.5: the comment begins with eight bytes that name its character code.
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\x00" + note.encode("utf-16-be")
    exif[ExifTags.Base.Software] = "imagemill"
    return exif


def _thumbnail(image: Image.Image, longer_side: int) -> bytes:
    file = io.BytesIO()
    small = ImageOps.contain(image, (longer_side, longer_side), Image.Resampling.LANCZOS)
    small.save(file, "WEBP", quality=_THUMBNAIL_QUALITY)
    return file.getvalue()
