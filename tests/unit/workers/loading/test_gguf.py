"""A transformer in a file of GGUF stays quantized in memory, and makes about the pictures of the whole one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from ops.models.components import read_pipeline
from ops.models.files import FolderFiles
from ops.models.memory import weights_bytes, with_components
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_engine, run, submit
from tests.unit.workers.gguf_files import write_gguf
from workers.loading.models import load_model

pytestmark = [
    pytest.mark.filterwarnings(QUIET),
    pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="gguf is not installed"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pipeline = tiny_pipelines.flux()
    pipeline.save_pretrained(tmp_path / "model")
    write_gguf(tmp_path / "transformer.gguf", pipeline.transformer.state_dict())
    return tmp_path


def load(folder: Path, **changes: Any) -> Any:
    entry = tiny.model("flux", source="model", schedulers=("default",), **changes)
    return load_model(Catalogue([entry], folder), entry, torch.device("cpu"), 1 << 20)


def latents(adapter: Any) -> torch.Tensor:
    job = tiny.spec(adapter.entry, num_inference_steps=2)
    begun = adapter.begin(job, adapter.encode([job])[0])
    for _ in range(2):
        begun.advance(adapter.predict([begun], 1, lambda _step: None)[0])
    made: torch.Tensor = begun.latents
    return made


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.long)])
def test_transformer_stays_quantized_and_makes_about_the_same(folder: Path, dtype: str) -> None:
    plain = load(folder, dtype=dtype)
    adapter = load(folder, dtype=dtype, components={"transformer": {"source": "transformer.gguf"}})
    weight = adapter.pipeline.transformer.transformer_blocks[0].attn.to_q.weight
    assert (type(weight).__name__, weight.dtype) == ("GGUFParameter", torch.uint8)
    made, expected = latents(adapter).float(), latents(plain).float()
    assert not torch.equal(made, expected)
    assert torch.nn.functional.cosine_similarity(made.flatten(), expected.flatten(), dim=0) > 0.99
    engine = make_engine(adapter)
    ticket = submit(engine, tiny.spec(adapter.entry, num_inference_steps=2))
    run(engine, ticket)
    assert [picture.shape for picture in ticket.result()] == [(tiny.SIDE, tiny.SIDE, 3)]


def test_its_memory_is_that_of_its_file(folder: Path) -> None:
    entry = tiny.model("flux", source="model", components={"transformer": {"source": "transformer.gguf"}})
    pipeline = read_pipeline(FolderFiles(folder / "model"))
    whole, kept = with_components(pipeline, Catalogue([entry], folder), entry)
    in_file = (folder / "transformer.gguf").stat().st_size
    assert weights_bytes(whole, entry, kept)["transformer"] == in_file
    assert in_file < weights_bytes(pipeline, tiny.model("flux"), {})["transformer"] / 2


def test_file_that_lacks_a_tensor_is_refused(folder: Path) -> None:
    tensors = tiny_pipelines.flux().transformer.state_dict()
    del tensors["proj_out.bias"]
    write_gguf(folder / "transformer.gguf", tensors)
    with pytest.raises(InvalidConfiguration, match=r"transformer\.gguf lacks tensors of FluxTransformer2DModel"):
        load(folder, components={"transformer": {"source": "transformer.gguf"}})


def test_what_only_is_called_so_is_refused(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "transformer.gguf")
    with pytest.raises(InvalidConfiguration, match=r"transformer\.gguf is no file of GGUF: .*; copy the model again"):
        load(folder, components={"transformer": {"source": "transformer.gguf"}})


def test_file_that_is_cut_short_is_refused_in_a_sentence(folder: Path) -> None:
    file = folder / "transformer.gguf"
    file.write_bytes(file.read_bytes()[:-4096])
    with pytest.raises(InvalidConfiguration) as raised:
        load(folder, components={"transformer": {"source": "transformer.gguf"}})
    assert "transformer.gguf" in str(raised.value)
    assert str(raised.value).endswith("download the whole model again")
