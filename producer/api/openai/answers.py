"""How a finished job's images are told to OpenAI's clients."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from producer.api.openai.request import ImagesRequest
from producer.client.image import Image

# Of their own: a store that hangs must not keep jobs from being submitted.
_READERS = ThreadPoolExecutor(8, thread_name_prefix="images")


def described(asked: ImagesRequest, image: Image) -> dict[str, Any]:
    """What answers and events say of an image; its real size and format."""
    record = image.record
    return {
        "background": "opaque",
        "output_format": record.content_type.removeprefix("image/"),
        "quality": asked.level,
        "size": f"{record.width}x{record.height}",
        **({"safety_identifier": asked.end_user} if asked.end_user else {}),
    }


async def encoded(image: Image) -> str:
    """The file, in base64. Raises as `ImageStore.get` does."""
    file = await asyncio.get_running_loop().run_in_executor(_READERS, image.read)
    return base64.b64encode(file).decode()
