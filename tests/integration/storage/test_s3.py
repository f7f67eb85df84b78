"""The image store, on a real S3 server."""

from __future__ import annotations

import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from ops.process import free_port, wait_until
from ops.servers import S3Server
from storage.errors import ObjectNotFound, StorageMisconfigured, StorageUnavailable
from storage.s3 import ImageStore
from storage.settings import StorageSettings, load_storage_settings

DEADLINE_S = 10.0
BODY = bytes(range(256)) * 1_000

CALLS: dict[str, Callable[[ImageStore], object]] = {
    "prepare": lambda store: store.prepare(),
    "put": lambda store: store.put("a/0.png", BODY, "image/png"),
    "get": lambda store: store.get("a/0.png"),
    "delete": lambda store: store.delete("a/0.png"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)

Call = Callable[[ImageStore], object]


@pytest.fixture
def key() -> str:
    return f"2026/11/24/{uuid.uuid4()}/1-token/0.png"


def changed(settings: StorageSettings, **fields: object) -> StorageSettings:
    return settings.model_copy(update=fields)


def fetch(link: str) -> tuple[int, bytes, str | None]:
    """GET as anybody would, without a key: status, body and content type."""
    try:
        with urllib.request.urlopen(link) as response:  # noqa: S310 - our own link
            return response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, b"", None


@pytest.mark.parametrize("body", [BODY, b""], ids=["some bytes", "none"])
def test_object_is_read_back_as_it_was_put(store: ImageStore, key: str, body: bytes) -> None:
    store.put(key, body, "image/png")
    assert store.get(key) == body


def test_later_put_replaces_the_object(store: ImageStore, key: str) -> None:
    store.put(key, b"one", "image/png")
    store.put(key, b"two", "image/png")
    assert store.get(key) == b"two"


def test_deleted_object_is_gone_and_deleting_again_is_no_error(store: ImageStore, key: str) -> None:
    store.put(key, BODY, "image/png")
    for _ in range(2):
        store.delete(key)
        with pytest.raises(ObjectNotFound, match=key):
            store.get(key)


def test_missing_object_is_an_error_that_names_it(store: ImageStore, key: str) -> None:
    with pytest.raises(ObjectNotFound, match=key):
        store.get(key)


def test_link_gives_the_bytes_and_their_type_to_anybody(store: ImageStore, key: str) -> None:
    store.put(key, BODY, "application/octet-stream")
    assert fetch(store.link(key, "image/png")) == (200, BODY, "image/png")


def test_link_works_for_keys_that_a_url_has_to_escape(store: ImageStore) -> None:
    store.put("a b/+é&?#%/0.png", BODY, "image/png")
    assert fetch(store.link("a b/+é&?#%/0.png", "image/png")) == (200, BODY, "image/png")


def test_link_is_refused_once_it_expired(store: ImageStore, key: str) -> None:
    store.put(key, BODY, "image/png")
    link = store.link(key, "image/png", expiry_s=1)
    assert wait_until(lambda: fetch(link)[0] in {400, 403}, DEADLINE_S)
    assert fetch(store.link(key, "image/png"))[0] == 200


def test_link_to_another_object_cannot_be_made_of_it(store: ImageStore, key: str) -> None:
    for each in (key, f"{key}2"):
        store.put(each, BODY, "image/png")
    status, body, _ = fetch(store.link(key, "image/png").replace("0.png?", "0.png2?"))
    assert (status, body) == (403, b"")


def test_link_is_signed_with_version_4_and_lives_as_long_as_the_settings_say(
    storage_settings: StorageSettings, key: str
) -> None:
    store = ImageStore(changed(storage_settings, link_expiry_s=3_600))
    default, short = (parse_qs(urlsplit(store.link(key, "image/png", s)).query) for s in (None, 60))
    assert default["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert (default["X-Amz-Expires"], short["X-Amz-Expires"]) == (["3600"], ["60"])


def test_link_names_the_public_address(storage_settings: StorageSettings, key: str) -> None:
    public = ImageStore(changed(storage_settings, public_endpoint_url="https://images.example.com"))
    link = urlsplit(public.link(key, "image/png"))
    assert (link.scheme, link.netloc) == ("https", "images.example.com")
    assert link.path == f"/{storage_settings.bucket}/{key}"


def test_prepare_makes_a_missing_bucket_and_can_be_repeated(storage_settings: StorageSettings, key: str) -> None:
    store = ImageStore(changed(storage_settings, bucket=f"fresh-{uuid.uuid4().hex[:8]}"))
    with pytest.raises(StorageMisconfigured, match=store.settings.bucket):
        store.put(key, BODY, "image/png")
    store.prepare()
    store.prepare()
    store.put(key, BODY, "image/png")
    assert store.get(key) == BODY


@every_call
def test_store_that_is_away_is_named_with_what_to_do(storage_settings: StorageSettings, call: Call) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StorageUnavailable, match=rf"{endpoint} .*make up.*IMAGEMILL_S3_ENDPOINT_URL"):
        call(ImageStore(changed(storage_settings, endpoint_url=endpoint)))


@pytest.mark.parametrize("wrong", [{"secret_access_key": "wrong"}, {"access_key_id": "nobody"}], ids=["secret", "id"])
@every_call
def test_wrong_keys_are_named_by_their_settings(
    storage_settings: StorageSettings, store: ImageStore, wrong: dict[str, str], call: Call
) -> None:
    with pytest.raises(StorageMisconfigured, match="IMAGEMILL_S3_ACCESS_KEY_ID"):
        call(ImageStore(changed(storage_settings, **wrong)))


@every_call
def test_no_keys_at_all_are_a_misconfiguration(
    storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    """Both empty, and nothing in boto3's own chain: trying again cannot help."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(StorageMisconfigured):
        call(ImageStore(changed(storage_settings, access_key_id="", secret_access_key="")))


@pytest.mark.parametrize(
    "wrong",
    [{"endpoint_url": "localhost:9000"}, {"bucket": "Two Words"}, {"secret_access_key": ""}],
    ids=["address without a scheme", "no bucket name", "half a key"],
)
def test_settings_that_cannot_work_are_a_misconfiguration(
    storage_settings: StorageSettings, wrong: dict[str, str]
) -> None:
    with pytest.raises(StorageMisconfigured):
        ImageStore(changed(storage_settings, **wrong)).prepare()


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "pictures")
    monkeypatch.setenv("IMAGEMILL_S3_LINK_EXPIRY_S", "60")
    settings = load_storage_settings()
    assert (settings.bucket, settings.link_expiry_s) == ("pictures", 60)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEMILL_S3_BUKCET", "pictures"),
        ("IMAGEMILL_S3_BUCKET", "ab"),
        ("IMAGEMILL_S3_LINK_EXPIRY_S", "0"),
        ("IMAGEMILL_S3_LINK_EXPIRY_S", "604801"),
    ],
)
def test_wrong_setting_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StorageMisconfigured, match=f"^{name}: "):
        load_storage_settings()


def test_defaults_are_those_of_the_local_stack() -> None:
    settings = load_storage_settings()
    assert (settings.access_key_id, settings.secret_access_key) == (S3Server.access_key_id, S3Server.secret_access_key)
