"""
A corpus of pictures as callers send them, good ones and hostile ones, each made here: it becomes pixels, or a sentence.

What the good ones show is known: a frame whose four corners differ, so that a picture which is turned, mirrored, or has
its channels swapped is not taken for another.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from jobs.inputs.heads import MAX_SIDE

WIDTH, HEIGHT = 48, 32
RED, GREEN, BLUE, GRAY = (220, 30, 30), (30, 200, 40), (40, 50, 210), (128, 128, 128)
NEAR = 40  # levels, of what was lossy or went through a profile

Make = Callable[[], bytes]


def corners() -> Image.Image:
    """Red, green; blue, gray: from the left to the right, from the top to the bottom."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for at, colour in enumerate((RED, GREEN, BLUE, GRAY)):
        left, top = at % 2 * WIDTH // 2, at // 2 * HEIGHT // 2
        image.paste(colour, (left, top, left + WIDTH // 2, top + HEIGHT // 2))
    return image


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int, kind: str) -> bytes:
    """Stored so that this orientation makes the corners upright again (Exif 2.32, 4.6.4 A)."""
    ways = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    image = corners()
    for way in ways.get(orientation, []):
        image = image.transpose(way)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    return saved(image, kind, exif=exif, **options)


def animated(kind: str) -> bytes:
    options = {"lossless": True} if kind == "WEBP" else {}
    others = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in (RED, BLUE)]
    return saved(corners(), kind, save_all=True, append_images=others, duration=50, **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes, between: bytes = b"") -> bytes:
    """A PNG of bytes, for what Pillow writes none of."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + between + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep(channels: int) -> bytes:
    """16 bits a level."""
    levels = np.asarray(corners()).astype(np.uint16) * 257
    if channels == 4:
        levels = np.concatenate([levels, np.full((HEIGHT, WIDTH, 1), 65_535, np.uint16)], axis=-1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    return png(WIDTH, HEIGHT, depth=16, colour={3: 2, 4: 6}[channels], rows=rows)


def profiled() -> bytes:
    """Linear light says other levels for the same colours: who leaves the profile out shows it far too dark."""
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))  # of three channels, and not sRGB
    del linear
    return saved(corners(), icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def turned_by_text() -> bytes:
    """A PNG that says it is turned in a chunk that ImageMagick writes and that no browser reads."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes()
    said = PngInfo()
    said.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n")
    return saved(corners(), pnginfo=said)


def half_clear() -> Image.Image:
    """The right half is transparent, and so white."""
    image = corners().convert("RGBA")
    image.paste((1, 2, 3, 0), (WIDTH // 2, 0, WIDTH, HEIGHT))
    return image


def clear_palette() -> bytes:
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([*RED, *GREEN])
    image.paste(1, (WIDTH // 2, 0, WIDTH, HEIGHT))
    return saved(image, transparency=1)


UPRIGHT: dict[str, Make] = {
    "png": lambda: saved(corners()),
    "png, interlaced by hand": lambda: saved(corners(), optimize=True),
    "png, palette": lambda: saved(corners().quantize(16)),
    "png, alpha": lambda: saved(corners().convert("RGBA")),
    "png, 16 bits": lambda: deep(3),
    "png, 16 bits and alpha": lambda: deep(4),
    "png, profile": profiled,
    "png, broken profile": lambda: saved(corners(), icc_profile=b"no profile"),
    "png, animated": lambda: animated("PNG"),
    "png, something behind it": lambda: saved(corners()) + b"PK\x03\x04 an archive",
    "jpeg": lambda: saved(corners(), "JPEG", quality=95),
    "jpeg, progressive": lambda: saved(corners(), "JPEG", quality=95, progressive=True),
    "jpeg, cmyk": lambda: saved(corners().convert("CMYK"), "JPEG", quality=95),
    "jpeg, profile": lambda: saved(
        corners(), "JPEG", quality=95, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ),
    "jpeg, several pictures": lambda: saved(corners(), "MPO", save_all=True, append_images=[corners()], quality=95),
    "jpeg, a page behind it": lambda: saved(corners(), "JPEG", quality=95) + b"<script>alert(1)</script>",
    "webp": lambda: saved(corners(), "WEBP", quality=95),
    "webp, lossless": lambda: saved(corners(), "WEBP", lossless=True),
    "webp, alpha": lambda: saved(corners().convert("RGBA"), "WEBP", lossless=True),
    "webp, animated": lambda: animated("WEBP"),
    **{f"jpeg, orientation {n}": lambda n=n: turned(n, "JPEG") for n in range(1, 9)},  # type: ignore[misc]
    **{f"png, orientation {n}": lambda n=n: turned(n, "PNG") for n in range(2, 9)},  # type: ignore[misc]
    **{f"webp, orientation {n}": lambda n=n: turned(n, "WEBP") for n in range(5, 9)},  # type: ignore[misc]
    "jpeg, orientation 0": lambda: turned(0, "JPEG"),
    "jpeg, orientation 9": lambda: turned(9, "JPEG"),
    "jpeg, orientation of XMP alone": lambda: saved(corners(), "JPEG", quality=95, xmp=XMP),
    "webp, orientation of XMP alone": lambda: saved(corners(), "WEBP", lossless=True, xmp=XMP),
    "png, orientation in a text": turned_by_text,
}

OF_GRAYS: dict[str, Make] = {
    "png, gray": lambda: saved(corners().convert("L")),
    "png, gray and alpha": lambda: saved(corners().convert("LA")),
    "png, gray of 16 bits": lambda: saved(Image.fromarray(np.asarray(corners().convert("L")).astype(np.uint16) * 257)),
    "jpeg, gray": lambda: saved(corners().convert("L"), "JPEG", quality=95),
    "png, black and white": lambda: saved(corners().convert("L").point(lambda level: 255 * (level > 100)).convert("1")),
}

HALF: dict[str, Make] = {
    "png": lambda: saved(half_clear()),
    "webp": lambda: saved(half_clear(), "WEBP", lossless=True),
    "palette": clear_palette,
}


def bomb(width: int, height: int, kind: str) -> bytes:
    """Of so many pixels, as its head says; of a few kilobytes, as a file."""
    if kind == "PNG":
        return png(
            width, height, depth=1, colour=0, rows=b"\0" * (height * (width // 8 + 2)) if height < 40_000 else b""
        )
    if kind == "JPEG":
        small = bytearray(saved(corners(), "JPEG"))
        at = small.index(b"\xff\xc0") + 5
        small[at : at + 4] = struct.pack(">HH", height, width)
        return bytes(small)
    small = bytearray(saved(corners().convert("RGBA"), "WEBP", exif=b"Exif\0\0"))
    small[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(small)


def text_bomb() -> bytes:
    """A text of 100 MB in 100 KB, before the picture."""
    body = b"Comment\0\0" + zlib.compress(b"a" * 100_000_000)
    return png(WIDTH, HEIGHT, depth=8, colour=2, rows=b"\0" * HEIGHT * (3 * WIDTH + 1), between=chunk(b"zTXt", body))


NO_PICTURE = "this is no PNG, JPEG or WebP file"
BROKEN = "the file is broken or not complete"
REFUSED: dict[str, tuple[Make, str]] = {
    "nothing": (lambda: b"", "the file is empty"),
    "a byte": (lambda: b"\x89", NO_PICTURE),
    "zeros": (lambda: bytes(1_000), NO_PICTURE),
    "text": (lambda: b"a red circle on a blue background", NO_PICTURE),
    "html": (lambda: b"<html><img src=x></html>", NO_PICTURE),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', NO_PICTURE),
    "gif": (lambda: saved(corners().quantize(16), "GIF"), NO_PICTURE),
    "tiff": (lambda: saved(corners(), "TIFF"), NO_PICTURE),
    "bmp": (lambda: saved(corners(), "BMP"), NO_PICTURE),
    "pdf": (lambda: saved(corners(), "PDF"), NO_PICTURE),
    "postscript": (lambda: saved(corners(), "EPS"), NO_PICTURE),
    "icon": (lambda: saved(corners(), "ICO"), NO_PICTURE),
    "archive": (lambda: b"PK\x03\x04" + bytes(100), NO_PICTURE),
    "avif": (lambda: saved(corners(), "AVIF"), NO_PICTURE),
    "only a signature": (lambda: b"\x89PNG\r\n\x1a\n", NO_PICTURE),
    "half a png": (lambda: saved(corners())[:80], BROKEN),
    "half a jpeg": (lambda: saved(corners(), "JPEG", quality=95)[:-300], BROKEN),
    "half a webp": (lambda: saved(corners(), "WEBP")[:60], BROKEN),
    "png of no width": (lambda: png(0, 5, depth=8, colour=2, rows=b""), "has no pixels"),
    "png without rows": (lambda: png(WIDTH, HEIGHT, depth=8, colour=2, rows=b""), BROKEN),
    "png of an odd depth": (lambda: png(WIDTH, HEIGHT, depth=7, colour=2, rows=bytes(9_000)), NO_PICTURE),
    "png that is one long text": (text_bomb, BROKEN),
    "bomb, png of 30,000²": (lambda: bomb(30_000, 30_000, "PNG"), "pixels"),
    "bomb, png of 2³¹": (lambda: bomb(2**31 - 1, 2**31 - 1, "PNG"), "pixels"),
    "bomb, jpeg of 30,000²": (lambda: bomb(30_000, 30_000, "JPEG"), "pixels"),
    "bomb, webp of 16,383²": (lambda: bomb(16_383, 16_383, "WEBP"), BROKEN),
    "a line": (lambda: bomb(MAX_SIDE + 8, 1, "PNG"), f"no side may have more than {MAX_SIDE:,}"),
}
