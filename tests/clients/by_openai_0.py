"""
A service that has the first generation of OpenAI's client for Python, configured by its environment.

Prints a JSON object a line: what it asked for, and what it got.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

api: Any = openai  # Its names of then.
api.api_base = os.environ["OPENAI_BASE_URL"]
HASTY_KEY = os.environ["CLIENT_HASTY_KEY"]


def report(what: str, ask: Callable[[], dict[str, Any]]) -> None:
    try:
        reported = ask()
    except api.error.OpenAIError as exc:
        param = getattr(exc, "param", None)
        reported = {"error": type(exc).__name__, "status": exc.http_status, "param": param, "text": str(exc)}
    sys.stdout.write(json.dumps({"what": what, **reported}) + "\n")


def images(**fields: Any) -> dict[str, Any]:
    answer = api.Image.create(**{"prompt": "a blue ring", "n": 2, "size": "128x64", **fields})
    return {"images": [{"url": image.get("url"), "b64_json": image.get("b64_json")} for image in answer["data"]]}


def edited(**files: str) -> dict[str, Any]:
    opened = {name: Path(os.environ[path]).open("rb") for name, path in files.items()}  # noqa: SIM115 - it ends soon
    answer = api.Image.create_edit(**opened, prompt="a blue ring", n=2, size="128x64")
    return {"images": [{"url": image.get("url"), "b64_json": image.get("b64_json")} for image in answer["data"]]}


def models(**fields: Any) -> dict[str, Any]:
    return {"models": [each["id"] for each in api.Model.list(**fields)["data"]]}


def too_often() -> dict[str, Any]:
    while True:
        models(api_key=HASTY_KEY)


def main() -> None:
    report("nothing chosen", images)
    report("links", lambda: images(response_format="url"))
    report("files", lambda: images(response_format="b64_json"))
    report("edited", lambda: edited(image="CLIENT_PICTURE"))
    report("edited by a mask", lambda: edited(image="CLIENT_PICTURE", mask="CLIENT_MASK"))
    report("unknown model", lambda: images(model="nothing"))
    report("wrong size", lambda: images(size="1024x1024"))
    report("wrong key", lambda: images(api_key="im_wrong"))
    report("models", models)
    report("a model", lambda: {"models": [api.Model.retrieve("sim")["id"]]})
    report("unknown model looked up", lambda: {"models": [api.Model.retrieve("nothing")["id"]]})
    report("another route", lambda: {"answer": str(api.Embedding.create(model="sim", input="a star"))})
    report("too often", too_often)


if __name__ == "__main__":
    main()
