"""`./imagemill submit --file` with a real worker: one command for many pictures, interrupted and given again."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from ops.process import wait_until
from producer import Client
from tests.system.conftest import CHECKOUT, DEADLINE_S, RunCli

SHAPES = (
    "a red circle on a blue background",
    "a green cross on a white background",
    "a red heart on a black background",
)


def jobs_of(system: Client, caller: str) -> list[str]:
    return sorted(record.id for record in system.list_jobs(caller)[0])


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


@pytest.mark.usefixtures("worker")
def test_file_becomes_pictures_in_a_folder(cli: RunCli, system: Client, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(SHAPES), "utf-8")
    command = ["submit", "--file", "prompts.txt", "--steps", "2", "--out", "pictures", "--caller", "a-file"]
    done = cli(*command)
    assert done.returncode == 0, done.stderr
    assert "3 succeeded of 3" in done.stderr
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [each.name for each in pictures] == ["1.png", "2.png", "3.png"]
    assert {size_of(each) for each in pictures} == {(128, 128)}
    first = jobs_of(system, "a-file")
    again = cli(*command, "--json")
    assert sorted(json.loads(line)["id"] for line in again.stdout.splitlines()) == first == jobs_of(system, "a-file")


def test_interrupted_command_goes_on_when_it_is_given_again(
    cli: RunCli, system: Client, stack_env: dict[str, str], tmp_path: Path
) -> None:
    lines = [{"prompt": prompt, "custom_id": str(number)} for number, prompt in enumerate(SHAPES)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    command = ["submit", "--file", "prompts.jsonl", "--steps", "2", "--caller", "interrupted"]
    system.parts.control.pause("gpu.shapes-flow")
    try:
        program = str(CHECKOUT / "imagemill")
        with subprocess.Popen(
            [program, *command], env=stack_env, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as running:
            assert wait_until(lambda: len(jobs_of(system, "interrupted")) == 3, DEADLINE_S)
            running.send_signal(signal.SIGINT)
            _, printed = running.communicate(timeout=DEADLINE_S)
        assert running.returncode == 130
        assert "interrupted: 3 of 3 jobs are submitted" in printed
        assert "same command again" in " ".join(printed.split())
        assert "Traceback" not in printed
    finally:
        system.parts.control.resume("gpu.shapes-flow")
    submitted = jobs_of(system, "interrupted")
    done = cli(*command, "--json")
    assert done.returncode == 0, done.stderr
    ended = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(each["id"] for each in ended) == submitted == jobs_of(system, "interrupted")
    assert {each["status"] for each in ended} == {"succeeded"}
