"""Large files through one API process: each is in its memory for a piece at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from ops.programs import Api
from storage.backends.s3.settings import S3Settings
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.pictures import png

SIZE_BYTES = 20_000_000
FILES, AT_A_TIME = 200, 4
MOST_GROWTH_MIB = 50


def memory_mib(api: Api, what: str) -> float:
    status = Path(f"/proc/{api.pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(f"{what}:")) / 1024


@pytest.fixture
def env(env: dict[str, str], storage_settings: S3Settings) -> dict[str, str]:
    return {**env, "IMAGEMILL_S3_BUCKET": storage_settings.bucket}


@pytest.mark.long
def test_memory_of_the_api_does_not_grow_with_the_files_that_it_is_sent(process: Api) -> None:
    picture = png(SIZE_BYTES)
    with httpx.Client(base_url=process.url, trust_env=False, timeout=DEADLINE_S) as client:

        def there_and_away(number: int) -> None:
            own = picture[:100] + number.to_bytes(8, "big") + picture[108:]  # Unlike all others.
            sent = client.post("/v1/files", data={"purpose": "vision"}, files={"file": ("photo.png", own)})
            assert sent.status_code == 200, sent.text
            assert sent.json()["bytes"] == SIZE_BYTES
            assert client.delete(f"/v1/files/{sent.json()['id']}").status_code == 200

        with ThreadPoolExecutor(AT_A_TIME) as threads:
            list(threads.map(there_and_away, range(AT_A_TIME)))  # What is made once, threads and imports, is there now.
            before = memory_mib(process, "VmRSS")
            list(threads.map(there_and_away, range(AT_A_TIME, FILES)))
    assert memory_mib(process, "VmHWM") - before < MOST_GROWTH_MIB
