"""A wrong entry is refused by a sentence that names its model, its key and the line of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.lines import Lines
from jobs.errors import InvalidConfiguration

FILE = Path("/srv/models.toml")
TEXT = """\
# The catalogue.
[models.first]
source = "first"
revision = "1"
dtype = "float32"
family = "stable-diffusion"
schedulers = [
    "ddim",
    "euler",
]
defaults = { width = 64, height = 64, num_inference_steps = 4, guidance_scale = 1.0, scheduler = "ddim" }
limits = { min_side = 64, max_side = 128, max_steps = 10, max_n = 2 }

[models."v1.5"]
source = "second"
revision = "1"
dtype = "float32"
family = "stable-diffusion"
schedulers = ["ddim"]
limits.min_side = 64
limits.max_side = 128
limits.max_steps = 10
limits.max_n = 2

[models."v1.5".defaults]
width = 64
height = 64
num_inference_steps = 4
guidance_scale = 1.0
scheduler = "ddim"

[models."v1.5".components.vae]
source = "vae"

[models."v1.5".textual_inversions]
"<a=b>" = "word.safetensors"
"""


def refusal(text: str) -> str:
    with pytest.raises(InvalidConfiguration) as raised:
        Catalogue.parse(text, FILE)
    reason = str(raised.value)
    assert "\n" not in reason
    return reason


def test_file_is_right_as_it_is() -> None:
    assert [*Catalogue.parse(TEXT, FILE).models] == ["first", "v1.5"]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "reason"),
    [
        (
            'dtype = "float32"',
            'dtype = "float23"',
            2,
            "model first: dtype (line 5): should be 'float32', 'bfloat16' or",
        ),
        ('revision = "1"\n', "", 2, "model first: revision (line 2): is missing"),
        ('revision = "1"', "revision = 1", 2, "model first: revision (line 4): should be a valid string"),
        ("width = 64", 'width = "x"', 2, "model first: defaults.width (line 11): should be a valid integer"),
        (
            "width = 64",
            "width = 65",
            2,
            "model first: defaults (line 11): a side of 65 is outside the model's own limits",
        ),
        ("max_n = 2 }", "max_n = 2, most = 1 }", 2, "model first: limits.most (line 12): unknown key"),
        (
            'dtype = "float32"',
            'dtype = "float32"\nguidence = "none"',
            2,
            "guidence (line 6): unknown key; is guidance meant?",
        ),
        ('"ddim",', '"dpm",', 2, "model first: defaults.scheduler (line 11): 'ddim' is not one of schedulers"),
        ('dtype = "float32"', 'dtype = "float32"\nname = "other"', 2, "model first: name (line 6): it is what"),
        ("height = 64\n", "", 14, "model v1.5: defaults.height (line 25): is missing"),
        ("limits.max_n = 2", "limits.max_n = 0", 14, "model v1.5: limits.max_n (line 23): should be greater than or"),
        ('source = "vae"', 'dtype = "int4"', 14, "model v1.5: components.vae.dtype (line 33): should be 'float32'"),
        (
            'vae]\nsource = "vae"',
            'unet]\ndtype = "float16"',
            14,
            "model v1.5: components.unet.dtype (line 33): only the vae may have another than the model",
        ),
        ('"word.safetensors"', "3", 14, "model v1.5: textual_inversions.<a=b> (line 36): should be a valid string"),
        ("[models.first]", "[models.first]\nx1 = 1\nx2 = 2\nx3 = 3\nx4 = 4", 2, "x3 (line 5): unknown key; and 1 more"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(right: str, wrong: str, line: int, reason: str) -> None:
    said = refusal(TEXT.replace(right, wrong, 1))
    assert said.startswith(f"model catalogue {FILE}, line {line}: model ")
    assert reason in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[models.mine", "model catalogue /srv/models.toml: "),
        ("", "model catalogue /srv/models.toml: it has no model"),
        ("models = 3", "model catalogue /srv/models.toml, line 1: models is no table"),
        ("\n[models]\nmine = 3", "line 3: model mine is no table; write its lines below [models.mine]"),
        ("\n[model.mine]\nsource = 'x'", "line 2: unknown key 'model'; entries are tables like [models.mine]"),
        ('\nsource = "x"\n[models.mine]', "line 2: unknown key 'source'; entries are tables like"),
        (f"{TEXT}\n[models.first]\n", "Cannot declare ('models', 'first') twice (at line 38, column 14)"),
    ],
)
def test_file_of_another_form_is_refused_by_its_line(text: str, reason: str) -> None:
    assert reason in refusal(text)


def test_nearest_line_is_that_of_the_table_around_a_key() -> None:
    lines = Lines(TEXT)
    assert lines.of(["models", "first", "limits", "max_n"]) == 12
    assert lines.of(["models", "first", "nothing"]) == 2
    assert lines.of(["models", "v1.5", "components", "vae", "dtype"]) == 32
    assert lines.of(["nothing"]) is None


def test_model_of_a_file_is_called_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    catalogue = Catalogue.read(tmp_path / "mine.toml")
    assert catalogue.called(catalogue.models["v1.5"]) == "model v1.5 (line 14 of mine.toml)"
    alone = Catalogue([catalogue.models["first"]], tmp_path)
    assert alone.called(alone.models["first"]) == "model first"
