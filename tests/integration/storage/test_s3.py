"""What S3 has beside the contract of a store: links, buckets, keys that are refused, settings; on a real server."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from ops.process import free_port, wait_until
from ops.servers import S3Server
from storage.backends.s3.advice import S3Advice
from storage.backends.s3.connection import connect
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.backends.s3.upload import S3Upload
from storage.errors import StorageMisconfigured, StorageUnavailable
from storage.settings import read_settings
from storage.store import PART_BYTES
from tests.integration.storage.conftest import NewStore
from tests.integration.storage.test_contract import BODY, ODD_NAMES

DEADLINE_S = 60.0

CALLS: dict[str, Callable[[S3Store], object]] = {
    "prepare": lambda store: store.prepare(),
    "put": lambda store: store.put("a/0.png", BODY, "image/png"),
    "get": lambda store: store.get("a/0.png"),
    "delete": lambda store: store.delete("a/0.png"),
    "list": lambda store: list(store.objects("a/")),
    "delete many": lambda store: store.delete_many(["a/0.png"]),
    "upload": lambda store: _upload(store, b""),
    "upload in parts": lambda store: _upload(store, bytes(PART_BYTES + 1)),
    "drop uploads": lambda store: store.drop_uploads("a/"),
    "rules": lambda store: store.rules.all(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)

Call = Callable[[S3Store], object]


def _upload(store: S3Store, body: bytes) -> None:
    with store.upload("a/0.png", "image/png") as upload:
        upload.write(body)


def link_to(store: S3Store) -> str:
    """Which asks nobody, and fails without keys alone."""
    return store.link("a/0.png", "image/png")


def changed(settings: S3Settings, **fields: object) -> S3Settings:
    return settings.model_copy(update=fields)


def fetch(link: str | urllib.request.Request) -> tuple[int, bytes, str | None]:
    """GET as anybody would, without a key: status, body and content type."""
    try:
        with urllib.request.urlopen(link) as response:  # noqa: S310 - our own link
            return response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, b"", None


def test_link_gives_the_bytes_and_their_type_to_anybody(store: S3Store, key: str) -> None:
    store.put(key, BODY, "application/octet-stream")
    assert fetch(store.link(key, "image/png")) == (200, BODY, "image/png")


def test_link_works_for_keys_that_a_url_has_to_escape(store: S3Store) -> None:
    store.put("a b/+é&?#%/0.png", BODY, "image/png")
    assert fetch(store.link("a b/+é&?#%/0.png", "image/png")) == (200, BODY, "image/png")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_link_works_for_odd_names(store: S3Store, name: str) -> None:
    key = f"{uuid.uuid4()}/{name}"
    store.put(key, b"here", "image/png")
    assert fetch(store.link(key, "image/png"))[:2] == (200, b"here")


def test_link_gives_a_large_object(store: S3Store, key: str) -> None:
    body = os.urandom(24 << 20)
    store.put(key, body, "image/png")
    assert fetch(store.link(key, "image/png"))[1] == body


def test_link_is_refused_once_it_expired(store: S3Store, key: str) -> None:
    store.put(key, BODY, "image/png")
    link = store.link(key, "image/png", expiry_s=1)
    assert wait_until(lambda: fetch(link)[0] in {400, 403}, DEADLINE_S)
    assert fetch(store.link(key, "image/png"))[0] == 200


def test_link_to_another_object_cannot_be_made_of_it(store: S3Store, key: str) -> None:
    for each in (key, f"{key}2"):
        store.put(each, BODY, "image/png")
    status, body, _ = fetch(store.link(key, "image/png").replace("0.png?", "0.png2?"))
    assert (status, body) == (403, b"")


ALTERED = {
    "signature": S3Advice(S3Settings()).alter,
    "expiry": lambda link: link.replace("X-Amz-Expires=86400", "X-Amz-Expires=86401"),
    "content type": lambda link: link.replace("response-content-type=image%2Fpng", "response-content-type=text%2Fhtml"),
    "another method": lambda link: urllib.request.Request(link, b"mine", method="PUT"),  # noqa: S310
    "no signature": lambda link: link.partition("?")[0],
}


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_altered_link_is_refused(store: S3Store, key: str, change: Callable[[str], str]) -> None:
    store.put(key, BODY, "image/png")
    link = store.link(key, "image/png")
    altered = change(link)
    assert altered != link
    status, body, _ = fetch(altered)
    assert status in {400, 401, 403}
    assert body == b""
    assert store.get(key) == BODY


def test_link_is_signed_with_version_4_and_lives_as_long_as_the_settings_say(
    storage_settings: S3Settings, key: str
) -> None:
    store = S3Store(changed(storage_settings, link_expiry_s=3_600))
    default, short = (parse_qs(urlsplit(store.link(key, "image/png", s)).query) for s in (None, 60))
    assert default["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert (default["X-Amz-Expires"], short["X-Amz-Expires"]) == (["3600"], ["60"])


def test_upload_whose_process_died_is_found_and_dropped(store: S3Store, key: str) -> None:
    for name in (key, f"{key}2"):
        upload = S3Upload(connect(store.settings, store.settings.endpoint_url), store.settings, name, "image/png")
        upload.write(bytes(2 * PART_BYTES))
    assert store.drop_uploads(f"{key}2") == 1
    assert store.drop_uploads(key) == 1
    assert store.drop_uploads(key) == 0
    with pytest.raises(StorageUnavailable):  # It may be sent again, as another upload.
        upload.finish()
    store.delete_many([key, f"{key}2"])  # See test_contract.


def test_link_names_the_public_address(storage_settings: S3Settings, key: str) -> None:
    public = S3Store(changed(storage_settings, public_endpoint_url="https://images.example.com"))
    link = urlsplit(public.link(key, "image/png"))
    assert (link.scheme, link.netloc) == ("https", "images.example.com")
    assert link.path == f"/{storage_settings.bucket}/{key}"


def test_prepare_makes_a_missing_bucket_and_can_be_repeated(new_store: NewStore, key: str) -> None:
    store = new_store()
    with pytest.raises(StorageMisconfigured, match=store.settings.bucket):
        store.put(key, BODY, "image/png")
    store.prepare()
    store.prepare()
    store.put(key, BODY, "image/png")
    assert store.get(key) == BODY


def test_bucket_is_there_after_many_have_made_it_at_once(new_store: NewStore) -> None:
    store = new_store()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.prepare(), range(8)))
    store.check()


def test_bucket_that_may_not_be_made_is_told_of(new_store: NewStore) -> None:
    """Needs a second user, who may make no buckets."""
    other = {name: os.environ.get(f"S3_OTHER_{name.upper()}", "") for name in ("access_key_id", "secret_access_key")}
    if not all(other.values()):
        pytest.skip("S3_OTHER_ACCESS_KEY_ID and S3_OTHER_SECRET_ACCESS_KEY name no user who may make no buckets")
    store = new_store(**other)
    with pytest.raises(StorageMisconfigured, match=f"no bucket '{store.settings.bucket}'.*may not make.*S3_BUCKET"):
        store.prepare()


@every_call
def test_store_that_is_away_is_named_with_what_to_do(storage_settings: S3Settings, call: Call) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StorageUnavailable, match=rf"{endpoint} .*make up.*IMAGEMILL_S3_ENDPOINT_URL"):
        call(S3Store(changed(storage_settings, endpoint_url=endpoint)))


@pytest.mark.parametrize("wrong", [{"secret_access_key": "wrong"}, {"access_key_id": "nobody"}], ids=["secret", "id"])
@every_call
def test_wrong_keys_are_named_by_their_settings(
    storage_settings: S3Settings, store: S3Store, wrong: dict[str, str], call: Call
) -> None:
    with pytest.raises(StorageMisconfigured, match="IMAGEMILL_S3_ACCESS_KEY_ID"):
        call(S3Store(changed(storage_settings, **wrong)))


@pytest.mark.parametrize("call", [*CALLS.values(), link_to], ids=[*CALLS, "link"])
def test_no_keys_at_all_are_a_misconfiguration(
    storage_settings: S3Settings, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    """Both empty, and nothing in boto3's own chain: trying again cannot help."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(StorageMisconfigured):
        call(S3Store(changed(storage_settings, access_key_id="", secret_access_key="")))


@pytest.mark.parametrize(
    "wrong",
    [{"endpoint_url": "localhost:9000"}, {"bucket": "Two Words"}, {"secret_access_key": ""}],
    ids=["address without a scheme", "no bucket name", "half a key"],
)
def test_settings_that_cannot_work_are_a_misconfiguration(storage_settings: S3Settings, wrong: dict[str, str]) -> None:
    with pytest.raises(StorageMisconfigured):
        S3Store(changed(storage_settings, **wrong)).prepare()


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "pictures")
    monkeypatch.setenv("IMAGEMILL_S3_LINK_EXPIRY_S", "60")
    settings = read_settings(S3Settings)
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
        read_settings(S3Settings)


def test_defaults_are_those_of_the_local_stack() -> None:
    settings = read_settings(S3Settings)
    assert (settings.access_key_id, settings.secret_access_key) == (S3Server.access_key_id, S3Server.secret_access_key)
