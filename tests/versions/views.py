"""What two versions show of the same jobs has to be the same, as far as both know it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from tests.blackbox.system import Answer, Command
from tests.versions.checkouts import Version
from tests.versions.deployment import Deployment

_OF_THE_MOMENT = {"queue_position", "starts_in_s"}


def agree(one: Any, other: Any, where: str) -> None:
    """
    Assert that two views are equal in all fields of the first, the older one's, but links: each process makes its own.

    The other may have more.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() <= other.keys(), f"{where}: the newer one has no {', '.join(one.keys() - other.keys())}"
        for name in {name for name in one if not name.endswith("url")} - _OF_THE_MOMENT:
            agree(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), f"{where}: {one!r} and {other!r}"
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            agree(left, right, f"{where}[{index}]")
    else:
        assert one == other, f"{where}: {one!r} and {other!r}"


def compare_by_http(deployment: Deployment, paths: Iterable[str]) -> None:
    """Have the APIs of both versions tell the same of what stands still."""
    for path in paths:
        _same_by_http(deployment, path)


def compare_lists(deployment: Deployment) -> int:
    """The same of all jobs, page by page, when nothing moves; returns how many there are."""
    _same_by_http(deployment, "/v1/queues")
    count, cursor = 0, ""
    while True:
        page = _same_by_http(deployment, f"/v1/jobs?limit=100{cursor}")
        count += len(page["data"])
        if page["next_cursor"] is None:
            return count
        cursor = f"&cursor={page['next_cursor']}"


def _same_by_http(deployment: Deployment, path: str) -> Any:
    answers = [ask(deployment.apis[version], path) for version in ("previous", "present")]
    assert [each.status for each in answers] == [200, 200], (path, [each.body for each in answers])
    one, other = (each.body for each in answers)
    agree(one, other, path)
    return one


def ask(api: Command, path: str) -> Answer:
    """Get a path as a client does that follows where it is sent: what one version calls so, another has moved."""
    answer = api.http("GET", path)
    return api.http("GET", urlsplit(answer.headers["location"]).path) if answer.status == 308 else answer


def job_paths(job_ids: Iterable[str]) -> list[str]:
    return [f"/v1/jobs/{job_id}" for job_id in job_ids]


def compare_by_cli(deployment: Deployment, versions: Collection[Version], *commands: Sequence[str]) -> None:
    """Have the command lines of both versions tell the same."""
    older_first = sorted(versions, key=lambda version: version.name != "previous")
    with ThreadPoolExecutor(len(versions)) as pool:
        for command in commands:
            one, other = pool.map(lambda version, command=command: _told(deployment, version, command), older_first)
            agree(one, other, " ".join(command))


def _told(deployment: Deployment, version: Version, command: Sequence[str]) -> list[Any]:
    done = deployment.system.cli(*command, "--json", checkout=version.checkout)
    assert done.returncode == 0, (version.name, command, done.stdout, done.stderr)
    assert not done.stderr, (version.name, command, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]
