"""Clients of OpenAI's image API, as services have them, with nothing changed but the address and the key."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.answers import Answer, wrong_in
from tests.clients.environments import modules_of_node, python_of
from tests.environments import NotMade

HERE = Path(__file__).parent
NODE, NPM = shutil.which("node"), shutil.which("npm")
PATIENCE_S = 600

CLASSES = {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError"}
OF_THEN = CLASSES | {400: "InvalidRequestError", 404: "InvalidRequestError"}
OF_VERCEL = dict.fromkeys(CLASSES, "AI_APICallError")
OF_AIOHTTP = dict.fromkeys(CLASSES, "ClientResponseError")


def reported_by(command: list[str], env: Mapping[str, str], folder: Path) -> dict[str, Answer]:
    """What a client's program printed, by what it asked for."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["what"]: line for line in lines}


@pytest.mark.parametrize(
    ("clients", "program", "classes", "count"),
    [
        ("openai-0.28", "by_openai_0.py", OF_THEN, 13),
        ("openai-1.0", "by_openai.py", CLASSES, 17),
        ("today", "by_openai.py", CLASSES, 22),
        ("today", "by_langchain.py", CLASSES, 5),
        ("today", "by_litellm.py", CLASSES, 10),
        ("today", "by_open_webui.py", OF_AIOHTTP, 10),
    ],
)
def test_client_in_python(
    env: Mapping[str, str], clients: str, program: str, classes: Mapping[int, str], count: int
) -> None:
    answers = reported_by([str(python_of(clients)), program], env, HERE)
    assert "\n".join(wrong for each in answers.values() if (wrong := wrong_in(each, classes))) == ""
    assert len(answers) == count


@pytest.mark.skipif(NODE is None or NPM is None, reason="there is no Node with npm here")
@pytest.mark.parametrize(
    ("program", "classes", "count"), [("by_openai.mjs", CLASSES, 21), ("by_vercel.mjs", OF_VERCEL, 9)]
)
def test_client_in_node(
    env: Mapping[str, str], tmp_path: Path, program: str, classes: Mapping[int, str], count: int
) -> None:
    try:
        modules = modules_of_node()
    except NotMade as exc:
        pytest.skip(str(exc))  # A machine may reach Python's packages alone.
    (tmp_path / "node_modules").symlink_to(modules)
    shutil.copy(HERE / program, tmp_path)  # Node looks for modules beside the program.
    answers = reported_by([str(NODE), program], env, tmp_path)
    assert "\n".join(wrong for each in answers.values() if (wrong := wrong_in(each, classes))) == ""
    assert len(answers) == count
