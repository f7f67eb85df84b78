"""`docker compose config` says nothing but the configuration: no warning, with nothing set and nothing prepared."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.compose.conftest import CHECKOUT


@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", "docker-compose.cpu.yml"]])
def test_configuration_is_clean(files: list[str]) -> None:
    compose = [shutil.which("docker") or "", "compose"]
    if not compose[0] or subprocess.run([*compose, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this needs the docker command with its Compose plugin")
    chosen = [word for file in files for word in ("--file", str(CHECKOUT / file))]
    env = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG") if name in os.environ}
    command = [*compose, "--env-file", os.devnull, *chosen, "config"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("nvidia" in done.stdout) == (len(files) == 1)
