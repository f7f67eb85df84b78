"""What people are told when Redis or S3 is away, or a worker cannot start: a sentence, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.process import free_port
from ops.servers import RedisServer
from producer import Client
from tests.system.conftest import RunCli


@pytest.mark.parametrize(
    "command",
    [
        ["submit", "a red circle"],
        ["worker"],
        *(pytest.param(each, marks=pytest.mark.long) for each in (["status", "some-job"], ["queue", "list"])),
    ],
)
def test_redis_that_is_away_is_named_with_what_to_do(
    redis_server: RedisServer, cli: RunCli, command: list[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = cli(*command, env={"IMAGEMILL_REDIS_URL": f"redis://{address}/0"})
    assert done.returncode == 3
    assert address in done.stderr
    assert "IMAGEMILL_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_s3_that_is_away_is_named_when_a_worker_starts(cli: RunCli) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    done = cli("worker", env={"IMAGEMILL_S3_ENDPOINT_URL": address})
    assert done.returncode == 3
    assert address in done.stderr
    assert "IMAGEMILL_S3_ENDPOINT_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_s3_key_is_named_when_a_worker_starts(cli: RunCli) -> None:
    done = cli("worker", env={"IMAGEMILL_S3_SECRET_ACCESS_KEY": "wrong"})
    assert done.returncode == 3
    assert "IMAGEMILL_S3_SECRET_ACCESS_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_misspelt_setting_is_named(cli: RunCli) -> None:
    done = cli("submit", "a red circle", env={"IMAGEMILL_REDIS_URI": "redis://nowhere"})
    assert done.returncode == 2
    assert "IMAGEMILL_REDIS_URI" in done.stderr
    assert "Traceback" not in done.stderr


def test_worker_that_cannot_load_its_model_says_so_and_serves_nothing(
    cli: RunCli, system: Client, tmp_path: Path
) -> None:
    catalogue = (Path(__file__).parents[2] / "models.toml").read_text("utf-8")
    models = tmp_path / "models.toml"
    (tmp_path / "empty").mkdir()
    models.write_text(catalogue.replace("workers/builtin/model", "empty"), "utf-8")
    before = {each.name for each in system.workers()}
    done = cli("worker", env={"IMAGEMILL_MODELS_FILE": str(models)})
    assert done.returncode != 0
    assert "cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr
    (failed,) = [each for each in system.workers() if each.name not in before]
    assert (failed.state, failed.serves("gpu.shapes-flow")) == ("failed", False)
    assert "cannot be loaded" in failed.failure
