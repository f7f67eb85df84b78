"""The application: what stands in its rooms is served."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import producer.api
from producer.api.app import ROUTERS
from producer.api.http.openapi import Router


def test_every_router_of_every_room_is_registered() -> None:
    modules = [import_module(each.name) for each in pkgutil.walk_packages(producer.api.__path__, "producer.api.")]
    found = {id(each.router): each.__name__ for each in modules if isinstance(getattr(each, "router", None), Router)}
    assert len(found) >= 8
    assert [name for key, name in found.items() if key not in map(id, ROUTERS)] == []
