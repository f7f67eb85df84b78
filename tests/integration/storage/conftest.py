"""
The store that the contract is tried on: rclone's server as a rule, any other that the environment names.

`make test-s3` names it: `S3_ENDPOINT_URL`, `S3_ACCESS_KEY_ID`, `S3_SECRET_ACCESS_KEY`, and more in docs/storage.md.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from storage.backends.s3.connection import connect
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.errors import NotSupported, ObjectNotFound
from storage.store import Store
from tests.unit.storage.memory import MemorySettings, MemoryStore

OPTION = "--s3-from-environment"

NewStore = Callable[..., S3Store]

# Given the one of S3, whose server is there before a test begins.
STORES: dict[str, Callable[[S3Store], Store]] = {
    "s3": lambda store: store,
    "memory": lambda _store: MemoryStore(MemorySettings()),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="try the contract on the store that S3_ENDPOINT_URL names")


@pytest.fixture(scope="session")
def storage_settings(request: pytest.FixtureRequest) -> S3Settings:
    if not request.config.getoption(OPTION, default=False):
        return S3Settings(
            endpoint_url=request.getfixturevalue("s3_server").endpoint, bucket=_bucket_name(), prefix="pictures"
        )
    return S3Settings(
        endpoint_url=os.environ["S3_ENDPOINT_URL"],
        access_key_id=os.environ["S3_ACCESS_KEY_ID"],
        secret_access_key=os.environ["S3_SECRET_ACCESS_KEY"],
        region=os.environ.get("S3_REGION", "us-east-1"),
        bucket=_bucket_name(),
        prefix="pictures",
    )


@pytest.fixture(scope="session")
def store(storage_settings: S3Settings) -> Iterator[S3Store]:
    """A bucket of this run's own, which is gone afterwards."""
    store = S3Store(storage_settings)
    store.prepare()
    yield store
    _remove_bucket(store)


@pytest.fixture(params=STORES)
def any_store(request: pytest.FixtureRequest, store: S3Store) -> Store:
    """Each that has to keep the contract, ready for use."""
    made: Store = STORES[request.param](store)
    return made


@pytest.fixture
def key() -> str:
    """Of an object that is not there yet."""
    return f"2026/11/24/{uuid.uuid4()}/1-token/0.png"


@pytest.fixture
def new_store(storage_settings: S3Settings) -> Iterator[NewStore]:
    """Stores of other buckets, which are not made yet; `fields` are settings. Their buckets are gone afterwards."""
    made: list[S3Store] = []

    def make(**fields: object) -> S3Store:
        store = S3Store(storage_settings.model_copy(update={"bucket": _bucket_name(), **fields}))
        made.append(store)
        return store

    yield make
    for each in made:
        _remove_bucket(each)


@pytest.fixture(scope="session")
def has_rules(store: S3Store) -> bool:
    """Whether the store knows lifecycle rules."""
    try:
        store.rules.all()
    except NotSupported:
        return False
    return True


def _bucket_name() -> str:
    return f"{os.environ.get('S3_BUCKET_PREFIX', 'imagemill-test')}-{uuid.uuid4().hex[:12]}"


def _remove_bucket(store: S3Store) -> None:
    try:
        store.check()
    except ObjectNotFound:
        return
    store.delete_many([each.key for each in store.objects()])
    connect(store.settings, store.settings.endpoint_url).delete_bucket(Bucket=store.settings.bucket)
