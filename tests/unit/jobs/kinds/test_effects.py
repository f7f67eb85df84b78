"""No field is taken that a model would not heed: it is refused at submission, by its name."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Defaults, Limits, Model
from jobs.catalogue.families import FAMILIES as ALL
from jobs.errors import InvalidRequest, NoEffect
from jobs.fields import MAX_PROMPT_CHARS, parse
from jobs.kinds.edit import EDIT, EditRequest, passes_of
from jobs.kinds.effects import effects
from jobs.kinds.generate import GENERATE, GenerateRequest, GenerateSpec
from jobs.kinds.inputs import Input
from jobs.kinds.registry import parse_request, settle

FAMILIES = {name: traits for name, traits in ALL.items() if not traits.only_edits}
TRUE = [name for name, traits in FAMILIES.items() if traits.guidance == "true"]
EMBEDDED = [name for name, traits in FAMILIES.items() if traits.guidance == "embedded"]
NEGATED = [name for name, traits in FAMILIES.items() if traits.negative_prompt]
SHIFTED = [name for name, traits in FAMILIES.items() if traits.shift]
LONG = [name for name, traits in FAMILIES.items() if traits.max_prompt_chars > 4_000]


def model(family: str, guidance_scale: float = 3.0, **said: Any) -> Model:
    """An entry that says no more than it has to."""
    return Model(
        name="m",
        source="here",
        revision="1",
        dtype="float32",
        family=family,
        defaults=Defaults(
            width=128, height=128, num_inference_steps=20, guidance_scale=guidance_scale, scheduler="euler"
        ),
        limits=Limits(min_side=64, max_side=256, max_steps=100, max_n=4),
        schedulers=("euler",),
        **said,
    )


def settled(entry: Model, **fields: Any) -> GenerateSpec:
    return GENERATE.settle(parse(GenerateRequest, {"prompt": "a red circle", **fields}), entry)


def refusal(entry: Model, **fields: Any) -> str:
    with pytest.raises(NoEffect) as refused:
        settled(entry, **fields)
    assert str(refused.value).startswith(f"{refused.value.field}: ")
    return str(refused.value)


@pytest.mark.parametrize("family", [*TRUE, *EMBEDDED])
def test_guidance_is_taken_where_there_is_one(family: str) -> None:
    assert settled(model(family), guidance_scale=7.0).guidance_scale == 7.0


@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_is_refused_where_there_is_none(family: str) -> None:
    entry = model(family, guidance="none")
    assert refusal(entry, guidance_scale=7.0) == "guidance_scale: m has no guidance; leave it out"
    assert settled(entry, guidance_scale=3).guidance_scale == 3.0  # As if it were left out.


@pytest.mark.parametrize("family", NEGATED)
def test_negative_prompt_is_taken_where_guidance_is_on(family: str) -> None:
    assert settled(model(family), negative_prompt="blue").negative_prompt == "blue"
    above = FAMILIES[family].guided_above
    assert settled(model(family), negative_prompt="blue", guidance_scale=above + 0.1)
    assert settled(model(family), guidance_scale=above)  # Without one it may be off.
    off = f"has no effect with guidance_scale {above:g}; leave it out, or set guidance_scale above {above:g}"
    assert refusal(model(family), negative_prompt="blue", guidance_scale=above) == f"negative_prompt: {off}"
    assert refusal(model(family, guidance_scale=above), negative_prompt="blue") == f"negative_prompt: {off}"


@pytest.mark.parametrize(
    "entry",
    [
        *(model(family) for family in FAMILIES if family not in NEGATED),
        *(model(family, guidance=guidance) for family in NEGATED for guidance in ("embedded", "none")),
        model("stable-diffusion", negative_prompt=False),
        model("diffusers", negative_prompt=False),
        model("diffusers", guidance="embedded"),
    ],
    ids=lambda entry: f"{entry.family} {entry.guidance} {entry.negative_prompt}",
)
def test_negative_prompt_is_refused_where_none_is_taken(entry: Model) -> None:
    assert refusal(entry, negative_prompt="blue") == "negative_prompt: m takes none; leave it out"


def test_what_only_a_worker_knows_is_left_to_it() -> None:
    asked = settled(model("diffusers"), negative_prompt="blue", guidance_scale=0.5)
    assert (asked.negative_prompt, asked.guidance_scale) == ("blue", 0.5)
    assert settled(model("diffusers", guidance="true", negative_prompt=True), negative_prompt="blue")
    off = refusal(model("diffusers", guidance="true", negative_prompt=True), negative_prompt="blue", guidance_scale=1)
    assert off.startswith("negative_prompt: has no effect with guidance_scale 1;")


@pytest.mark.parametrize("family", [*FAMILIES, "diffusers"])
def test_shift_is_for_models_whose_schedule_has_one(family: str) -> None:
    if family in SHIFTED:
        assert settled(model(family), shift=2.0).shift == 2.0
    else:
        assert refusal(model(family), shift=2.0) == "shift: m has no schedule with a shift; leave it out"


@pytest.mark.parametrize("family", FAMILIES)
def test_sides_are_multiples_of_the_entrys_and_of_the_familys(family: str) -> None:
    multiple = max(8, FAMILIES[family].side_multiple)
    assert settled(model(family), width=128 + multiple, height=128 - multiple)
    with pytest.raises(InvalidRequest, match=rf"^height: .* multiples of {multiple}, not 132$"):
        settled(model(family), height=132)
    if multiple == 16:
        with pytest.raises(InvalidRequest, match=r"^width: .* multiples of 16, not 136$"):
            settled(model(family), width=136)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("family", [*FAMILIES, "diffusers"])
def test_prompt_may_be_as_long_as_what_reads_it_takes(family: str, field: str) -> None:
    most = MAX_PROMPT_CHARS if family in LONG else 4_000
    if field == "prompt" or family in NEGATED:
        assert settled(model(family), **{field: "é" * most})
    with pytest.raises(InvalidRequest, match=rf"^{field}: .*at most {most} characters"):
        settled(model(family), **{field: "é" * (most + 1)})


def test_edits_are_held_to_the_same() -> None:
    image = Input(file=f"file-{'a' * 24}", bytes=3, width=128, height=128)
    asked = {"prompt": "a red circle", "image": image, "negative_prompt": "blue"}
    assert EDIT.settle(parse(EditRequest, asked), model("stable-diffusion"))
    with pytest.raises(NoEffect, match=r"^negative_prompt: has no effect with guidance_scale 1;"):
        EDIT.settle(parse(EditRequest, {**asked, "guidance_scale": 1}), model("stable-diffusion"))
    instructed = model("stable-diffusion", edits={"image": "instruction"})
    with pytest.raises(NoEffect, match=r"^strength: "):
        EDIT.settle(parse(EditRequest, {**asked, "strength": 0.5}), instructed)


@pytest.mark.parametrize("family", ALL.keys() - FAMILIES.keys())
def test_model_that_only_edits_makes_no_picture_of_a_text_alone(family: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^model: m only edits pictures; send one as image, with the kind edit"):
        settled(model(family))


@pytest.mark.parametrize("family", [name for name, traits in ALL.items() if traits.shift and model(name).ways_to_edit])
def test_edits_are_as_their_family_edits(family: str) -> None:
    image = Input(file=f"file-{'a' * 24}", bytes=3, width=128, height=128)
    asked = {"prompt": "a red circle", "image": image}
    is_instructed = family.startswith("flux2") or "kontext" in family or "edit" in family
    assert EDIT.settle(parse(EditRequest, asked), model(family)).strength == (1.0 if is_instructed else 0.8)
    assert EDIT.settle(parse(EditRequest, {**asked, "shift": 2.0}), model(family, text_device="cpu")).shift == 2.0


def test_calls_of_a_pipeline_edit_nothing_where_its_text_encoder_is_elsewhere() -> None:
    image = Input(file=f"file-{'a' * 24}", bytes=3, width=128, height=128)
    asked = {"prompt": "a red circle", "image": image}
    assert EDIT.settle(parse(EditRequest, asked), model("sana-sprint"))
    with pytest.raises(InvalidRequest, match=r"^image: m edits no pictures"):
        EDIT.settle(parse(EditRequest, asked), model("sana-sprint", text_device="cpu"))


@pytest.mark.parametrize("family", TRUE)
def test_value_that_only_turns_guidance_off_is_noted(family: str) -> None:
    entry, above = model(family), FAMILIES[family].guided_above
    for scale in (0, 1, above, above + 0.1):  # What people write to turn it off, and what turns it on.
        assert effects(settled(entry, guidance_scale=scale), entry) == ()
    noted = effects(settled(entry, guidance_scale=0.5), entry)
    says = ("guidance_scale: 0.5 turns guidance off, as every value up to 1 does",)
    assert noted == (says if above == 1 else ())


@pytest.mark.parametrize("family", EMBEDDED)
def test_every_value_of_embedded_guidance_is_another(family: str) -> None:
    assert effects(settled(model(family), guidance_scale=0.5), model(family)) == ()


@pytest.mark.parametrize("family", [*FAMILIES, "diffusers"])
def test_steps_of_lcm_are_bounded_where_its_scheduler_bounds_them(family: str) -> None:
    entry = model(family).model_copy(update={"schedulers": ("euler", "lcm")})
    assert settled(entry, num_inference_steps=50, scheduler="lcm").num_inference_steps == 50
    if family in SHIFTED:
        assert settled(entry, num_inference_steps=100, scheduler="lcm").num_inference_steps == 100
    else:
        with pytest.raises(InvalidRequest, match=r"^num_inference_steps: m runs at most 50 steps with lcm"):
            settled(entry, num_inference_steps=51, scheduler="lcm")


@pytest.mark.parametrize(("family", "strength", "passes"), [("stable-diffusion", 0.1, None), ("z-image", 0.1, 1)])
def test_strength_of_flow_matching_models_rounds_down_what_is_left_out(
    family: str, strength: float, passes: int | None
) -> None:
    """So it always runs a step, where others of diffusers' pipelines may run none."""
    image = Input(file=f"file-{'a' * 24}", bytes=3, width=128, height=128)
    asked = {"prompt": "a red circle", "image": image, "strength": strength, "num_inference_steps": 5}
    if passes is None:
        with pytest.raises(InvalidRequest, match=r"^strength: 0.1 of 5 steps is less than one step"):
            EDIT.settle(parse(EditRequest, asked), model(family))
    else:
        assert passes_of(EDIT.settle(parse(EditRequest, asked), model(family)), model(family)) == passes


@pytest.mark.parametrize("family", ["aura-flow", "lumina2", "hunyuan-image", "krea2", "sana", "pixart-sigma"])
def test_families_that_edit_nothing_say_so(family: str) -> None:
    image = Input(file=f"file-{'a' * 24}", bytes=3, width=128, height=128)
    with pytest.raises(InvalidRequest, match=r"^image: m edits no pictures"):
        EDIT.settle(parse(EditRequest, {"prompt": "a red circle", "image": image}), model(family))


@pytest.mark.parametrize(("name", "off"), [("shapes", 1), ("shapes-flow", 0)])
def test_built_in_models_refuse_what_they_would_not_heed(catalogue: Catalogue, name: str, off: int) -> None:
    asked = {"model": name, "prompt": "a ring", "negative_prompt": "blue", "guidance_scale": off}
    with pytest.raises(NoEffect, match=rf"^negative_prompt: has no effect with guidance_scale {off};"):
        settle(parse_request(asked), catalogue)
