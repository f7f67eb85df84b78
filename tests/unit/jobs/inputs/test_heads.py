"""What bytes say of a picture as they pass: held against what Pillow says of the whole file, which decodes it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from jobs.inputs.heads import MAX_PIXELS, MAX_SIDE, Head, PassingPicture, PictureRefused, head_of

WIDTH, HEIGHT = 48, 32
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(mode: str = "RGB") -> Image.Image:
    image = Image.radial_gradient("L").resize((WIDTH, HEIGHT))
    return Image.merge("RGB", (image, image.rotate(90, expand=False), image)).convert(mode)


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(kind, exif=exif.tobytes())


def animated(kind: str) -> bytes:
    frames = [picture(), picture().rotate(20)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=50)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def ihdr(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def moved_exif() -> bytes:
    """A PNG whose orientation stands behind its pixels, where PNG allows it, too."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("PNG").replace(chunk(b"IEND"), chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))) + chunk(
        b"IEND"
    )


def filled_up() -> bytes:
    """A JPEG with bytes before a marker that mean nothing (T.81, B.1.1.2)."""
    data = saved("JPEG")
    at = data.index(b"\xff\xdb")
    return data[:at] + b"\xff" * 100 + data[at:]


def behind_a_thumbnail() -> bytes:
    """A JPEG in which another one stands, with an end of its own, before it begins."""
    data = saved("JPEG")
    inner = saved("JPEG", quality=1)
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(inner) + 2) + inner + data[2:]


GOOD: dict[str, Callable[[], bytes]] = {
    **{f"{kind}, turned {at}": lambda kind=kind, at=at: turned(kind, at) for kind in TYPES for at in range(1, 9)},  # type: ignore[misc]
    **{f"PNG, {mode}": lambda mode=mode: saved("PNG", mode) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")},  # type: ignore[misc]
    **{f"JPEG, {mode}": lambda mode=mode: saved("JPEG", mode) for mode in ("L", "CMYK")},  # type: ignore[misc]
    "JPEG, progressive": lambda: saved("JPEG", progressive=True),
    "JPEG, in restarts": lambda: saved("JPEG", restart_marker_blocks=1),
    "JPEG, with a comment": lambda: saved("JPEG", comment=b"\xff\xd9" * 100),
    "JPEG, with a long profile": lambda: saved("JPEG", icc_profile=b"\xff\xd9" * 100_000),
    "JPEG, filled up": filled_up,
    "JPEG, behind a thumbnail": behind_a_thumbnail,
    "JPEG, with something behind it": lambda: saved("JPEG") + b"PK\x03\x04" * 100,
    "PNG, with something behind it": lambda: saved("PNG") + b"PK\x03\x04" * 100,
    "PNG, turned at its end": moved_exif,
    "PNG, animated": lambda: animated("PNG"),
    "WebP, lossless": lambda: saved("WEBP", lossless=True),
    "WebP, lossless, with alpha": lambda: saved("WEBP", "RGBA", lossless=True),
    "WebP, with alpha": lambda: saved("WEBP", "RGBA"),
    "WebP, animated": lambda: animated("WEBP"),
    "WebP, with a profile": lambda: saved("WEBP", icc_profile=b"1234567"),
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the file is empty"),
    "a few bytes": (b"\xff\xd8\xff", "no PNG, JPEG or WebP"),
    "text": (b"a red circle on a blue background", "no PNG, JPEG or WebP"),
    "GIF": (saved("GIF"), "no PNG, JPEG or WebP"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG, JPEG or WebP"),
    "PNG without pixels": (SIGNATURE + ihdr(8, 8) + chunk(b"IEND"), "broken"),
    "PNG of no width": (SIGNATURE + ihdr(0, 8), "no pixels"),
    "PNG without a head": (SIGNATURE + chunk(b"IDAT", b"1") + chunk(b"IEND"), "broken"),
    "PNG with two heads": (SIGNATURE + ihdr(8, 8) + ihdr(9, 9), "broken"),
    "PNG, a bomb": (SIGNATURE + ihdr(30_000, 30_000), f"more than {MAX_PIXELS:,} pixels"),
    "PNG, a line": (SIGNATURE + ihdr(MAX_SIDE + 1, 1), f"no side may have more than {MAX_SIDE:,}"),
    "PNG of chunks alone": (SIGNATURE + ihdr(8, 8) + chunk(b"tEXt") * 120_000, "broken"),
    "JPEG that ends at once": (b"\xff\xd8\xff\xd9" + bytes(20), "broken"),
    "JPEG without a size": (b"\xff\xd8\xff\xda\x00\x02" + bytes(20) + b"\xff\xd9", "broken"),
    "JPEG of fill bytes": (b"\xff\xd8" + b"\xff" * 200_000, "broken"),
    "JPEG with a segment of no length": (b"\xff\xd8\xff\xe0\x00\x01" + bytes(20), "broken"),
    "WebP without a picture": (b"RIFF" + struct.pack("<I", 4) + b"WEBP", "broken"),
    "WebP whose part is longer": (b"RIFF" + struct.pack("<I", 22) + b"WEBPEXIF" + struct.pack("<I", 99), "broken"),
    "WebP with a head that is cut": (
        b"RIFF" + struct.pack("<I", 16) + b"WEBPVP8X" + struct.pack("<II", 4, 0),
        "broken",
    ),
}


def by_pillow(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return ImageOps.exif_transpose(image).size


def in_pieces(data: bytes, size: int) -> Head:
    passing = PassingPicture()
    for start in range(0, len(data), size):
        passing.feed(data[start : start + size])
    return passing.finish()


@pytest.mark.parametrize("name", GOOD)
def test_head_is_what_a_decoder_finds(name: str) -> None:
    data = GOOD[name]()
    width, height = by_pillow(data)
    found = head_of(data)
    assert (found.content_type, found.width, found.height) == (
        f"image/{name.partition(',')[0].lower()}",
        width,
        height,
    )
    for size in (1, 7, 64):
        assert in_pieces(data, size) == found


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_gets_a_sentence(name: str) -> None:
    data, sentence = REFUSED[name]
    for size in (1, max(len(data), 1)):
        with pytest.raises(PictureRefused, match=sentence):
            in_pieces(data, size)


@pytest.mark.parametrize("name", ["PNG, RGBA", "PNG, animated", "JPEG, L", "JPEG, progressive", "WebP, with alpha"])
def test_picture_is_refused_wherever_it_is_cut(name: str) -> None:
    data = GOOD[name]()
    for end in range(len(data)):
        with pytest.raises(PictureRefused):
            head_of(data[:end])
    assert head_of(data)


def test_format_is_known_before_the_rest_comes() -> None:
    passing = PassingPicture()
    passing.feed(saved("PNG")[:12])
    assert passing.content_type == "image/png"


@given(data=st.data())
def test_files_that_are_changed_at_random_have_a_head_or_get_a_sentence(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(GOOD)), label="picture")
    changed = bytearray(GOOD[name]())
    for _ in range(data.draw(st.integers(1, 8), label="changes")):
        changed[data.draw(st.integers(0, min(len(changed), 400) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = head_of(bytes(changed))
    except PictureRefused:
        return
    assert 0 < found.width * found.height <= MAX_PIXELS
