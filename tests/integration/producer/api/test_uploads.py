"""Files over HTTP, on a real Redis and a real store: what is kept, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import openai
import pytest
from fastapi.testclient import TestClient
from openai import OpenAI

from jobs.inputs.files import Files
from jobs.process.settings import Settings
from jobs.table.table import JobTable
from ops.process import wait_until
from producer.api.settings import ApiSettings
from storage.backends.s3.store import S3Store
from storage.inputs import Inputs
from storage.store import PART_BYTES
from tests.integration.producer.api.conftest import DEADLINE_S, MakeKey
from tests.integration.producer.api.pictures import png
from tests.integration.producer.api.uploading import HEAD, MAX_BYTES, MIB, error_of, send

DAY_S = 86_400

Form = dict[str, Any]


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(body_timeout_s=DEADLINE_S, max_upload_bytes=MAX_BYTES)


# As OpenAI's client uses it.


@pytest.fixture
def openai_client(replica: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{replica}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openais_client_sends_lists_fetches_and_deletes_files(openai_client: OpenAI) -> None:
    content = png(20_000)
    sent = openai_client.files.create(
        file=("größer ☃.png", content), purpose="vision", expires_after={"anchor": "created_at", "seconds": DAY_S}
    )
    assert (sent.object, sent.bytes, sent.filename) == ("file", 20_000, "größer ☃.png")
    assert (sent.purpose, sent.status) == ("vision", "processed")
    assert sent.expires_at == sent.created_at + DAY_S
    more = [openai_client.files.create(file=png(), purpose="user_data") for _ in range(3)]
    assert openai_client.files.retrieve(sent.id) == sent
    assert [each.id for each in openai_client.files.list(limit=2)] == [each.id for each in (*more[::-1], sent)]
    assert [each.id for each in openai_client.files.list(purpose="vision")] == [sent.id]
    assert openai_client.files.content(sent.id).read() == content
    assert openai_client.files.delete(sent.id).deleted
    with pytest.raises(openai.NotFoundError, match=f"there is no file {sent.id}"):
        openai_client.files.retrieve(sent.id)


def test_file_is_kept_as_it_was_sent(api: TestClient, files: Files, inputs: Inputs, settings: Settings) -> None:
    for size in (100, PART_BYTES - 1, 2 * PART_BYTES + 5):
        content = png(size, width=300, height=200)
        answer = send(api, content, filename="C:\\photos\\a\u202eb.png")
        assert answer.status_code == 200, answer.text
        file = files.get(answer.json()["id"], "default")
        assert (file.caller, file.size_bytes, file.width, file.height) == ("default", size, 300, 200)
        assert (file.content_type, file.filename) == ("image/png", "ab.png")
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.expires_at == file.created_at + settings.file_retention_s
        assert inputs.read(file.id) == content


def test_content_is_nobody_s_page(api: TestClient) -> None:
    content = png()
    file_id = send(api, content, filename="a; größer.html").json()["id"]
    answer = api.get(f"/v1/files/{file_id}/content")
    head = api.head(f"/v1/files/{file_id}/content")
    assert (answer.status_code, answer.content, head.content) == (200, content, b"")
    for each in (answer, head):
        assert each.headers["content-type"] == "image/png"
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["content-disposition"] == "attachment; filename*=UTF-8''a%3B%20gr%C3%B6%C3%9Fer.html"
        assert each.headers["content-length"] == str(len(content))


def test_same_bytes_are_one_file_for_a_caller(
    api: TestClient, make_key: MakeKey, store: S3Store, nothing_stays: Callable[[], bool]
) -> None:
    one, two = make_key("one"), make_key("two")
    content, before = png(PART_BYTES + 5), {each.key for each in store.objects("inputs/")}
    first = send(api, content, one).json()
    again = send(api, content, one, filename="again.png").json()
    assert (again["id"], again["filename"]) == (first["id"], "photo.png")
    other = send(api, content, two).json()
    assert other["id"] != first["id"]
    assert len({each.key for each in store.objects("inputs/")} - before) == 2
    for file_id, headers in ((first["id"], one), (other["id"], two)):
        assert api.delete(f"/v1/files/{file_id}", headers=headers).status_code == 200
    assert nothing_stays()


def test_same_bytes_that_come_at_once_are_one_file(
    replica: str, store: S3Store, nothing_stays: Callable[[], bool]
) -> None:
    content, before = png(PART_BYTES + 5), {each.key for each in store.objects("inputs/")}

    def send_it(_: int) -> str:
        with httpx.Client(base_url=replica, timeout=DEADLINE_S) as client:
            return str(send(client, content).json()["id"])

    with ThreadPoolExecutor(4) as threads:
        (file_id,) = set(threads.map(send_it, range(4)))
    assert len({each.key for each in store.objects("inputs/")} - before) == 1
    assert httpx.delete(f"{replica}/v1/files/{file_id}").status_code == 200
    assert nothing_stays()


def test_fields_may_come_behind_the_file(api: TestClient) -> None:
    """As OpenAI's client for Node sends them."""
    purpose = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    body = b"--b\r\n" + HEAD + b"\r\n" + png(3 * MIB) + b"\r\n" + purpose + b"--b--\r\n"
    answer = api.post("/v1/files", content=body, headers={"Content-Type": 'multipart/form-data; boundary="b"'})
    assert (answer.status_code, answer.json()["purpose"], answer.json()["bytes"]) == (200, "user_data", 3 * MIB)


# What is refused.

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the file is empty"),
    "text": (b"a red circle", "no PNG, JPEG or WebP"),
    "a page": (b"<html><script>alert(1)</script></html>" * 100_000, "no PNG, JPEG or WebP"),
    "a picture without its end": (png(3 * MIB)[:-1], "its end is missing"),
    "a large picture without its end": (png(2 * PART_BYTES)[:-20], "its end is missing"),
    "a bomb": (png(width=30_000, height=30_000), "more than 50,000,000 pixels"),
    "no pixels": (png(width=0), "no pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_with_a_sentence(
    api: TestClient, nothing_stays: Callable[[], bool], name: str
) -> None:
    content, sentence = REFUSED[name]
    answer = send(api, content)
    assert error_of(answer) == (400, "invalid_request", "file")
    assert answer.json()["error"]["message"].startswith("file: ")
    assert sentence in answer.json()["error"]["message"]
    assert nothing_stays()


FORMS: dict[str, tuple[Form, str]] = {
    "no purpose": ({"data": {}}, "purpose"),
    "an unknown purpose": ({"data": {"purpose": "fun"}}, "purpose"),
    "two purposes": ({"data": {"purpose": ["vision", "vision"]}}, "purpose"),
    "an unknown field": ({"data": {"purpose": "vision", "prompt": "a"}}, "prompt"),
    "a field within one that has none": ({"data": {"purpose": "vision", "purpose[a]": "b"}}, "purpose[a]"),
    "a long field": ({"data": {"purpose": "v" * 2_000}}, "purpose"),
    "two files": ({"files": [("file", ("a.png", png())), ("file", ("b.png", png()))]}, "file"),
    "a file of another name": ({"files": {"image": ("a.png", png())}}, "image"),
    "an expiry that is none": ({"data": {"purpose": "vision", "expires_after": "1"}}, "expires_after"),
    "half an expiry": ({"data": {"purpose": "vision", "expires_after[seconds]": "3600"}}, "expires_after.anchor"),
    "another anchor": (
        {"data": {"purpose": "vision", "expires_after[seconds]": "3600", "expires_after[anchor]": "now"}},
        "expires_after.anchor",
    ),
    **{
        f"an expiry of {seconds}": (
            {
                "data": {
                    "purpose": "vision",
                    "expires_after[seconds]": seconds,
                    "expires_after[anchor]": "created_at",
                }
            },
            "expires_after.seconds",
        )
        for seconds in ("3599", "2592001", "-3600", "3600.0", "soon", "٣٦٠٠", "9" * 500, "")
    },
}


@pytest.mark.parametrize("name", FORMS)
def test_field_that_is_wrong_is_named(api: TestClient, nothing_stays: Callable[[], bool], name: str) -> None:
    form, field = FORMS[name]
    answer = api.post("/v1/files", **{"data": {"purpose": "vision"}, "files": {"file": ("a.png", png())}, **form})
    assert error_of(answer)[::2] == (400, field), answer.text
    assert nothing_stays()


def test_form_without_a_file_says_so(api: TestClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n--b--\r\n'
    answer = api.post("/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert error_of(answer) == (400, "invalid_request", "file")
    assert answer.json()["error"]["message"] == "file: is missing"


BODIES: dict[str, tuple[str, bytes, tuple[int, str]]] = {
    "JSON": ("application/json", b"{}", (415, "unsupported_media_type")),
    "no type": ("", b"--b--", (415, "unsupported_media_type")),
    "no boundary": ("multipart/form-data", b"--b--", (415, "unsupported_media_type")),
    "a long boundary": (f"multipart/form-data; boundary={'b' * 300}", b"", (415, "unsupported_media_type")),
    "nothing": ("multipart/form-data; boundary=b", b"", (400, "malformed_body")),
    "no part": ("multipart/form-data; boundary=b", b"a red circle", (400, "malformed_body")),
    "no end": ("multipart/form-data; boundary=b", b"--b\r\n" + HEAD + b"\r\n" + png(), (400, "malformed_body")),
    "a part without a name": (
        "multipart/form-data; boundary=b",
        b"--b\r\nContent-Disposition: form-data\r\n\r\na\r\n--b--\r\n",
        (400, "malformed_body"),
    ),
    "a part without a head": ("multipart/form-data; boundary=b", b"--b\r\n\r\na\r\n--b--\r\n", (400, "malformed_body")),
    "a long head": (
        "multipart/form-data; boundary=b",
        b"--b\r\n" + HEAD + b"X-More: " + b"x" * 100_000 + b"\r\n\r\na\r\n--b--\r\n",
        (400, "malformed_body"),
    ),
    "base64": (
        "multipart/form-data; boundary=b",
        b"--b\r\n" + HEAD + b"Content-Transfer-Encoding: base64\r\n\r\naGFsbG8=\r\n--b--\r\n",
        (400, "malformed_body"),
    ),
    "many parts": (
        "multipart/form-data; boundary=b",
        b"".join(b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\n\r\n' % number for number in range(200))
        + b"--b--\r\n",
        (400, "malformed_body"),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_body_that_is_no_form_is_refused(api: TestClient, nothing_stays: Callable[[], bool], name: str) -> None:
    content_type, body, expected = BODIES[name]
    answer = api.post("/v1/files", content=body, headers={"Content-Type": content_type} if content_type else {})
    assert error_of(answer)[:2] == expected, answer.text
    assert nothing_stays()


def test_file_that_is_too_large_is_refused_with_its_field(api: TestClient, nothing_stays: Callable[[], bool]) -> None:
    assert send(api, png(MAX_BYTES)).status_code == 200
    file_id = api.get("/v1/files").json()["data"][0]["id"]
    assert api.delete(f"/v1/files/{file_id}").status_code == 200
    for size in (MAX_BYTES + 1, MAX_BYTES + MIB):
        answer = send(api, png(size))
        assert error_of(answer) == (413, "file_too_large", "file")
        assert f"at most {MAX_BYTES} bytes" in answer.json()["error"]["message"]
    assert nothing_stays()


def test_room_of_a_caller_is_bounded(api: TestClient, make_key: MakeKey, nothing_stays: Callable[[], bool]) -> None:
    one, two = make_key("one", max_file_mib=30), make_key("two")
    first = send(api, png(20 * MIB), one)
    refused = send(api, png(11 * MIB), one)
    assert error_of(refused) == (409, "file_quota_exceeded", None)
    assert "the files of one have reached their limit of 30 MiB" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"
    other = send(api, png(11 * MIB), two)
    for sent, headers in ((first, one), (other, two)):
        assert api.delete(f"/v1/files/{sent.json()['id']}", headers=headers).status_code == 200
    assert nothing_stays()
    assert send(api, png(11 * MIB), one).status_code == 200


def test_page_of_another_origin_sends_no_file_through_a_browser(
    api: TestClient, make_key: MakeKey, nothing_stays: Callable[[], bool]
) -> None:
    """A browser asks nobody before it sends a form; while there are no keys, that is all that it would take."""
    for origin in ("https://evil.example", "null", "http://127.0.0.1:81"):
        assert error_of(send(api, png(), {"Origin": origin}))[:2] == (403, "page_refused")
    assert nothing_stays()
    assert send(api, png(), {"Origin": "http://127.0.0.1"}).status_code == 200
    key = make_key("one")
    assert wait_until(lambda: api.get("/v1/models").status_code == 401, DEADLINE_S)
    assert send(api, png(), {"Origin": "https://app.example", **key}).status_code == 200


# Listing, deleting.


def test_lists_have_pages(api: TestClient) -> None:
    ids = [send(api, png(), purpose=purpose).json()["id"] for purpose in ("vision", "user_data") * 2]
    page = api.get("/v1/files", params={"limit": 3}).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:0:-1], True)
    assert (page["object"], page["first_id"], page["last_id"]) == ("list", ids[3], ids[1])
    rest = api.get("/v1/files", params={"limit": 3, "after": page["last_id"]}).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[:1], False)
    assert error_of(api.get("/v1/files", params={"after": "x"})) == (404, "file_not_found", None)
    some = api.get("/v1/files", params={"order": "asc", "purpose": "user_data"}).json()
    assert [each["id"] for each in some["data"]] == ids[1::2]
    assert api.get("/v1/files", params={"purpose": "batch"}).json() == {
        **{"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [({"limit": "0"}, "limit"), ({"order": "up"}, "order"), ({"purpose": "fun"}, "purpose"), ({"page": "2"}, "page")],
)
def test_parameter_that_is_wrong_is_named_in_openais_form(api: TestClient, query: dict[str, str], field: str) -> None:
    assert error_of(api.get("/v1/files", params=query)) == (400, "invalid_request", field)


def test_file_of_a_job_that_goes_on_is_not_deleted(api: TestClient, files: Files, table: JobTable) -> None:
    file_id = send(api, png()).json()["id"]
    job_id = api.post("/v1/jobs", json={"prompt": "a red circle"}).json()["id"]
    files.use(file_id, job_id)
    refused = api.delete(f"/v1/files/{file_id}")
    assert error_of(refused)[:2] == (409, "file_in_use")
    assert api.get(f"/v1/files/{file_id}/content").status_code == 200
    table.cancel(job_id)
    assert api.delete(f"/v1/files/{file_id}").json() == {"id": file_id, "object": "file", "deleted": True}
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        assert error_of(api.get(path))[:2] == (404, "file_not_found")
