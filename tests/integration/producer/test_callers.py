"""Who a request is from, and what that caller may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from starlette.middleware.base import RequestResponseEndpoint

from jobs.errors import InvalidConfiguration, InvalidRequest, JobNotFound, RedisUnavailable
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.view import JobView
from ops.process import free_port
from producer.api.keys.callers import Caller, Callers, CurrentCaller
from producer.api.keys.exposure import admit
from producer.api.keys.open_requests import OpenRequests
from producer.keys.errors import KeyRefused, ModelNotAllowed, RateExceeded
from producer.keys.store import KeyStore
from tests.integration.producer.commands import connected


def identify(settings: Settings, *tokens: str | None, is_local: bool = True) -> Caller:
    """Who the last of these requests is from."""

    async def ask() -> Caller:
        async with connected(settings) as client:
            callers = Callers(client, settings, is_local=is_local)
            return [await callers.identify(token) for token in tokens][-1]

    return asyncio.run(ask())


def record_of(caller: str) -> JobView:
    return JobView(
        id="a-job", kind="generate", status=Status.QUEUED, queue="gpu.shapes-flow", caller=caller, created_at=1.0
    )


@pytest.mark.parametrize("token", [None, "", "whatever a client has to send"])
def test_without_keys_everybody_here_may_do_everything(settings: Settings, token: str | None) -> None:
    caller = identify(settings, token)
    assert (caller.name, caller.scope, caller.quota) == ("default", None, None)
    assert caller.own(record_of("anybody")) == record_of("anybody")
    assert caller.sign({"caller": "any"}) == {"caller": "any"}
    assert caller.sign({"prompt": "a star"}) == {"prompt": "a star", "caller": "default"}
    caller.check_model("any")


@pytest.mark.parametrize("token", [None, "im_" + "0" * 64])
def test_without_keys_nobody_elsewhere_may_do_anything(settings: Settings, token: str | None) -> None:
    with pytest.raises(KeyRefused):
        identify(settings, token, is_local=False)


@pytest.mark.parametrize("token", [None, "", "im_" + "0" * 64])
@pytest.mark.parametrize("is_revoked", [False, True])
def test_once_there_was_a_key_requests_need_one(
    settings: Settings, keys: KeyStore, token: str | None, is_revoked: bool
) -> None:
    keys.create("blog")
    if is_revoked:
        keys.revoke("blog")
    with pytest.raises(KeyRefused, match="keys create") as raised:
        identify(settings, token)
    assert "0" * 8 not in str(raised.value)


def test_key_sees_its_own_jobs_and_signs_with_its_name(settings: Settings, keys: KeyStore) -> None:
    token, _ = keys.create("blog", max_queued=5, models=["shapes-flow"])
    caller = identify(settings, token, is_local=False)
    assert (caller.name, caller.scope, caller.quota) == ("blog", "blog", 5)
    assert caller.own(record_of("blog")) == record_of("blog")
    for other in ("default", "shop", "Blog"):
        with pytest.raises(JobNotFound):
            caller.own(record_of(other))
        with pytest.raises(InvalidRequest, match=r"^caller: must be 'blog', the name of the API key"):
            caller.sign({"caller": other})
    assert caller.sign({"caller": "blog"}) == caller.sign({}) == {"caller": "blog"}
    caller.check_model("shapes-flow")
    with pytest.raises(ModelNotAllowed, match="may not use 'sdxl'; it may use shapes-flow"):
        caller.check_model("sdxl")
    assert (caller.may_use("shapes-flow"), caller.may_use("sdxl")) == (True, False)


def test_each_request_is_a_use_of_the_key(settings: Settings, keys: KeyStore) -> None:
    token, _ = keys.create("blog", rate="2/hour")
    identify(settings, token)
    assert identify(settings, token).name == "blog"
    with pytest.raises(RateExceeded, match="rate limit of 2/hour"):
        identify(settings, token)


def test_redis_that_is_away_opens_nothing(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    for token in (None, "im_" + "0" * 64):
        with pytest.raises(RedisUnavailable):
            identify(away, token)


@pytest.fixture
def requests(settings: Settings) -> Iterator[TestClient]:
    """An API with one route, which says who asked."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with connected(settings) as client:
            app.state.callers = Callers(client, settings, is_local=True)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.middleware("http")
    async def seated(request: Request, answer: RequestResponseEndpoint) -> Response:
        with OpenRequests().track(request.scope.setdefault("state", {})):
            return await answer(request)

    @app.get("/")
    def who(caller: CurrentCaller) -> str:
        return caller.name

    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def who_asks(requests: TestClient, **headers: str) -> str:
    sent = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = requests.get("/", headers=sent)
    return str(answer.json())


def test_key_comes_in_either_header(requests: TestClient, keys: KeyStore) -> None:
    blog, _ = keys.create("blog")
    shop, _ = keys.create("shop")
    assert who_asks(requests, authorization=f"Bearer {blog}") == "blog"
    assert who_asks(requests, authorization=f"bearer  {blog}") == "blog"
    assert who_asks(requests, x_api_key=shop) == "shop"
    assert who_asks(requests, authorization=f"Bearer {blog}", x_api_key=shop) == "blog"
    assert who_asks(requests, authorization=f"Bearer {blog}", host="api.example.org") == "blog"
    wrong = [
        {"authorization": f"Basic {blog}"},
        {"authorization": blog},
        {"authorization": "Bearer"},
        {"x_api_key": ""},
    ]
    for headers in (*wrong, {"authorization": "Bearer \u00e9"}, {"cookie": blog}):
        with pytest.raises(KeyRefused):
            who_asks(requests, **headers)
    with pytest.raises(KeyRefused):
        requests.get("/", params={"api_key": blog, "x-api-key": blog, "token": blog})


def test_api_without_keys_answers_as_localhost_alone(requests: TestClient) -> None:
    for host in ("127.0.0.1:8000", "localhost:8000", "[::1]"):
        assert who_asks(requests, host=host) == "default"
    for host in ("evil.example:8000", "[", "127.0.0.1.evil.example"):
        with pytest.raises(KeyRefused, match="answers only as localhost"):
            who_asks(requests, host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])  # noqa: S104
def test_api_without_keys_listens_on_loopback_alone(keys: KeyStore, host: str) -> None:
    assert "there is no API key: listening on 127.0.0.1 only" in admit("127.0.0.1", keys)
    with pytest.raises(InvalidConfiguration, match="no API key yet; make one"):
        admit(host, keys)
    keys.create("blog")
    keys.revoke("blog")
    assert admit(host, keys) == admit("127.0.0.1", keys) == "requests need an API key (./imagemill keys)"


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])  # noqa: S104
def test_api_that_requires_a_key_starts_without_any(keys: KeyStore, host: str) -> None:
    assert "every request is refused" in admit(host, keys, require_key=True)
    keys.create("blog")
    assert admit(host, keys, require_key=True) == "requests need an API key (./imagemill keys)"
