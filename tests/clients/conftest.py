"""One running system for all clients, closed by a key, and what each of them is given of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from ops.process import LOOPBACK
from tests.blackbox.system import System, simulated
from tests.clients.answers import SIZE

# Longer than clients wait of their own accord, so that who is served had read how long to wait.
HASTY = "1/8 seconds"


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder: Path = tmp_path_factory.mktemp("system")
    with System(folder, folder / "cache", simulated(launch_s=0.02, row_s=0.001)) as system:
        system.serve({"IMAGEMILL_API_IMAGE_LINKS": "api"})  # As containers have it; a store may refuse who sends a key.
        system.worker()
        yield system


@pytest.fixture(scope="session")
def env(system: System, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a client's program: where the API is, its key, another that may ask seldom, and pictures."""
    assert system.api is not None
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("IMAGEMILL_", "PYTHON", "OPENAI_"))
    }
    folder = tmp_path_factory.mktemp("pictures")
    picture, mask = folder / "photo.png", folder / "mask.png"
    Image.new("RGB", SIZE, "red").save(picture)
    Image.new("RGBA", SIZE, (0, 0, 0, 0)).save(mask)  # Transparent, as OpenAI has it, where it is repainted.
    url, key = f"http://{LOOPBACK}:{system.api.port}/v1", system.key("client")
    return {
        **inherited,
        "OPENAI_BASE_URL": url,
        "OPENAI_API_BASE": url,  # LangChain's name of it.
        "OPENAI_API_KEY": key,
        "CLIENT_PICTURE": str(picture),
        "CLIENT_MASK": str(mask),
        "CLIENT_HASTY_KEY": system.key("hasty", "--rate", HASTY),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # It would load prices from somewhere.
        "LITELLM_PROXY_API_BASE": url,
        "LITELLM_PROXY_API_KEY": key,
    }
