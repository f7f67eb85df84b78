"""
What an image file says of itself: that a machine made it, and, where it may, what makes it again.

The mark is IPTC's digital source type, as XMP: Google, Meta and others read it there, and laws ask for a mark that
machines can read. https://cv.iptc.org/newscodes/digitalsourcetype/
"""

from __future__ import annotations

import json
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import DigitalSource, made_with

# XMP Specification Part 1, 7.3: a packet, UTF-8, between two processing instructions; "r" says that it has no padding.
_MARK = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' Iptc4xmpExt:DigitalSourceType="{uri}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
# A segment of JPEG has 65,533 bytes (ITU-T T.81, B.1.1.4), of which EXIF's own heads take some.
_JPEG_NOTE_BYTES = 65_000
_KEPT_CHARS = 1_000  # of a prompt that is too long for it
_SHORTENED = "shortened"
_PNG_XMP = "XML:com.adobe.xmp"  # XMP Specification Part 3, 1.1.5: the keyword of its iTXt chunk


def parameters(spec: GenerateSpec, model: Model, seed: int) -> dict[str, Any]:
    """What makes this image again. Nothing that differs between runs, so that equal jobs give equal bytes."""
    described = {"software": "imagemill", "model": model.name, "revision": model.revision}
    return {**described, **made_with(spec), "seed": seed}


def options_of(form: str, source: DigitalSource, made_with: dict[str, Any] | None) -> dict[str, Any]:
    """
    What Pillow's `save` takes to write the mark, and `made_with` unless it is None.

    Args:
        form: "png", "jpeg" or "webp".
        source: What the mark says.
    """
    mark = _MARK.format(uri=source.uri)
    note = None if made_with is None else _note(made_with, form)
    if form == "png":
        return {"pnginfo": _png_chunks(mark, note)}
    return {"xmp": mark.encode(), **({} if note is None else {"exif": _exif(note)})}


def _note(made_with: dict[str, Any], form: str) -> str:
    """As JSON. What is too long for a JPEG is cut there, and says so: `job.json` has all of it."""
    note = json.dumps(made_with, ensure_ascii=False)
    if form != "jpeg" or len(_utf_16(note)) <= _JPEG_NOTE_BYTES:
        return note
    long = {name: text for name, text in made_with.items() if isinstance(text, str) and len(text) > _KEPT_CHARS}
    kept = {name: f"{text[:_KEPT_CHARS]}…" for name, text in long.items()}
    return json.dumps({**made_with, **kept, _SHORTENED: list(kept)}, ensure_ascii=False)


def _utf_16(note: str) -> bytes:
    return note.encode("utf-16-be")


def _png_chunks(mark: str, note: str | None) -> PngInfo:
    text = PngInfo()
    text.add_itxt(_PNG_XMP, mark)  # Pillow 13 has an `xmp` for JPEG and WebP, and leaves it out of a PNG.
    if note is not None:
        text.add_itxt("parameters", note)
    return text


def _exif(note: str) -> Image.Exif:
    exif = Image.Exif()
    # EXIF 2.32, 4.6.5: the comment begins with eight bytes that name its character code.
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\x00" + _utf_16(note)
    exif[ExifTags.Base.Software] = "imagemill"
    return exif
