"""
The requests of Open WebUI, as its source makes them where the image engine is OpenAI's: `open_webui/routers/images.py`,
`image_generations` and what gets the pictures; `open_webui/routers/openai.py`, `verify_connection`.

`new` is 0.12.4, with aiohttp; `old` is 0.6.30, with requests, which sends the key along to whatever link it is given.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from typing import Any
from urllib.parse import urlparse

import aiohttp
import requests

URL, KEY = (os.environ[name] for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"))
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
USER = {  # ENABLE_FORWARD_USER_INFO_HEADERS
    "X-OpenWebUI-User-Name": "Anna%20M%C3%BCller",
    "X-OpenWebUI-User-Id": "2f1c",
    "X-OpenWebUI-User-Email": "anna@example.org",
    "X-OpenWebUI-User-Role": "user",
}
ASKED: dict[str, Any] = {"model": "sim", "prompt": "a blue ring", "n": 2, "size": "128x64"}
FILES: dict[str, Any] = {
    "response_format": "b64_json"
}  # It asks for them unless the model's name is one of gpt-image's.


def report(what: str, **reported: Any) -> None:
    sys.stdout.write(json.dumps({"what": what, **reported}) + "\n")


def shown(content: bytes) -> dict[str, Any]:
    return {"url": None, "b64_json": base64.b64encode(content).decode()}


def origin(url: str) -> tuple[str, str | None, int | None]:
    parsed = urlparse(url)
    return parsed.scheme, parsed.hostname, parsed.port


async def new_image(session: aiohttp.ClientSession, image: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    if not (url := image.get("url")):
        return shown(base64.b64decode(image["b64_json"]))
    sent = {name: value for name, value in headers.items() if name != "Content-Type"}
    async with session.get(url, headers=sent if origin(url) == origin(URL) else None) as answer:
        answer.raise_for_status()
        assert answer.headers.get("content-type", "").split("/")[0] == "image"
        return shown(await answer.read())


async def new(what: str, query: str = "", headers: dict[str, str] = HEADERS, **fields: Any) -> None:
    async with aiohttp.ClientSession(trust_env=True) as session:
        try:
            async with session.post(f"{URL}/images/generations{query}", json=ASKED | fields, headers=headers) as answer:
                answer.raise_for_status()
                made = await answer.json(content_type=None)
            report(what, images=[await new_image(session, image, headers) for image in made["data"]])
        except aiohttp.ClientResponseError as exc:
            report(what, error=type(exc).__name__, status=exc.status)


async def verified() -> None:
    async with (
        aiohttp.ClientSession(trust_env=True) as session,
        session.get(f"{URL}/models", headers=HEADERS, cookies={}) as answer,
    ):
        report("models", models=[each["id"] for each in (await answer.json())["data"]])


def old(what: str, **fields: Any) -> None:
    answer = requests.post(url=f"{URL}/images/generations", json=ASKED | fields, headers=HEADERS)
    answer.raise_for_status()
    report(what, images=[old_image(image) for image in answer.json()["data"]])


def old_image(image: dict[str, Any]) -> dict[str, Any]:
    if not (url := image.get("url")):
        return shown(base64.b64decode(image["b64_json"]))
    answer = requests.get(url, headers=HEADERS)
    assert answer.ok, f"the link answers {answer.status_code}: {answer.text}"
    assert answer.headers["content-type"].split("/")[0] == "image"
    return shown(answer.content)


async def main() -> None:
    await verified()
    await new("files", **FILES)
    await new("files for gpt-image")
    await new("version in the query", query="?api-version=2024-02-01", **FILES)
    await new("all options", headers=HEADERS | USER, quality="hd", style="vivid", **FILES)
    await new("unknown model", model="nothing", **FILES)
    await new("wrong size", size="1024x1024", **FILES)
    await new("wrong key", headers=HEADERS | {"Authorization": "Bearer im_wrong"}, **FILES)
    old("files, by 0.6", **FILES)
    old("files for gpt-image, by 0.6")


if __name__ == "__main__":
    asyncio.run(main())
