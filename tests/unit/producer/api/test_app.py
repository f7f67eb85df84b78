"""The application: what stands in its rooms is served."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

import producer.api
from producer.api.app import ROUTERS
from producer.api.http.openapi import Router


def test_every_router_of_every_room_is_registered() -> None:
    modules = [import_module(each.name) for each in pkgutil.walk_packages(producer.api.__path__, "producer.api.")]
    found = {id(each.router): each.__name__ for each in modules if isinstance(getattr(each, "router", None), Router)}
    assert len(found) >= 8
    assert [name for key, name in found.items() if key not in map(id, ROUTERS)] == []


def test_no_route_needs_a_thread_for_its_dependencies() -> None:
    """FastAPI runs plain functions in threads, which all callers share, first come, first served."""
    routes = [each for router in ROUTERS for each in router.routes if isinstance(each, APIRoute)]
    plain = {f"{each.path}: {call!r}" for each in routes for call in calls_of(each.dependant) if not is_async(call)}
    assert len(routes) > 20
    assert plain == set()


def calls_of(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    if dependant.call is not None:
        yield dependant.call
    for each in dependant.dependencies:
        yield from calls_of(each)


def is_async(call: Callable[..., Any]) -> bool:
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (call, getattr(call, "__call__", None))  # noqa: B004 - an object's own
    )
