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
    note = None if made_with is None else json.dumps(made_with, ensure_ascii=False)
    if form == "png":
        return {"pnginfo": _png_chunks(mark, note)}
    return {"xmp": mark.encode(), **({} if note is None else {"exif": _exif(note)})}


def _png_chunks(mark: str, note: str | None) -> PngInfo:
    text = PngInfo()
    text.add_itxt(_PNG_XMP, mark)  # Pillow 13 has an `xmp` for JPEG and WebP, and leaves it out of a PNG.
    if note is not None:
        text.add_itxt("parameters", note)
    return text


def _exif(note: str) -> Image.Exif:
    exif = Image.Exif()
    # EXIF 2.32, 4.6.5: the comment begins with eight bytes that name its character code.
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\x00" + note.encode("utf-16-be")
    exif[ExifTags.Base.Software] = "imagemill"
    return exif
