"""What the README and the pages behind it show runs as it stands there, against the running system."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.catalogue.entry import Model
from ops.programs import Api
from producer import Client
from tests.system.conftest import CHECKOUT, DEADLINE_S

PAGES = ("README.md", "docs/http.md", "docs/celery.md", "docs/edits.md")
# What the examples say of the local stack, which is another one here.
API_URL, REDIS_URL = "http://127.0.0.1:8000", "redis://127.0.0.1:6390/0"
NO_PROXY = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
# Of each request, its status comes behind its answer.
CURL = "curl() { command curl --silent --show-error --max-time 60 --write-out '\\n%{http_code}' \"$@\"; }"


def blocks(language: str, pages: Sequence[str] = PAGES) -> list[str]:
    text = "\n".join((CHECKOUT / page).read_text("utf-8") for page in pages)
    return list(dict.fromkeys(re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)))


def commands() -> list[str]:
    """Those of ours, but for one that does not end."""
    lines = [line.split("  #")[0].strip() for block in blocks("sh", PAGES[:1]) for line in block.splitlines()]
    return [line for line in lines if line.startswith("./imagemill ") and line != "./imagemill worker"]


def requests() -> list[tuple[str, int]]:
    """The lines with curl, and the status that each says it is answered with."""
    lines = [
        line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl ") and "$API" in line
    ]
    said = [re.search(r" # (\d{3})\b", line) for line in lines]
    return [(line, int(found[1]) if found else 200) for line, found in zip(lines, said, strict=True)]


def curl(line: str, names: dict[str, str], folder: Path) -> tuple[int, str]:
    """Status and answer."""
    env = {**os.environ, **NO_PROXY, **names}
    command = ["bash", "-euo", "pipefail", "-c", f"{CURL}\n{line}"]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), answer


def draw(folder: Path) -> None:
    """What examples edit."""
    Image.new("RGB", (128, 128), "blue").save(folder / "photo.png")
    Image.new("L", (128, 128), 255).save(folder / "m.png")


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_every_entry_of_a_model_is_one(page: str) -> None:
    entries: dict[str, dict[str, Any]] = {}
    for block in blocks("toml", [page]):
        ((name, lines),) = tomllib.loads(block)["models"].items()
        entries[name] = entries.get(name, {}) | lines  # Some are further lines of an entry before.
        assert Model(name=name, **entries[name])


def test_every_command_runs(system: Client, stack_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red circle\na green square\n", "utf-8")
    job = system.submit("a red circle").id
    for line in commands():
        command = shlex.split(line.replace("./imagemill", str(CHECKOUT / "imagemill")).replace("JOB", job))
        done = subprocess.run(command, env=stack_env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "star.png").stat().st_size > 0
    assert len(list((tmp_path / "pictures").iterdir())) >= 2


def test_every_curl_example_is_answered_as_it_says(api: Api, tmp_path: Path) -> None:
    lines = [{"custom_id": f"order-{n}", "prompt": "a red circle", "num_inference_steps": 1} for n in range(3)]
    (tmp_path / "jobs.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines), "utf-8")
    draw(tmp_path)
    names = {"API": api.url}
    answers = {}
    for line, said in requests():
        status, answers[line] = curl(line, names, tmp_path)
        assert status == said, f"{line}\n{answers[line]}"
        if status == 202:
            names.setdefault("JOB", json.loads(answers[line])["id"])
        if found := re.search(r"/v1/jobs/batches/([\w-]+)", answers[line]):
            names.setdefault("BATCH", found[1])
    assert len(answers) >= 12
    waited = json.loads(next(answer for line, answer in answers.items() if "Prefer: wait" in line))
    assert (waited["status"], len(waited["images"])) == ("succeeded", 1)
    (heard,) = (answer for line, answer in answers.items() if "/events" in line)
    assert "event: completed" in heard
    (results,) = (answer for line, answer in answers.items() if "/results" in line)
    assert [json.loads(each)["custom_id"] for each in results.splitlines()] == ["order-0", "order-1", "order-2"]


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: re.findall(r"import (\w+)", code)[0])
def test_every_python_example_runs(
    code: str, api: Api, system: Client, stack_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a red circle\na green square\n", "utf-8")
    draw(tmp_path)
    here = code.replace(API_URL, api.url).replace(REDIS_URL, stack_env["IMAGEMILL_REDIS_URL"])
    done = subprocess.run(
        [sys.executable, "-c", here],
        env={**stack_env, **NO_PROXY},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
