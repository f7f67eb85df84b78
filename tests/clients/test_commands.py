"""What is on every machine and knows nothing of OpenAI: curl, in both versions of HTTP, and wget."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping

import pytest

from tests.clients.answers import wrong_in

ASKED = {"model": "sim", "prompt": "a blue ring", "n": 2, "size": "128x64"}
CURL, WGET = shutil.which("curl"), shutil.which("wget")

without_curl = pytest.mark.skipif(CURL is None, reason="there is no curl here")


def curl(env: Mapping[str, str], *options: str, **fields: object) -> str:
    headers = ["-H", f"Authorization: Bearer {env['OPENAI_API_KEY']}", "-H", "Content-Type: application/json"]
    body = ["-d", json.dumps(ASKED | fields), f"{env['OPENAI_BASE_URL']}/images/generations"]
    return _printed([str(CURL), "--silent", "--show-error", *options, *headers, *body])


def _printed(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@without_curl
@pytest.mark.parametrize("http", ["--http1.0", "--http1.1"])
def test_curl_has_pictures_and_links(env: Mapping[str, str], http: str) -> None:
    made = json.loads(curl(env, http))["data"]
    assert wrong_in({"what": "nothing chosen", "images": [_shown(image) for image in made]}, {}) is None


@without_curl
@pytest.mark.parametrize("http", ["--http1.0", "--http1.1"])
def test_curl_has_events(env: Mapping[str, str], http: str) -> None:
    head, text = curl(env, http, "--include", "--no-buffer", stream=True).replace("\r", "").split("\n\n", 1)
    assert ("transfer-encoding: chunked" in head.lower()) == (http == "--http1.1")
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    made = [{"url": None, "b64_json": json.loads(line)["b64_json"]} for line in lines]
    assert wrong_in({"what": "streamed", "images": made}, {}) is None


@without_curl
def test_curl_follows_a_link_and_sends_its_key_along(env: Mapping[str, str]) -> None:
    (link, _) = (image["url"] for image in json.loads(curl(env, response_format="url"))["data"])
    key = ["-H", f"Authorization: Bearer {env['OPENAI_API_KEY']}"]
    done = subprocess.run([str(CURL), "-sSfL", *key, link], check=True, capture_output=True)
    file = {"url": None, "b64_json": base64.b64encode(done.stdout).decode()}
    assert wrong_in({"what": "files", "images": [file, file]}, {}) is None


@pytest.mark.skipif(WGET is None, reason="there is no wget here")
def test_wget_has_pictures_and_links(env: Mapping[str, str]) -> None:
    headers = [
        f"--header=Authorization: Bearer {env['OPENAI_API_KEY']}",
        "--header=Content-Type: application/json",
    ]
    body = ["--post-data", json.dumps(ASKED), f"{env['OPENAI_BASE_URL']}/images/generations"]
    made = json.loads(_printed([str(WGET), "-qO-", *headers, *body]))["data"]
    assert wrong_in({"what": "nothing chosen", "images": [_shown(image) for image in made]}, {}) is None


def _shown(image: Mapping[str, str]) -> dict[str, str | None]:
    return {"url": image.get("url"), "b64_json": image.get("b64_json")}
