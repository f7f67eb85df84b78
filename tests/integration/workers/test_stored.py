"""Models in a store are copied here once, whole or not at all, and kept up to a bound; on a real S3 server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from ops.process import wait_until
from ops.servers import S3Server
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.errors import ObjectNotFound, StorageUnavailable
from workers.loading.weights.sources import source_fault
from workers.process.settings import WorkerSettings
from workers.process.stored.cache import ModelCache, NoRoom
from workers.process.stored.download import NotWhole
from workers.process.stored.listing import SUMS, RemoteSource, list_source
from workers.process.stored.models import copy_stored

CHECKOUT = Path(__file__).resolve().parents[3]
FILES = {"model_index.json": b"{}", "unet/config.json": b"{ }", "unet/weights.safetensors": bytes(range(256)) * 9000}
SIZE = sum(map(len, FILES.values()))
_ENDS_S = 120
ENTRY = """
[models.mine]
source = "{source}"
revision = "1"
dtype = "float32"
family = "stable-diffusion"
schedulers = ["ddim"]
defaults = {{ width = 16, height = 16, num_inference_steps = 5, guidance_scale = 3.0, scheduler = "ddim" }}
limits = {{ min_side = 8, max_side = 64, max_steps = 100, max_n = 4 }}
"""
FETCH = """
import sys
from pathlib import Path
from storage.registry import open_store
from workers.process.stored.cache import ModelCache
from workers.process.stored.listing import list_source
cache = ModelCache(Path(sys.argv[2]), 10**9)
print(cache.fetch(list_source(open_store(), sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(s3_server: S3Server) -> S3Store:
    made = S3Store(S3Settings(endpoint_url=s3_server.endpoint, bucket=f"models-{uuid.uuid4().hex[:12]}"))
    made.prepare()
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ModelCache]:
    made = ModelCache(tmp_path / "cache", 10**9)
    yield made
    made.release()


def put(store: S3Store, name: str, changes: Mapping[str, bytes] | None = None, *, sums: bool = True) -> str:
    """A source of that name, with these files or others."""
    files = {**FILES, **(changes or {})}
    for path, body in files.items():
        store.put(f"models/{name}/{path}", body, "application/octet-stream")
    if sums:
        lines = "".join(f"{hashlib.sha256(body).hexdigest()}  ./{path}\n" for path, body in files.items())
        store.put(f"models/{name}/{SUMS}", lines.encode(), "text/plain")
    return f"s3://{store.settings.bucket}/models/{name}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sums", [True, False])
def test_folder_is_copied_once(store: S3Store, cache: ModelCache, sums: bool) -> None:
    source = put(store, "mine", sums=sums)
    folder = cache.fetch(list_source(store, source))
    assert contents(folder) == FILES
    inodes = {path: path.stat().st_ino for path in folder.rglob("*")}
    assert cache.fetch(list_source(store, f"{source}/")).parent.parent == cache.root
    assert cache.fetch(list_source(store, source)) == folder
    assert {path: path.stat().st_ino for path in folder.rglob("*")} == inodes


def test_file_is_copied_alone(store: S3Store, cache: ModelCache) -> None:
    source = put(store, "mine")
    file = cache.fetch(list_source(store, f"{source}/unet/weights.safetensors"))
    assert (file.name, file.read_bytes()) == ("weights.safetensors", FILES["unet/weights.safetensors"])
    assert len([*contents(file.parent)]) == 1


def test_another_content_is_another_copy(store: S3Store, cache: ModelCache) -> None:
    source = put(store, "mine")
    first = cache.fetch(list_source(store, source))
    put(store, "mine", {"model_index.json": b"[]"})
    second = cache.fetch(list_source(store, source))
    assert (first / "model_index.json").read_bytes() == b"{}"
    assert (second / "model_index.json").read_bytes() == b"[]"


def test_content_that_changes_meanwhile_is_not_mixed(store: S3Store, cache: ModelCache) -> None:
    source = put(store, "mine", sums=False)
    remote = list_source(store, source)
    store.put("models/mine/unet/weights.safetensors", FILES["unet/weights.safetensors"][::-1], "text/plain")
    with pytest.raises(ObjectNotFound, match="has changed meanwhile"):
        cache.fetch(remote)
    assert not [*cache.root.glob("*/files")]


def test_source_that_is_nowhere_is_said(store: S3Store) -> None:
    put(store, "mine")
    for gone in ("models/none", "models/none.safetensors", "models/min"):
        with pytest.raises(ObjectNotFound, match=f"has nothing at s3://.*/{gone}"):
            list_source(store, f"s3://{store.settings.bucket}/{gone}")


class CutOff(S3Store):
    """Ends each answer after so many bytes, as a connection that breaks."""

    after_bytes = 1_000_000

    def pieces(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        self.starts.append(start)
        sent = 0
        for piece in super().pieces(key, start, etag):
            sent += len(piece)
            if sent > self.after_bytes:
                raise StorageUnavailable("the connection broke")
            yield piece

    def __init__(self, settings: S3Settings) -> None:
        super().__init__(settings)
        self.starts: list[int] = []  # where it was asked to begin


def cut_off(store: S3Store, source: str, after_bytes: int) -> tuple[RemoteSource, CutOff]:
    listed = list_source(store, source)
    assert isinstance(listed.store, S3Store)
    broken = CutOff(listed.store.settings)
    broken.after_bytes = after_bytes
    return RemoteSource(source=source, store=broken, files=listed.files, is_file=False), broken


def test_download_that_is_cut_off_goes_on_where_it_ended(store: S3Store, cache: ModelCache) -> None:
    remote, broken = cut_off(store, put(store, "mine"), 1 << 20)
    assert contents(cache.fetch(remote)) == FILES
    assert broken.starts == [0, 0, 0, 1 << 20, 2 << 20]


def test_download_that_ended_is_never_seen_as_whole(store: S3Store, cache: ModelCache) -> None:
    source = put(store, "mine")
    remote, _ = cut_off(store, source, 0)
    with pytest.raises(StorageUnavailable, match="the connection broke"):
        cache.fetch(remote)
    assert not [*cache.root.glob("*/files")]
    assert contents(cache.fetch(list_source(store, source))) == FILES


def test_file_that_differs_from_its_checksum_is_thrown_away(store: S3Store, cache: ModelCache) -> None:
    source = put(store, "mine")
    store.put("models/mine/unet/config.json", b"{!}", "application/json")
    with pytest.raises(NotWhole, match=r"unet/config.json of s3://.* has SHA-256 .*, and SHA256SUMS says"):
        cache.fetch(list_source(store, source))
    assert not [*cache.root.glob("*/files"), *cache.root.rglob("unet/config.json")]


def test_least_recently_used_goes_first_and_nothing_in_use(store: S3Store, tmp_path: Path) -> None:
    sources = {name: put(store, name) for name in "abc"}
    bound = 2 * SIZE + SIZE // 2
    folders = {}
    for name in "ab":
        earlier = ModelCache(tmp_path, bound)
        folders[name] = earlier.fetch(list_source(store, sources[name]))
        os.utime(folders[name].parent / "used", (1_000 + ord(name), 1_000 + ord(name)))
        earlier.release()
    holding = ModelCache(tmp_path, bound)
    holding.fetch(list_source(store, sources["a"]))
    os.utime(folders["a"].parent / "used", (1, 1))
    cache = ModelCache(tmp_path, bound)
    folders["c"] = cache.fetch(list_source(store, sources["c"]))  # `a` was used less recently, and is in use.
    assert {name: folder.exists() for name, folder in folders.items()} == {"a": True, "b": False, "c": True}
    with pytest.raises(NoRoom, match="set IMAGEMILL_WORKER_MODEL_CACHE_GB to more"):
        cache.fetch(list_source(store, sources["b"]))
    holding.release()
    assert contents(cache.fetch(list_source(store, sources["b"]))) == FILES
    assert not folders["a"].exists()
    cache.release()


def processes(s3_server: S3Server, source: str, root: Path, count: int) -> list[subprocess.Popen[str]]:
    env = os.environ | {"PYTHONPATH": str(CHECKOUT), "IMAGEMILL_S3_ENDPOINT_URL": s3_server.endpoint}
    line = [sys.executable, "-c", FETCH, source, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return [subprocess.Popen(line, env=env, text=True, **pipes) for _ in range(count)]  # type: ignore[call-overload]


def test_two_processes_share_one_copy(store: S3Store, s3_server: S3Server, tmp_path: Path) -> None:
    both = processes(s3_server, put(store, "mine"), tmp_path, 2)
    said = [process.communicate("", timeout=_ENDS_S)[0].strip().splitlines() for process in both]
    assert said[0][-1] == said[1][-1]
    assert contents(Path(said[0][-1])) == FILES
    assert sum("copying" in line for lines in said for line in lines) == 1


def test_copy_of_a_process_that_was_killed_is_free(store: S3Store, s3_server: S3Server, tmp_path: Path) -> None:
    source = put(store, "mine")
    (process,) = processes(s3_server, source, tmp_path, 1)
    assert wait_until(lambda: bool([*tmp_path.glob("*/used")]), _ENDS_S)
    cache = ModelCache(tmp_path, SIZE + SIZE // 2)
    other = list_source(store, put(store, "other"))
    with pytest.raises(NoRoom):
        cache.fetch(other)
    process.kill()
    process.communicate(timeout=_ENDS_S)
    assert contents(cache.fetch(other)) == FILES
    cache.release()


def test_model_that_is_not_copied_is_refused(store: S3Store, tmp_path: Path) -> None:
    source = put(store, "mine")
    catalogue = Catalogue.parse(ENTRY.format(source=source), tmp_path / "models.toml")
    fault = source_fault(catalogue, catalogue.models["mine"])
    assert fault is not None
    assert fault.found == f"{source} is not copied here"


Spoil = Callable[[S3Store], object]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda store: [store.delete(each.key) for each in [*store.objects()]], "has nothing at s3://"),
        (lambda store: store.put("models/mine/model_index.json", b"[]", "text/plain"), "has SHA-256 "),
        (lambda store: store.put("models/mine/large", bytes(1_000_000), "text/plain"), "room for 0.003 GB"),
    ],
    ids=["gone", "another", "too large"],
)
def test_model_that_cannot_be_copied_is_a_sentence(
    store: S3Store, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Spoil, reason: str
) -> None:
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", s3_server.endpoint)
    source = put(store, "mine")
    spoil(store)
    catalogue = Catalogue.parse(ENTRY.format(source=source), tmp_path / "models.toml")
    settings = WorkerSettings(model_cache_dir=tmp_path / "cache", model_cache_gb=0.003)
    with pytest.raises(InvalidConfiguration) as refused:
        copy_stored(catalogue, ["mine"], settings)
    said = str(refused.value)
    assert said.startswith("model mine (line 2 of models.toml) cannot be loaded: ")
    assert reason in said
    assert "; " in said
