"""What tests of the producer's commands have in common."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from jobs.process.settings import Settings
from producer.cli.commands import app
from storage.backends.s3.settings import S3Settings
from tests.integration.producer.commands import Run


@pytest.fixture
def run(settings: Settings, storage_settings: S3Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, against this test's database and store; `typed` is its input."""
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", storage_settings.endpoint_url)
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", storage_settings.bucket)

    def invoke(*args: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, list(args), input=typed)

    return invoke
