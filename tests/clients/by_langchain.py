"""
A service that has LangChain's image call, which reads `url` and chooses no `response_format`.

Prints a JSON object a line: what it asked for, and what it got.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import openai
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper


def report(what: str, ask: Callable[[], dict[str, Any]]) -> None:
    try:
        reported = ask()
    except openai.APIStatusError as exc:
        reported = {"error": type(exc).__name__, "status": exc.status_code, "param": exc.param, "text": str(exc)}
    sys.stdout.write(json.dumps({"what": what, **reported}) + "\n")


def links(**fields: Any) -> dict[str, Any]:
    text = DallEAPIWrapper(**{"model": "sim", "n": 2, "size": "128x64", **fields}).run("a blue ring")
    return {"images": [{"url": url, "b64_json": None} for url in text.splitlines()]}


def main() -> None:
    report("links", links)
    report("all options", lambda: links(quality="hd"))
    report("unknown model", lambda: links(model="nothing"))
    report("wrong size", lambda: links(size="1024x1024"))
    report("wrong key", lambda: links(api_key="im_wrong"))


if __name__ == "__main__":
    main()
