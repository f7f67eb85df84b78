"""What a request for an edit settles to, and what is refused by the name of its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.catalogue.entry import Defaults, Limits, Model
from jobs.errors import InvalidRequest
from jobs.kinds.edit import EDIT, EditSpec
from jobs.kinds.inputs import Input
from jobs.kinds.registry import parse_request

MODEL = Model(
    name="m",
    source="here",
    revision="1",
    dtype="float32",
    family="stable-diffusion",
    defaults=Defaults(width=128, height=128, num_inference_steps=20, guidance_scale=3.0, scheduler="ddim"),
    limits=Limits(min_side=64, max_side=256, max_steps=100, max_n=4),
    schedulers=("ddim",),
)


def picture(width: int, height: int, letter: str = "a") -> Input:
    return Input(file=f"file-{letter * 24}", bytes=3, width=width, height=height)


def settled(**fields: Any) -> EditSpec:
    request: Any = parse_request({"kind": "edit", "prompt": "a red circle", "image": picture(128, 128), **fields})
    return EDIT.settle(request, MODEL)


def refusal(**fields: Any) -> str:
    with pytest.raises(InvalidRequest) as raised:
        settled(**fields)
    return str(raised.value)


def test_what_is_not_given() -> None:
    spec = settled()
    assert (spec.width, spec.height, spec.strength, spec.passes) == (128, 128, 0.8, 16)
    assert settled(mask=picture(128, 128)).strength == 1.0
    assert spec.num_inference_steps == 20


@pytest.mark.parametrize(
    ("size", "result"),
    [((100, 90), (100, 90)), ((251, 97), (251, 97)), ((1024, 512), (256, 128)), ((20, 10), (20, 10))],
)
def test_result_has_the_size_of_the_picture_or_what_the_model_takes(size: Any, result: Any) -> None:
    spec = settled(image=picture(*size))
    assert (spec.width, spec.height) == result


def test_with_a_mask_the_result_always_has_the_size_of_the_picture() -> None:
    spec = settled(image=picture(2000, 1000), mask=picture(500, 250, "b"))
    assert (spec.width, spec.height) == (2000, 1000)


def test_size_can_be_asked() -> None:
    spec = settled(image=picture(2000, 1000), width=200, height=100)
    assert (spec.width, spec.height) == (200, 100)
    assert refusal(width=200) == "height: give it together with width, or neither: then the picture keeps its size"
    assert refusal(width=200, height=300) == "height: m makes at most 256 pixels, not 300"


def test_what_would_have_no_effect_is_refused() -> None:
    assert refusal(padding_mask_crop=4) == "padding_mask_crop: there is no mask; leave it out"
    assert refusal(strength=0.01) == "strength: 0.01 of 20 steps is less than one step"
    assert refusal(strength=0) == "strength: should be greater than 0"
    assert refusal(strength=1.5) == "strength: should be less than or equal to 1"


def test_mask_has_the_shape_of_the_picture() -> None:
    sizes = "50×100 pixels, and the picture 128×128"
    assert refusal(mask=picture(50, 100)) == f"mask: has another shape than the picture: {sizes}"
    assert settled(image=picture(99, 67), mask=picture(33, 22)).mask == picture(33, 22)


def test_pictures_that_were_not_looked_for_are_refused() -> None:
    assert refusal(image="file-" + "a" * 24) == "image: pictures cannot be sent this way"


def test_limits_are_those_of_generations() -> None:
    assert refusal(n=5).startswith("n: m makes at most 4")
    assert refusal(scheduler="euler").startswith("scheduler: m has no")
    assert refusal(image=picture(9_000, 5_000), mask=picture(9_000, 5_000)).startswith("image: 9000×5000 is more than")


def test_cost_is_of_the_passes_that_run_and_of_what_the_model_works_on() -> None:
    assert EDIT.cost(settled(strength=0.5), MODEL) == 0.5
    assert EDIT.cost(settled(strength=1, n=2), MODEL) == 2.0
    huge = settled(image=picture(2000, 1000), mask=picture(2000, 1000), strength=1)
    assert EDIT.cost(huge, MODEL) == 1.0


def test_stored_specification_is_read_again_as_it_was() -> None:
    spec = settled(mask=picture(128, 128, "b"), strength=0.3, n=2)
    stored = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert EDIT.spec_to_run(stored) == spec
    assert EDIT.inputs(spec) == {"image": picture(128, 128), "mask": picture(128, 128, "b")}


def test_edits_share_passes_whatever_their_pictures() -> None:
    one, other = settled(seed=1), settled(image=picture(128, 128, "c"), strength=0.4, seed=2)
    assert one.share() == other.share()
    assert one.share() != settled(guidance_scale=2.0).share()


def test_two_requests_of_one_key_differ_by_their_pictures() -> None:
    one = parse_request({"kind": "edit", "prompt": "x", "image": picture(8, 8)})
    other = parse_request({"kind": "edit", "prompt": "x", "image": picture(8, 8, "b")})
    assert one.digest() != other.digest()


@pytest.mark.parametrize(
    ("edits", "fields", "says"),
    [
        (
            {"image": "instruction"},
            {"strength": 0.5},
            "strength: m edits by instruction, without a strength; leave it out",
        ),
        ({"image": "instruction"}, {"mask": picture(128, 128)}, "mask: m does not repaint a masked part of a picture"),
        ({"mask": "strength"}, {}, "image: m edits no pictures"),
        ({}, {}, "image: m edits no pictures"),
    ],
)
def test_what_a_model_does_not_do_is_refused(edits: Any, fields: dict[str, Any], says: str) -> None:
    request: Any = parse_request({"kind": "edit", "prompt": "x", "image": picture(128, 128), **fields})
    with pytest.raises(InvalidRequest) as raised:
        EDIT.settle(request, MODEL.model_copy(update={"edits": edits}))
    assert str(raised.value) == says


def test_by_instruction_all_steps_run() -> None:
    request: Any = parse_request({"kind": "edit", "prompt": "x", "image": picture(128, 128)})
    assert EDIT.settle(request, MODEL.model_copy(update={"edits": {"image": "instruction"}})).strength == 1.0
    unknown = MODEL.model_copy(update={"family": "diffusers"})
    assert unknown.ways_to_edit is None
    assert EDIT.settle(request, unknown).strength == 0.8


def test_same_bytes_in_another_file_are_the_same_request() -> None:
    def digest(letter: str, sha256: str) -> str:
        image = picture(128, 128, letter).model_copy(update={"sha256": sha256 * 64})
        return parse_request({"kind": "edit", "prompt": "a red circle", "image": image}).digest()

    assert digest("a", "0") == digest("b", "0")
    assert digest("a", "0") != digest("a", "1")


# Further pictures.

SEVERAL = MODEL.model_copy(
    update={"family": "diffusers", "limits": MODEL.limits.model_copy(update={"max_references": 3})}
)


def with_references(*references: Input, model: Model = SEVERAL, **fields: Any) -> EditSpec:
    sent = {"kind": "edit", "prompt": "x", "image": picture(128, 128), "references": list(references), **fields}
    request: Any = parse_request(sent)
    return EDIT.settle(request, model)


def test_further_pictures_are_inputs_in_their_order() -> None:
    spec = with_references(picture(64, 900, "b"), picture(50, 50, "c"))
    assert EDIT.inputs(spec) == {
        "image": picture(128, 128),
        "references.0": picture(64, 900, "b"),
        "references.1": picture(50, 50, "c"),
    }
    stored = json.loads(json.dumps(spec.model_dump(mode="json", exclude_defaults=True)))
    assert EDIT.spec_to_run(stored) == spec
    assert (spec.width, spec.height) == (128, 128)
    assert with_references().references is None


@pytest.mark.parametrize(
    ("model", "count", "fields", "says"),
    [
        (SEVERAL, 4, {}, "references: the model m takes at most 4 pictures for an edit; 5 were sent"),
        (MODEL, 1, {}, "references: the model m edits one picture at a time; 2 were sent"),
        (SEVERAL, 1, {"mask": picture(128, 128)}, "references: an edit with a mask takes no further pictures; leave"),
        (SEVERAL, 16, {}, "references: List should have at most 15 items"),
        (SEVERAL, 3, {"image": "file-" + "a" * 24}, "image: pictures cannot be sent this way"),
    ],
)
def test_further_pictures_that_are_not_looked_at_are_refused(
    model: Model, count: int, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        with_references(*[picture(32, 32)] * count, model=model, **fields)
    assert str(raised.value).startswith(says)


def test_further_pictures_are_bounded_together() -> None:
    assert with_references(*[picture(8_000, 6_000)] * 2).references
    with pytest.raises(InvalidRequest, match="references: have 144,000,000 pixels; together they may have 100,000,000"):
        with_references(*[picture(8_000, 6_000)] * 3)


def test_how_many_further_pictures_a_model_takes_may_be_known_by_the_worker_alone() -> None:
    unknown = MODEL.model_copy(update={"family": "diffusers"})
    assert with_references(*[picture(32, 32)] * 15, model=unknown).references


def test_further_picture_that_was_not_looked_for_is_refused_by_its_place() -> None:
    sent = {"kind": "edit", "prompt": "x", "image": picture(8, 8), "references": [picture(8, 8), "file-" + "b" * 24]}
    request: Any = parse_request(sent)
    with pytest.raises(InvalidRequest, match=r"^references\.1: pictures cannot be sent this way"):
        EDIT.settle(request, SEVERAL)
    with pytest.raises(InvalidRequest, match=r"^references\.1"):
        parse_request({**sent, "references": [picture(8, 8), {"file": "a"}]})


def test_digest_is_of_the_bytes_and_order_of_further_pictures() -> None:
    def digest(*pictures: tuple[str, str]) -> str:
        found = [picture(8, 8, letter).model_copy(update={"sha256": sha256 * 64}) for letter, sha256 in pictures]
        return parse_request({"kind": "edit", "prompt": "x", "image": found[0], "references": found[1:]}).digest()

    assert digest(("a", "0"), ("b", "1"), ("c", "2")) == digest(("d", "0"), ("e", "1"), ("f", "2"))
    assert digest(("a", "0"), ("b", "1"), ("c", "2")) != digest(("a", "0"), ("c", "2"), ("b", "1"))
    assert digest(("a", "0")) != digest(("a", "0"), ("b", "1"))


def test_cost_is_of_further_pictures_too() -> None:
    one = EDIT.cost(with_references(strength=1), SEVERAL)
    assert EDIT.cost(with_references(picture(64, 128)), SEVERAL) == 1.5 * one
    assert EDIT.cost(with_references(picture(2000, 3000), picture(128, 128)), SEVERAL) == 3 * one


FLUX2 = MODEL.model_copy(update={"family": "flux2"})


def test_picture_that_is_looked_at_costs_as_much_as_the_one_that_is_made() -> None:
    by_strength = EDIT.cost(with_references(model=MODEL, strength=1), MODEL)
    assert EDIT.cost(with_references(model=FLUX2), FLUX2) == 2 * by_strength
    assert EDIT.cost(with_references(picture(128, 64), model=FLUX2), FLUX2) == 2.5 * by_strength


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (
            (picture(128, 128), picture(40, 64)),
            "references.1: m looks at pictures with sides of 64 pixels and more, not",
        ),
        (
            (picture(900, 100),),
            "references.0: m looks at pictures up to 8 times as long as wide, not at 900×100 pixels",
        ),
    ],
)
def test_picture_that_the_family_does_not_look_at_is_refused_by_its_place(sent: tuple[Input, ...], says: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        with_references(*sent, model=FLUX2)
    assert str(raised.value).startswith(says)
    assert with_references(*sent, model=SEVERAL)  # Of another family nothing is known.
    assert with_references(picture(64, 512), model=FLUX2)


def test_edited_picture_is_looked_at_as_it_is_laid_out() -> None:
    low = FLUX2.model_copy(update={"limits": MODEL.limits.model_copy(update={"min_side": 16, "side_multiple": 16})})
    assert with_references(model=FLUX2, image=picture(100, 20))  # The model makes no side below 64.
    with pytest.raises(InvalidRequest, match=r"^image: m looks at pictures with sides of 64 pixels and more"):
        with_references(model=low, image=picture(100, 20))


def test_model_that_looks_at_further_pictures_has_no_strength() -> None:
    assert SEVERAL.ways_to_edit is None
    assert with_references(picture(64, 64)).strength == 1.0
    assert with_references(picture(64, 64), strength=0.5).strength == 0.5  # Which its worker refuses.
