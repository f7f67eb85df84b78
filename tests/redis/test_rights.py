"""The whole system under the Redis users of `docs/redis.md`, who may do what is listed there, need it, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, chord
from celery.exceptions import TimeoutError as NotYet
from typer.testing import CliRunner, Result

from ops import cli
from ops.doctor.redis_rights import OUTSIDE, PROBES
from ops.process import free_port, http_status
from ops.programs import Flower
from tests.blackbox.system import CHECKOUT, START_S, System, simulated, until
from tests.celery_sender import celery_sender

DOCUMENT = CHECKOUT / "docs" / "redis.md"
SECRET = "secret"
GENERATE, QUEUE, PROMPT = "imagemill.generate", "gpu.sim", "a red circle"
# Which no run of a test comes to: what kombu and Celery do when something stops, and with results of their own.
SELDOM = {"watch", "unwatch", "rpush", "rpop", "pexpire", "lrange", "getdel", "xlen", "hstrlen", "lrem"}


def documented() -> dict[str, list[str]]:
    """The rules of each user, as the document has them."""
    block = re.search(r"```\n(user .*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert block is not None
    lines = re.sub(r"\\\n\s*", "", block[1]).splitlines()
    return {words[1]: words[2:] for words in (line.split() for line in lines if line.strip())}


def commands_of(rules: list[str]) -> set[str]:
    return {each[1:].lower() for each in rules if each.startswith("+")}


def used(client: redis.Redis) -> set[str]:
    """Which commands Redis was asked for since the last time, by whomever; but for those that everybody may use."""
    stats: dict[str, Any] = client.info("commandstats")
    client.config_resetstat()
    of_all = {"config|resetstat", "auth", "hello"}
    return {name.removeprefix("cmdstat_").lower() for name in stats} - of_all


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    env = {"IMAGEMILL_API_IMAGE_LINKS": "api", "FLOWER_BASIC_AUTH": "me:secret"}
    with System(tmp_path, tmp_path / "cache", simulated(row_s=0.001), env) as system:
        yield system


def url_of(system: System, user: str) -> str:
    return system.redis_server.url.replace("redis://", f"redis://{user}:{SECRET}@")


def as_user(system: System, user: str) -> dict[str, str]:
    return {"IMAGEMILL_REDIS_URL": url_of(system, user)}


def set_users(client: redis.Redis, users: Mapping[str, list[str]]) -> None:
    for name, rules in users.items():
        own = [each for each in rules if not each.startswith((">", "#"))]
        words = ("ACL", "SETUSER", name, "reset", *own, f">{SECRET}")
        client.execute_command(*words)  # type: ignore[no-untyped-call]


def denied(client: redis.Redis) -> list[str]:
    entries: list[dict[str, Any]] = client.acl_log(128)
    return [f"{each['username']}: {each['reason']} {each['object']}" for each in entries]


def send_alone(app: Celery) -> list[Any]:
    """What somebody sends before there is a worker, and asks of it."""
    results = [app.send_task(GENERATE, kwargs={"prompt": PROMPT}, queue=QUEUE) for _ in range(3)]
    parts = [app.signature(GENERATE, kwargs={"prompt": PROMPT}, queue=QUEUE) for _ in range(2)]
    whole = chord(parts, app=app)(app.signature("theirs.count"))
    results[0].revoke()
    app.control.inspect(timeout=0.1).ping()
    assert results[1].state == "PENDING"
    with pytest.raises(NotYet):
        results[1].get(timeout=0.1)
    return [results[1], results[2], whole]


def ask_everything(system: System) -> None:
    """Each route of the API."""
    key = command(system, "keys", "create", "blog", "--rate", "1000/minute", "--max-queued", "50").stdout.strip()
    body = {"prompt": PROMPT, "model": "sim"}
    made = system.http("POST", "/v1/jobs", body, key, {"Prefer": "wait=60", "Idempotency-Key": "k"}).body
    assert made["status"] == "succeeded"
    later = system.http("POST", "/v1/jobs", {**body, "start_after": 3600.0}, key).body["id"]
    lines = system.http("POST", "/v1/jobs/batch", [body, body, {"n": 0}], key)
    batch = lines.headers["location"].rpartition("/")[2]
    names = {"job_id": made["id"], "batch_id": batch, "index": 0, "model": "sim", "model_id": "sim"}
    paths = system.http("GET", "/openapi.json").body["paths"]
    for path, methods in paths.items():
        where = path.format_map({**dict.fromkeys(re.findall(r"{(\w+)}", path), "0"), **names})
        if "get" in methods:
            assert system.http("GET", where, key=key).status in (200, 204, 404), where
        if "patch" in methods:
            system.http("PATCH", where.replace(made["id"], later), {"priority": "high"}, key)
    assert system.http("POST", "/v1/images/generations", body, key).status == 200
    assert system.http("DELETE", f"/v1/jobs/{later}", key=key).status in (200, 202)
    assert system.http("DELETE", f"/v1/jobs/batches/{batch}", key=key).status == 200
    system.http("DELETE", "/v1/jobs/not-yet-sent", key=key)
    assert system.http("DELETE", f"/v1/jobs/{made['id']}/result", key=key).status == 202


COMMANDS = [
    *("workers", "queue list", "queue pause gpu.sim", "queue resume gpu.sim", "dead list", "dead replay --all"),
    *("notifications list", "notifications retry --all", "keys list", "keys revoke blog", "keys rotate blog"),
    *("doctor", "storage orphans", "queue purge gpu.sim --yes", "jobs delete --caller blog --yes"),
]


def command(system: System, *words: str) -> Result:
    """`./imagemill WORDS…` of an operator, in this process: starting one for each takes longer than what they do."""
    env = {**system.env, **as_user(system, "imagemill-operator")}
    return CliRunner().invoke(cli.app, words, env=env)


def run_every_command(system: System) -> None:
    made = str(system.folder / "made.png")
    submitted = command(system, "submit", PROMPT, "--model", "sim", "--out", made, "--json")
    assert submitted.exit_code == 0, submitted.output
    job_id = json.loads(submitted.stdout.splitlines()[-1])["id"]
    for words in [*COMMANDS, f"status {job_id}", f"wait {job_id}", f"events {job_id}", f"cancel {job_id}"]:
        done = command(system, *words.split())
        assert "NOPERM" not in done.output, words
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception


def in_scripts() -> set[str]:
    """Commands that the job table's scripts may come to, however seldom."""
    folder = CHECKOUT / "jobs" / "scripts" / "lua"
    sources = (each.read_text("utf-8") for each in folder.rglob("*.lua"))
    found = (each for text in sources for each in re.findall(r"redis\.p?call\('(\w+)'(?:, '(USAGE)')?", text))
    return {"|".join(filter(None, words)).lower() for words in found}


def test_the_system_runs_under_the_users_of_the_document(system: System) -> None:
    users = documented()
    client = system.redis()
    set_users(client, users)
    system.env |= as_user(system, "imagemill-operator")
    used(client)
    with celery_sender(url_of(system, "imagemill-sender")) as app:
        results = send_alone(app)
        of_sender = used(client)
        flower_env = {**system.env, **as_user(system, "imagemill-flower"), "PYTHONPATH": str(CHECKOUT)}
        with Flower(system.folder / "flower", 0, flower_env) as flower:
            flower.wait_until_ready(START_S)
            until("it hears of workers", lambda: client.pubsub_numpat() > 0)
            of_flower = used(client)
            system.worker(env=as_user(system, "imagemill"))
            for each in results[:2]:
                assert each.get(timeout=120)["status"] == "succeeded"
            until("the chord's body is sent", lambda: client.llen("celery"))
            metrics = free_port()
            system.serve(env={**as_user(system, "imagemill"), "IMAGEMILL_METRICS_PORT": str(metrics)})
            ask_everything(system)
            assert http_status(metrics, "/metrics") == 200
            run_every_command(system)
    of_all = used(client) | of_sender | of_flower
    assert denied(client) == []
    for user in ("imagemill", "imagemill-operator"):
        assert commands_of(users[user]) - of_all - in_scripts() - SELDOM == set(), "listed, and nobody needs it"
        assert in_scripts() <= commands_of(users[user])
        assert commands_of(users[user]) == {*PROBES, *OUTSIDE}, "the doctor tries what is listed"
    for user in ("imagemill-sender", "imagemill-flower"):
        assert commands_of(users[user]) - of_all == set(), "listed, and nobody needs it"
    check_bounds(system)


def check_bounds(system: System) -> None:
    """What each may not do."""
    for user, command in (
        ("imagemill", ("HSET", "imagemill:api_keys", "mine", "{}")),
        ("imagemill", ("FLUSHALL",)),
        ("imagemill", ("CONFIG", "GET", "requirepass")),
        ("imagemill-operator", ("KEYS", "*")),
        ("imagemill-sender", ("HGETALL", "imagemill:job:another")),
        ("imagemill-sender", ("GET", "imagemill:api_keys")),
        ("imagemill-flower", ("HGETALL", "imagemill:api_keys")),
    ):
        with (
            redis.Redis.from_url(url_of(system, user)) as client,
            pytest.raises(redis.exceptions.NoPermissionError),
        ):
            client.execute_command(*command)


@pytest.mark.parametrize(
    ("without", "state", "named"),
    [("+info", "warning", "info"), ("+zdiff", "failure", "zdiff"), ("~gpu.*", "failure", "access to gpu.doctor")],
)
def test_the_doctor_names_what_a_user_lacks(system: System, without: str, state: str, named: str) -> None:
    rules = [each for each in documented()["imagemill-operator"] if each != without]
    set_users(system.redis(), {"imagemill-operator": rules})
    done = command(system, "doctor", "--json")
    findings = {each["check"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert findings["Redis rights"]["state"] == state
    assert f"lacks {named}:" in findings["Redis rights"]["found"]
    assert "docs/redis.md" in findings["Redis rights"]["advice"]


def test_a_job_runs_without_info(system: System) -> None:
    rules = [each for each in documented()["imagemill"] if each != "+info"]
    set_users(system.redis(), {"imagemill": rules})
    system.env |= as_user(system, "imagemill")
    api = system.serve()
    system.worker()
    assert system.end_of(system.submit())["status"] == "succeeded"
    assert api.printed("does not report its memory to this user") == 1
