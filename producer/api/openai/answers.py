"""How a finished job's images are returned to OpenAI's clients."""

from __future__ import annotations

import base64
from typing import Any

from producer.api.openai.request import PicturesRequest
from producer.client.image import Image
from producer.client.loop import LoopParts


def described(requested: PicturesRequest, image: Image) -> dict[str, Any]:
    """What answers and events say of an image; its real size and format."""
    record = image.record
    return {
        "background": "opaque",
        "output_format": record.content_type.removeprefix("image/"),
        "quality": requested.level,
        "size": f"{record.width}x{record.height}",
        **({"safety_identifier": requested.end_user} if requested.end_user else {}),
    }


async def encoded(image: Image, loop: LoopParts) -> str:
    """The file, in base64. Raises as `Store.get` does."""
    return base64.b64encode(await loop.read(image.record.key)).decode()
