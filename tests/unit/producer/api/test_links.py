"""A link is made once, and handed out for half of its life."""

from __future__ import annotations

from itertools import count

import pytest

from producer.api import links
from producer.api.links import Links, _bytes_of
from tests.unit.storage.memory import MemorySettings, MemoryStore

EXPIRY_S = 600


class Signing(MemoryStore):
    """Each of its links is another."""

    def __init__(self, settings: MemorySettings) -> None:
        super().__init__(settings)
        self._numbers = count()

    def link(self, key: str, content_type: str, expiry_s: int | None = None) -> str:
        return f"{super().link(key, content_type, expiry_s)}?{next(self._numbers)}"


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_link_is_handed_out_for_half_of_its_life() -> None:
    clock = Clock()
    made = Links(Signing(MemorySettings(link_expiry_s=EXPIRY_S)), clock)
    first = made.link("a.png", "image/png")
    clock.now_s += EXPIRY_S / 2 - 1
    assert made.link("a.png", "image/png") == first
    clock.now_s += 1
    assert made.link("a.png", "image/png") != first


def test_links_that_are_kept_have_so_many_bytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = MemorySettings(link_expiry_s=EXPIRY_S)
    size = _bytes_of(Signing(settings).link("a.png", "image/png"))
    monkeypatch.setattr(links, "_MOST_BYTES", 2 * size)
    made = Links(Signing(settings), Clock())
    first, second, _third = (made.link(key, "image/png") for key in ("a.png", "b.png", "c.png"))
    assert made.link("b.png", "image/png") == second
    assert made.link("a.png", "image/png") != first


def test_link_that_is_longer_than_all_that_is_kept_is_made_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_MOST_BYTES", 100)
    made = Links(Signing(MemorySettings(link_expiry_s=EXPIRY_S)), Clock())
    assert made.link("a.png", "image/png") != made.link("a.png", "image/png")
