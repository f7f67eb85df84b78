"""Bodies of many values are cut right, wherever the network cuts them, and never kept whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.api.batches.items import Items
from producer.api.http.errors import BodyMalformed

LONGEST = 60

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def cut(body: bytes, size: int, longest: int = 1_000_000) -> list[bytes | None]:
    items = Items(longest)

    def all_of_them() -> Iterator[bytes | None]:
        for at in range(0, len(body), size):
            yield from items.feed(body[at : at + size])
        yield from items.finish()

    return list(all_of_them())


@given(given=st.lists(values), size=st.integers(1, 20), indent=st.none() | st.just(1), is_ascii=st.booleans())
def test_elements_of_an_array_come_as_they_are(given: list[Any], size: int, indent: int | None, is_ascii: bool) -> None:
    body = f"\n {json.dumps(given, indent=indent, ensure_ascii=is_ascii)} \n".encode("utf-8", "surrogatepass")
    found = [json.loads(each or b"null") for each in cut(body, size)]
    assert found == given


@given(given=st.lists(st.dictionaries(st.text(max_size=5), values, max_size=3)), size=st.integers(1, 20))
def test_lines_come_as_they_are(given: list[Any], size: int) -> None:
    body = b"\r\n\n".join(json.dumps(each).encode() for each in given)
    assert [json.loads(each or b"null") for each in cut(body, size)] == given


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_value_that_is_too_long_is_passed_over(size: int) -> None:
    short, long = b'{"prompt": "a, b"}', b'{"prompt": "%s"}' % (b"x" * LONGEST)
    assert cut(b"\n".join([short, long, short]), size, LONGEST) == [short, None, short]
    assert cut(b"[%s]" % b",".join([long, short, long]), size, LONGEST) == [None, short, None]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_byte_order_mark_is_no_part_of_the_first_value(size: int) -> None:
    assert cut(b'\xef\xbb\xbf {"a": 1}\r\n{"b": 2}', size) == [b'{"a": 1}\r', b'{"b": 2}']
    assert cut(b"\xef\xbb\xbf[1, 2]", size) == [b"1", b" 2"]
    assert cut(b"\xef\xbb\xbf", size) == []
    assert cut(b"\xef\xbb", size) == [b"\xef\xbb"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[", "does not end"),
        (b'[{"a": 1}', "does not end"),
        (b'["a]', "does not end"),
        (b"[1}", "ends with a brace"),
        (b"[1] 2", "text after"),
        (b"[1]]", "text after"),
    ],
)
def test_array_that_is_none_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BodyMalformed, match=reason):
        cut(body, 3)


@pytest.mark.parametrize(("body", "found"), [(b"[1,]", [b"1", b""]), (b"[,1]", [b"", b"1"]), (b"[ ]", []), (b" ", [])])
def test_what_is_no_element_is_told_from_an_empty_array(body: bytes, found: list[bytes]) -> None:
    assert cut(body, 1) == found


def test_ten_thousand_levels_are_no_harm() -> None:
    deep = b"[" * 10_000 + b"]" * 10_000
    assert cut(b"[%s]" % deep, 1_000) == [deep]
