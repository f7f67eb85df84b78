"""What callers may name as inputs, and that nothing that they write counts as found."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.errors import InvalidRequest
from jobs.kinds.inputs import Input, Reference
from jobs.kinds.registry import KINDS, parse_request

FILE = "file-" + "a" * 24
WAYS = "give a file id (file-…), a data URL, an https URL, or an object with job and index"


def image_of(named: Any) -> Any:
    request: Any = parse_request({"kind": "edit", "prompt": "a red circle", "image": named})
    return request.image


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (FILE, Reference(file=FILE)),
        ("data:image/png;base64,AAAA", Reference(data="data:image/png;base64,AAAA")),
        ("https://example.org/a.png", Reference(url="https://example.org/a.png")),
        ({"job": "a-job"}, Reference(job="a-job")),
        ({"job": "a-job", "index": 2}, Reference(job="a-job", index=2)),
        ({"object": "shared/a.png"}, Reference(object="shared/a.png")),
        ({"file": FILE}, Reference(file=FILE)),
    ],
)
def test_what_a_caller_may_name(named: Any, found: Reference) -> None:
    assert image_of(named) == found


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("photo.png", f"image: {WAYS}"),
        ("http://example.org/a.png", f"image: {WAYS}"),
        ("ftp://example.org/a.png", f"image: {WAYS}"),
        ("", f"image: {WAYS}"),
        ("file-1", "image.file: should match pattern"),
        ("file-" + "a" * 24 + "\n", "image.file: should match pattern"),
        (5, f"image: {WAYS}"),
        (None, f"image: {WAYS}"),
        (b"a file", f"image: {WAYS}"),
        ({}, f"image: {WAYS}"),
        ({"index": 1}, f"image: {WAYS}"),
        ({"file": FILE, "job": "a-job"}, f"image: {WAYS}"),
        ({"file": FILE, "index": 0}, "image.index: goes with job"),
        ({"job": "a job"}, "image.job: should match pattern"),
        ({"job": "a-job", "index": -1}, "image.index: should be greater than or equal to 0"),
        ({"object": ""}, "image.object: should have at least 1 character"),
        ({"object": "k" * 1_025}, "image.object: should have at most 1024 characters"),
        ({"url": "file:///etc/passwd"}, "image.url: should match pattern"),
        ({"path": "/etc/passwd"}, "image.path: unknown field"),
    ],
)
def test_anything_else_is_refused_by_its_field(named: Any, says: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        image_of(named)
    assert str(raised.value).startswith(says)


def test_nothing_that_a_caller_writes_counts_as_found() -> None:
    found = Input(file=FILE, bytes=3, width=8, height=8)
    assert image_of(found) is found
    with pytest.raises(InvalidRequest, match=r"image\.(bytes|width|height)"):
        image_of(found.model_dump())


def test_inputs_of_a_kind_are_the_fields_that_say_so() -> None:
    most = {name: mark.most for name, mark in KINDS["edit"].input_fields.items()}
    assert most == {"image": None, "mask": None, "references": 15}
    assert KINDS["generate"].input_fields == {}


def test_what_has_not_been_found_is_written_without_what_it_has_not() -> None:
    request = parse_request({"kind": "edit", "prompt": "x", "image": {"job": "a-job"}, "mask": FILE})
    written = request.model_dump(mode="json")
    assert (written["image"], written["mask"]) == ({"job": "a-job"}, {"file": FILE})
