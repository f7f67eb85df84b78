"""
A service that has OpenAI's client for Python, 1.0 or later, and nothing of ours, configured by its environment.

Prints a JSON object a line: what it asked for, and what it got.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

URL, HASTY_KEY = (os.environ[name] for name in ("OPENAI_BASE_URL", "CLIENT_HASTY_KEY"))
PICTURE, MASK = (Path(os.environ[name]) for name in ("CLIENT_PICTURE", "CLIENT_MASK"))
ASKED = {"prompt": "a blue ring", "n": 2, "size": "128x64"}

client: Any = openai.OpenAI(base_url=URL)  # Its key is in OPENAI_API_KEY; 1.0 does not look for its address there.
HAS_MODELS, HAS_STREAMS = (name in inspect.signature(client.images.generate).parameters for name in ("model", "stream"))
if HAS_MODELS:
    ASKED["model"] = "sim"


def report(what: str, ask: Callable[[], dict[str, Any]]) -> None:
    try:
        reported = ask()
    except openai.APIError as exc:
        reported = {"error": type(exc).__name__, "status": getattr(exc, "status_code", None), "text": str(exc)}
        if hasattr(exc, "body"):  # 1.0 looks for the fields of an error where they are not.
            reported["param"] = exc.param
    sys.stdout.write(json.dumps({"what": what, **reported}) + "\n")


def images(**fields: Any) -> dict[str, Any]:
    return shown(client.images.generate(**{**ASKED, **fields}))


def shown(answer: Any) -> dict[str, Any]:
    return {"images": [{"url": image.url, "b64_json": image.b64_json} for image in answer.data]}


def edited(**fields: Any) -> dict[str, Any]:
    return shown(client.images.edit(**{"image": PICTURE, "prompt": "a blue ring", "n": 2, **fields}))


def edited_by_file_id() -> dict[str, Any]:
    file = client.files.create(file=PICTURE, purpose="vision")
    body = {"prompt": "a blue ring", "n": 2, "images": [{"file_id": file.id}]}
    return shown(client.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse))


def wrong_key() -> dict[str, Any]:
    return shown(openai.OpenAI(base_url=URL, api_key="im_wrong").images.generate(prompt="a star"))


def too_often() -> dict[str, Any]:
    while True:
        openai.OpenAI(base_url=URL, api_key=HASTY_KEY, max_retries=0).models.list()


def again_after_429() -> dict[str, Any]:
    return {"models": [each.id for each in openai.OpenAI(base_url=URL, api_key=HASTY_KEY).models.list()]}


def asynchronous() -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with openai.AsyncOpenAI(base_url=URL) as one:
            return shown(await one.images.generate(**ASKED))  # type: ignore[call-overload]

    return asyncio.run(ask())


def streamed(stream: Any, kind: str = "image_generation.completed") -> dict[str, Any]:
    events = list(stream)
    assert {event.type for event in events} == {kind}
    return {"images": [{"url": None, "b64_json": event.b64_json} for event in events]}


def edited_and_streamed() -> dict[str, Any]:
    stream = client.images.edit(image=PICTURE, prompt="a blue ring", n=2, stream=True, partial_images=1)
    return streamed(stream, "image_edit.completed")


def canceled_while_streamed() -> dict[str, Any]:
    stream = client.images.generate(**ASKED, stream=True, extra_body={"num_inference_steps": 1000})
    job = f"{URL}/jobs/{stream.response.headers['x-request-id']}"
    request = urllib.request.Request(job, method="DELETE", headers={"Authorization": f"Bearer {client.api_key}"})
    urllib.request.urlopen(request).close()
    return {"images": list(stream)}


def main() -> None:
    report("nothing chosen", images)
    report("links", lambda: images(response_format="url"))
    report("files", lambda: images(response_format="b64_json"))
    report("all options", lambda: images(user="u-12", extra_body={"seed": 7, "quality": "hd", "style": "vivid"}))
    report("asynchronous", asynchronous)
    report("unknown model", lambda: images(extra_body={"model": "nothing"}))
    report("wrong size", lambda: images(size="1024x1024"))
    report("wrong key", wrong_key)
    report("models", lambda: {"models": [each.id for each in client.models.list()]})
    report("a model", lambda: {"models": [client.models.retrieve("sim").id]})
    report("unknown model looked up", lambda: {"models": [client.models.retrieve("nothing").id]})
    report("another route", lambda: {"answer": str(client.embeddings.create(model="sim", input="a star"))})
    report("version in the query", lambda: images(extra_query={"api-version": "2024-02-01"}))
    report("edited", edited)
    report("edited by a mask", lambda: edited(mask=MASK, size="128x64", response_format="b64_json"))
    if HAS_STREAMS:
        report("streamed", lambda: streamed(client.images.generate(**ASKED, stream=True, partial_images=1)))
        report("canceled while streamed", canceled_while_streamed)
        report("edited and streamed", edited_and_streamed)
        report("edited by file id", edited_by_file_id)
        report("several pictures", lambda: edited(image=[PICTURE, PICTURE]))
    report("too often", too_often)
    report("again after 429", again_after_429)


if __name__ == "__main__":
    main()
