"""The catalogue fills in what a request leaves out, and refuses what no worker could run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import ErrorCode, InvalidConfiguration, InvalidRequest, ModelNotAvailable
from jobs.fields import MAX_SEED
from jobs.kinds.generate import GenerateSpec, spec_of

CHECKOUT = Path(__file__).resolve().parents[4]
CATALOGUE = Catalogue.read(CHECKOUT / "models.toml")

ENTRY = """
[models.tiny]
source = "tiny"
revision = "1"
dtype = "float32"
family = "stable-diffusion"
schedulers = ["ddim"]
defaults = { width = 64, height = 64, num_inference_steps = 4, guidance_scale = 1.0, scheduler = "ddim" }
limits = { min_side = 64, max_side = 128, side_multiple = 8, max_steps = 10, max_n = 2 }
"""


def _of(family: str, text: str, other: str) -> str:
    """The entry, of another family; with another text in place of one."""
    return ENTRY.replace("stable-diffusion", family).replace(text, other)


UNET = {"model": "shapes"}  # whose limits these are


def settle(catalogue: Catalogue, **fields: Any) -> GenerateSpec:
    return spec_of({"prompt": "a red circle", **fields}, catalogue)


def test_unset_fields_take_the_defaults_of_the_first_model(catalogue: Catalogue) -> None:
    model = next(iter(catalogue.models.values()))
    spec = settle(catalogue)
    assert spec.model == model.name
    assert {name: getattr(spec, name) for name in type(model.defaults).model_fields} == model.defaults.model_dump()


def test_set_fields_win_over_the_defaults(catalogue: Catalogue) -> None:
    fields: dict[str, Any] = {
        "model": "shapes",
        "width": 64,
        "height": 96,
        "num_inference_steps": 3,
        "guidance_scale": 0.0,
        "scheduler": "euler",
        "seed": 0,
    }
    spec = settle(catalogue, **fields)
    assert {name: getattr(spec, name) for name in fields} == fields


def test_unset_seed_is_drawn_anew_for_each_job(catalogue: Catalogue) -> None:
    seeds = {settle(catalogue).seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_unknown_model_is_refused_with_the_names_of_those_there_are(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotAvailable, match=r"^model: .*'dreams'.*shapes") as refused:
        settle(catalogue, model="dreams")
    assert refused.value.code is ErrorCode.MODEL_NOT_AVAILABLE


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"width": 56}, "width"),
        ({"height": 264}, "height"),
        ({"width": 100}, "width"),
        ({"num_inference_steps": 201}, "num_inference_steps"),
        ({"num_inference_steps": 51, "scheduler": "lcm"}, "num_inference_steps"),
        ({"n": 17}, "n"),
        ({"n": 2, "seed": MAX_SEED}, "seed"),
        ({"scheduler": "dreamy"}, "scheduler"),
        ({"output": {"crop": {"width": 136, "height": 64}}}, "output.crop"),
        ({"output": {"crop": {"width": 64, "height": 129}}}, "output.crop"),
        ({"output": {"resize": {"width": 64, "height": 64}, "crop": {"width": 65, "height": 64}}}, "output.crop"),
        ({"output": {"resize": {"width": 8192, "height": 8192}}}, "output.resize"),
        ({"output": {"resize": {"width": 4096, "height": 4104}}}, "output.resize"),
        ({"n": 5, "output": {"resize": {"width": 4096, "height": 4096}}}, "n"),
    ],
)
def test_what_the_model_cannot_do_is_refused_by_the_name_of_the_field(
    catalogue: Catalogue, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        settle(catalogue, **UNET | fields)
    assert refused.value.field == field


def _entry(**more: str) -> str:
    """The entry with other limits, or further keys."""
    limits = "".join(f", {name} = {value}" for name, value in more.items() if name.startswith("max_"))
    keys = "".join(f'{name} = "{value}"\n' for name, value in more.items() if not name.startswith("max_"))
    return ENTRY.replace("max_n = 2 }", f"max_n = 2{limits} }}\n{keys}")


@pytest.mark.parametrize(
    ("limits", "accepted", "refused", "field"),
    [
        ({"max_output_pixels": "10_000"}, (100, 100), (101, 100), "output.resize"),
        ({"max_job_output_pixels": "20_000"}, (100, 100), (101, 100), "n"),
        ({"max_output_pixels": "10_000", "max_job_output_pixels": "5_000"}, (50, 50), (51, 50), "n"),
    ],
)
def test_an_entry_may_bound_the_pixels_of_what_is_stored(
    tmp_path: Path, limits: dict[str, str], accepted: tuple[int, int], refused: tuple[int, int], field: str
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(_entry(**limits))
    catalogue = Catalogue.read(file)

    def ask(size: tuple[int, int]) -> GenerateSpec:
        return settle(catalogue, n=2, output={"resize": {"width": size[0], "height": size[1]}})

    ask(accepted)
    with pytest.raises(InvalidRequest) as why:
        ask(refused)
    assert why.value.field == field


def test_large_models_may_store_what_they_make(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(ENTRY.replace("max_side = 128", "max_side = 6000").replace("max_n = 2", "max_n = 64"))
    settle(Catalogue.read(file), n=64, width=6000, height=6000)


@pytest.mark.parametrize(
    ("entry", "asked", "settled"),
    [
        ("full", None, None),
        ("full", "full", None),
        ("full", "mark", "mark"),
        ("mark", None, "mark"),
        ("mark", "mark", "mark"),
    ],
)
def test_files_say_what_operator_and_caller_both_allow(
    tmp_path: Path, entry: str, asked: str | None, settled: str | None
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(_entry(metadata=entry))
    output = {} if asked is None else {"metadata": asked}
    assert settle(Catalogue.read(file), output=output).output.metadata == settled


def test_what_the_operator_keeps_out_of_files_cannot_be_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(_entry(metadata="mark"))
    with pytest.raises(InvalidRequest, match=r"^output\.metadata: "):
        settle(Catalogue.read(file), output={"metadata": "full"})


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 64, "height": 256},
        {"num_inference_steps": 200},
        {"num_inference_steps": 50, "scheduler": "lcm"},
        {"n": 16, "seed": MAX_SEED - 15},
        {"output": {"crop": {"width": 128, "height": 128}}},
        {"output": {"resize": {"width": 300, "height": 300}, "crop": {"width": 300, "height": 200}}},
        {"n": 4, "output": {"resize": {"width": 4096, "height": 4096}}},
        {"n": 16, "width": 256, "height": 256},
    ],
)
def test_limits_themselves_are_accepted(catalogue: Catalogue, fields: dict[str, Any]) -> None:
    settle(catalogue, **UNET | fields)


def test_source_is_a_folder_beside_the_catalogue_or_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(ENTRY + ENTRY.replace("tiny", "hub/large").replace("hub/", "hub-", 1))
    (tmp_path / "tiny").mkdir()
    catalogue = Catalogue.read(tmp_path / "models.toml")
    assert catalogue.source_of(catalogue.models["tiny"]) == str(tmp_path / "tiny")
    assert catalogue.source_of(catalogue.models["hub-large"]) == "hub/large"


def test_missing_catalogue_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(str(tmp_path / "nowhere.toml"))):
        Catalogue.read(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[models",
        "models = 3",
        "models = []",
        "[models]\ntiny = 3",
        "\xff",  # Written as Latin-1: no UTF-8.
        ENTRY + "flavour = 1",
        ENTRY + "name = 'other'",
        ENTRY.replace("models.tiny", "models.'two words'"),
        ENTRY.replace("float32", "float8"),
        ENTRY.replace('schedulers = ["ddim"]', "schedulers = []"),
        ENTRY.replace('scheduler = "ddim"', 'scheduler = "euler"'),
        ENTRY.replace("max_n = 2", 'max_n = "two"'),
        ENTRY.replace("side_multiple = 8", "side_multiple = 0"),
        ENTRY.replace("side_multiple = 8", "side_multiple = 4"),  # Its family cannot.
        _of("z-image", "side_multiple = 8, ", "side_multiple = 24, "),
        _of("z-image", "width = 64", "width = 72"),
        _of("flux", "max_n = 2 }", "max_n = 2 }\nnegative_prompt = true"),
        ENTRY + 'guidance = "none"\nnegative_prompt = true',
        ENTRY + 'guidance = "strong"',
        ENTRY + 'text_device = "cpu"',
        ENTRY + "max_sequence_length = 100",
        _of("diffusers", "max_n = 2 }", 'max_n = 2 }\ntext_device = "model"'),
        _of("pixart-sigma", "max_n = 2 }", 'max_n = 2 }\ntext_device = "cpu"').replace(
            "_multiple = 8", "_multiple = 16"
        ),
        ENTRY.replace("width = 64", "width = 512"),  # Its own limits refuse each request that leaves the size out.
        ENTRY.replace("num_inference_steps = 4", "num_inference_steps = 0"),
        ENTRY.replace("ddim", "lcm").replace("_steps = 4", "_steps = 51").replace("_steps = 10", "_steps = 100"),
        _of("simulated", "max_n = 2 }", 'max_n = 2 }\nvariant = "fp16"'),
        ENTRY + "[models.tiny.components.vae]",
        ENTRY + '[models.tiny.components.unet]\ndtype = "float16"',
    ],
    ids=[
        "empty",
        "no toml",
        "models is a number",
        "models is a list",
        "model is a number",
        "no utf-8",
        "unknown key",
        "name twice",
        "bad name",
        "unknown dtype",
        "no schedulers",
        "default scheduler not offered",
        "limit is a string",
        "multiples of nothing",
        "multiples that its family does not make",
        "multiples that hold some of its family's alone",
        "default size that its family does not make",
        "negative prompt without guidance",
        "negative prompt though guidance is said to be none",
        "unknown guidance",
        "a place for texts that its family does not heed",
        "a length of texts that its family does not heed",
        "a place for texts behind the pipeline's own call",
        "a place for texts of a family that heeds their length alone",
        "default size above the limit",
        "no default steps",
        "more default steps than the scheduler takes",
        "files of a model that has none",
        "a component that says nothing",
        "a type of a component that its passes do not heed",
    ],
)
def test_broken_catalogue_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidConfiguration, match=re.escape(str(path))):
        Catalogue.read(path)


def test_catalogue_is_read_where_torch_is_not_installed() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'diffusers', 'transformers')))"
    imports = "from pathlib import Path; from jobs.catalogue.catalogue import Catalogue"
    read = f"{imports}; Catalogue.read(Path('models.toml'))"
    subprocess.run([sys.executable, "-c", f"{blocked}; {read}"], cwd=CHECKOUT, check=True)


side = st.none() | st.integers(8, 400) | st.integers(1, 50).map(lambda eighths: eighths * 8)
box = st.none() | st.fixed_dictionaries({"width": st.integers(8, 300), "height": st.integers(8, 300)})
request_fields = st.fixed_dictionaries(
    {
        "prompt": st.text(min_size=1, max_size=50).filter(str.strip),
        "width": side,
        "height": side,
        "n": st.integers(1, 64),
        "seed": st.none() | st.integers(0, MAX_SEED),
        "num_inference_steps": st.none() | st.integers(1, 1_000),
        "guidance_scale": st.none() | st.floats(0, 100),
        "scheduler": st.none() | st.sampled_from(["ddim", "lcm", "dreamy"]),
        "deadline": st.none() | st.floats(0.001, 1e6),
        "metadata": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
        "output": st.fixed_dictionaries({"resize": box, "crop": box}),
    }
)


@given(fields=request_fields)
def test_any_request_settles_within_the_limits_or_is_invalid(fields: dict[str, Any]) -> None:
    try:
        spec = spec_of(fields, CATALOGUE)
    except InvalidRequest:
        return
    limits = CATALOGUE.models[spec.model].limits
    assert all(limits.min_side <= side <= limits.max_side for side in (spec.width, spec.height))
    assert spec.seed + spec.n - 1 <= MAX_SEED
    # What the job table stores is the same job again.
    assert GenerateSpec.model_validate_json(spec.model_dump_json(exclude_defaults=True)) == spec
