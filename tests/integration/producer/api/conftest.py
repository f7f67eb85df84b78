"""The API in this process, on a real Redis and a real S3 store; the table's own calls stand for a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.settings import Settings
from producer.api.app import create_app
from producer.api.settings import ApiSettings
from storage.s3 import ImageStore
from storage.settings import StorageSettings

DEADLINE_S = 10.0


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(max_wait_s=5, body_timeout_s=0.5)


@pytest.fixture
def app(settings: Settings, storage_settings: StorageSettings, store: ImageStore, api_settings: ApiSettings) -> FastAPI:
    return create_app(settings, storage_settings, api_settings)


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    """A client of the running application, without a network in between."""
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=True) as client:
        yield client
