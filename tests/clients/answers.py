"""What a client's program prints, held to what was to come of each thing that it asked for."""

from __future__ import annotations

import base64
import io
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

Answer = Mapping[str, Any]

_COUNT, SIZE = 2, (128, 64)
_WAYS = {"links": {"url"}, "files": {"b64_json"}, "nothing chosen": {"url", "b64_json"}}  # Others read what they like.
_ERRORS = {
    "unknown model": (404, "model", "there is no model 'nothing'"),
    "wrong size": (400, "size", "size: sim makes 64 to 256 pixels"),
    "several pictures": (400, "image", "edits one picture at a time; 2 were sent"),
    "wrong key": (401, None, "API key is not valid"),
    "unknown model looked up": (404, "model", "there is no model 'nothing'"),
    "another route": (404, None, "path"),
    "too often": (429, None, "key"),
}


def wrong_in(answer: Answer, classes: Mapping[int, str]) -> str | None:
    """
    What is not as it was to be in one line that a program printed.

    Args:
        answer: Its JSON.
        classes: What the client's errors are called, by their status.
    """
    what = answer["what"]
    if what in _ERRORS:
        is_right = _is_error(answer, classes)
    elif what == "canceled while streamed":
        is_right = answer.get("error") == "APIError" and answer["status"] is None and "canceled" in answer["text"]
    elif "models" in answer:
        is_right = answer["models"] == ["sim"]
    else:
        is_right = _are_images(answer.get("images", []), _WAYS.get(what))
    return None if is_right else f"{what}: {str(dict(answer))[:600]}"


def _is_error(answer: Answer, classes: Mapping[int, str]) -> bool:
    status, param, words = _ERRORS[answer["what"]]
    is_known = (answer.get("error"), answer.get("status")) == (classes[status], status)
    return is_known and answer.get("param", param) == param and words in answer.get("text", words)


def _are_images(images: Sequence[Mapping[str, str | None]], ways: set[str] | None) -> bool:
    """Whether they came as they were asked for, and each link leads to the file that came with it."""
    for image in images:
        given = {way: value for way, value in image.items() if value}
        files = {_file_of(value) for value in given.values()}
        if (ways is not None and set(given) != ways) or [_size_of(file) for file in files] != [SIZE]:
            return False
    return len(images) == _COUNT


def _file_of(value: str) -> bytes:
    """The bytes that a link or a text in base64 stands for."""
    if not value.startswith("http"):
        return base64.b64decode(value)
    with urllib.request.urlopen(value) as answer:
        content: bytes = answer.read()
    return content


def _size_of(file: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(file)).size
