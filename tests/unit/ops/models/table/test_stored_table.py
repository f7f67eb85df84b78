"""The same of sources in a store."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from ops.servers import S3Server
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.unit.ops.models.table.asked import assert_refused, assert_served
from tests.unit.ops.models.table.broken import BROKEN
from tests.unit.ops.models.table.good import GOOD
from tests.unit.workers.adapters import QUIET

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings(QUIET)]


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", s3_server.endpoint)
    store = S3Store(S3Settings(endpoint_url=s3_server.endpoint, bucket=f"table-{uuid.uuid4().hex[:12]}"))
    store.prepare()
    return store


@pytest.mark.parametrize("name", [name for name, form in GOOD.items() if form.is_stored])
def test_source_is_served(name: str, folder: Path, bucket: S3Store) -> None:
    assert_served(name, folder, bucket)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [name for name, each in BROKEN.items() if GOOD[each.of].is_stored])
def test_source_is_refused_in_a_sentence(name: str, folder: Path, bucket: S3Store) -> None:
    assert_refused(name, folder, bucket)
