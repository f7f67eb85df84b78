"""When models are swapped, and what is as it was where that comes to nothing: a real Redis, and a loader of nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from jobs import names
from jobs.errors import InvalidConfiguration, RedisUnavailable
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.fleet.loads import Loads
from jobs.process.settings import Settings
from jobs.table.figures import FigureReader
from ops.process import wait_until
from storage.errors import StorageUnavailable
from workers.attempt.metrics import WorkerMetrics
from workers.attempt.residents import Residents
from workers.process.loader import Loader
from workers.process.residency.budget import Budget
from workers.process.residency.lines import ReadLines
from workers.process.residency.swapper import Swapper

ME, OTHER = "worker@me", "worker@other"
MODELS = ("a", "b", "c")
LONG_S = 100.0  # that the oldest job of a queue has waited: ten times what a load is taken for
REPORT = WorkerReport(name=OTHER, state="ready", models=MODELS, slots=1)


class FakeLoader:
    """Loads nothing, or raises; knows what lies there."""

    def __init__(self, loaded: Sequence[str]) -> None:
        self.loaded = list(loaded)
        self.raises: dict[str, Exception] = {}
        self.tried: list[str] = []
        self.freed = 0

    def read(self, models: Sequence[str]) -> list[str]:
        self.tried += models
        for each in models:
            if each in self.raises:
                raise self.raises[each]
        return list(models)

    def put(self, model: str) -> int:
        self.loaded.append(model)
        return 1

    def drop(self, model: str) -> None:
        self.loaded.remove(model)

    def free(self) -> None:
        self.freed += 1


class House:
    """A worker whose device holds one model of three, without the rest of the worker."""

    def __init__(self, client: redis.Redis, settings: Settings, idle_s: float | None = None) -> None:
        self.waiting: dict[str, int] = {}
        self.loader = FakeLoader(["a"])
        self.residents = Residents(["a"])
        self.lines = ReadLines(MODELS, closed=["b", "c"])
        self.fleet = Fleet(client, settings)
        self.looked_again = 0
        self.stopping = threading.Event()
        self.swapper = Swapper(
            name=ME,
            budget=Budget(room_gb=1.0, gb=dict.fromkeys(MODELS, 1.0), pinned=()),
            loader=cast("Loader", self.loader),
            residents=self.residents,
            lines=self.lines,
            figures=cast("FigureReader", SimpleNamespace(read=self._figures)),
            fleet=self.fleet,
            loads=Loads(client, settings, ME),
            metrics=WorkerMetrics(MODELS),
            on_change=lambda: None,
            look_again=self._look_again,
            stopping=self.stopping,
            unload_idle_s=idle_s,
        )

    def _figures(self) -> Any:
        return SimpleNamespace(
            queues=[
                SimpleNamespace(
                    queue=names.queue_of(model), queued={"normal": jobs}, oldest_s={"normal": LONG_S}, is_paused=False
                )
                for model, jobs in self.waiting.items()
            ]
        )

    def _look_again(self) -> None:
        self.looked_again += 1

    @property
    def there(self) -> tuple[list[str], set[str], list[str]]:
        """Models that are loaded, that jobs may use, and whose lines are read."""
        read = [model for model in MODELS if not self.lines.is_closed(names.queue_of(model))]
        return self.loader.loaded, set(self.residents.used_at()), read


@pytest.fixture
def house(redis_client: redis.Redis, settings: Settings) -> House:
    return House(redis_client, settings)


@pytest.fixture
def full_redis(redis_client: redis.Redis) -> Iterator[Callable[[], None]]:
    yield lambda: cast("None", redis_client.config_set("maxmemory", 1))
    redis_client.config_set("maxmemory", 0)


def of_one(model: str) -> tuple[list[str], set[str], list[str]]:
    return [model], {model}, [model]


def test_model_takes_the_place_of_another(house: House, redis_client: redis.Redis) -> None:
    house.waiting = {"c": 3}
    house.swapper.run_once()
    assert house.there == of_one("c")
    assert house.looked_again == 1
    assert not redis_client.exists(names.loading_key("c"))


def test_model_is_loaded_though_redis_is_full_of_its_jobs(house: House, full_redis: Callable[[], None]) -> None:
    house.waiting = {"c": 3}
    full_redis()
    house.swapper.run_once()
    assert house.there == of_one("c")


def test_all_is_as_it_was_where_redis_goes_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: Loads, _model: str) -> bool:
        raise RedisUnavailable("away")

    monkeypatch.setattr(Loads, "take", away)
    house.waiting = {"c": 3}
    with pytest.raises(RedisUnavailable):
        house.swapper.run_once()
    assert house.there == of_one("a")
    assert house.loader.tried == []


def test_model_that_another_worker_loads_is_left_to_it(
    house: House, redis_client: redis.Redis, settings: Settings
) -> None:
    other = Loads(redis_client, settings, OTHER)
    assert other.take("c")
    house.waiting = {"b": 1, "c": 3}
    house.swapper.run_once()
    assert house.there == of_one("b")
    Loads(redis_client, settings, ME).end("c")  # That is not its to end.
    assert not Loads(redis_client, settings, ME).take("c")
    assert other.take("c")  # It goes on.
    assert redis_client.get(names.loading_key("c")) == OTHER


@pytest.mark.parametrize("has_it", [True, False])
def test_who_waits_for_a_long_job_leaves_the_model_to_others(house: House, has_it: bool) -> None:
    """While the job runs the model is anybody's: another worker has loaded it, or nobody asks for it any more."""
    house.waiting = {"c": 3}
    with house.residents.use("a"):
        thread = threading.Thread(target=house.swapper.run_once)
        thread.start()
        assert wait_until(lambda: house.lines.is_closed("gpu.a"), 60)
        if has_it:
            house.fleet.report(WorkerReport(name=OTHER, state="ready", models=MODELS, loaded=("c",), slots=1))
        else:
            house.waiting = {}
        thread.join(60)
        assert not thread.is_alive()
    assert house.there == of_one("a")
    assert house.loader.tried == []


def test_second_copy_is_loaded_though_a_job_is_waited_for(house: House) -> None:
    house.fleet.report(WorkerReport(name=OTHER, state="ready", models=MODELS, loaded=("c",), slots=1))
    house.waiting = {"c": 3}
    with house.residents.use("a"):
        thread = threading.Thread(target=house.swapper.run_once)
        thread.start()
        assert wait_until(lambda: house.lines.is_closed("gpu.a"), 60)
        assert not house.residents.wait_unused(["a"], 2.5)  # It looks again each second.
    thread.join(60)
    assert house.there == of_one("c")


def test_worker_that_stops_swaps_nothing(house: House) -> None:
    house.waiting = {"c": 3}
    with house.residents.use("a"):
        thread = threading.Thread(target=house.swapper.run_once)
        thread.start()
        assert wait_until(lambda: house.lines.is_closed("gpu.a"), 60)
        house.stopping.set()
        thread.join(60)
        assert not thread.is_alive()
    assert house.loader.loaded == ["a"]


def test_job_that_is_on_its_way_to_a_model_keeps_it_there(house: House) -> None:
    """It has no slot yet, or its inputs are fetched: nobody waits in the queue, and it has not begun."""
    house.waiting = {"c": 1}
    with house.residents.coming("a"):
        house.swapper.run_once()
        assert house.there == of_one("a")  # For so long as a queue's jobs would.
    house.swapper.run_once()
    assert house.there == of_one("c")


def test_model_whose_line_an_operator_has_left_out_is_not_loaded(house: House) -> None:
    house.lines.leave_out("gpu.c")
    house.waiting = {"b": 1, "c": 30}
    house.swapper.run_once()
    assert house.loader.tried == ["b"]


def test_model_that_cannot_be_loaded_is_tried_once(house: House) -> None:
    house.loader.raises = {"c": InvalidConfiguration("model c cannot be loaded"), "b": MemoryError("no more")}
    house.waiting = {"b": 1, "c": 3}
    for _ in range(4):
        house.swapper.run_once()
    assert house.loader.tried == ["c", "b"]
    assert house.loader.freed == 2
    assert house.swapper.failures.keys() == {"b", "c"}
    house.waiting |= {"a": 1}
    house.swapper.run_once()
    assert house.there == of_one("a")


def test_model_whose_store_is_away_keeps_no_other_from_being_loaded(house: House) -> None:
    house.loader.raises = {"c": StorageUnavailable("away")}
    house.waiting = {"b": 1, "c": 30}
    for _ in range(2):
        house.swapper.run_once()
    assert house.loader.tried == ["c", "b"]
    assert house.there == of_one("b")
    assert house.swapper.failures == {}


def test_idle_model_gives_its_memory_back_and_comes_again(redis_client: redis.Redis, settings: Settings) -> None:
    house = House(redis_client, settings, idle_s=1e-9)
    house.waiting = {"a": 1}
    house.swapper.run_once()
    assert house.there == of_one("a")
    house.waiting = {}
    house.swapper.run_once()
    assert house.there == ([], set(), [])
    house.waiting = {"b": 1}
    house.swapper.run_once()
    assert house.there == of_one("b")
