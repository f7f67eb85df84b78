"""
A service that has LiteLLM, whose errors are kinds of those of OpenAI's client.

Prints a JSON object a line: what it asked for, and what it got.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import litellm
import openai

URL, HASTY_KEY = (os.environ[name] for name in ("OPENAI_BASE_URL", "CLIENT_HASTY_KEY"))
litellm.suppress_debug_info = True


def report(what: str, ask: Callable[[], dict[str, Any]]) -> None:
    try:
        reported = ask()
    except openai.APIStatusError as exc:
        reported = {"error": type(exc).__name__, "status": exc.status_code, "text": str(exc)}
    sys.stdout.write(json.dumps({"what": what, **reported}) + "\n")


def images(**fields: Any) -> dict[str, Any]:
    asked = {"model": "openai/sim", "api_base": URL, "n": 2, "size": "128x64", **fields}
    answer = litellm.image_generation(prompt="a blue ring", **asked)
    return {"images": [{"url": image.url, "b64_json": image.b64_json} for image in answer.data]}


def too_often() -> dict[str, Any]:
    while True:
        images(api_key=HASTY_KEY, max_retries=0)


def main() -> None:
    report("nothing chosen", images)
    report("links", lambda: images(extra_body={"response_format": "url"}))
    report("files", lambda: images(extra_body={"response_format": "b64_json"}))
    report("all options", lambda: images(quality="hd", user="u-12", seed=7))
    report("by way of a proxy", lambda: images(model="litellm_proxy/sim"))
    report("unknown model", lambda: images(model="openai/nothing"))
    report("wrong size", lambda: images(size="1024x1024"))
    report("wrong key", lambda: images(api_key="im_wrong"))
    found = {"check_provider_endpoint": True, "custom_llm_provider": "openai", "api_base": URL}
    report("models", lambda: {"models": litellm.get_valid_models(**found)})
    report("too often", too_often)


if __name__ == "__main__":
    main()
