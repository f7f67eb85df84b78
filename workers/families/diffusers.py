"""Any other diffusers pipeline that makes pictures: a pass is its own `__call__`, for jobs with equal parameters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from jobs.catalogue.entry import Edited, Model, WayToEdit
from jobs.catalogue.families import Guidance
from jobs.errors import ErrorCode, InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import OnStep
from workers.engine.errors import GenerationFailed
from workers.families.family import Family, PictureFamily, PictureRun
from workers.families.parts.pictures import check_number
from workers.families.parts.safety import WITHHELD as WITHHELD_PICTURE
from workers.families.parts.schedulers import check_steps
from workers.families.parts.size_class import size_class
from workers.families.whole.editors import Editors, arguments
from workers.families.whole.own_call import WITHHELD, OwnCall
from workers.runners.edit_work import Edit, Work, edit_of_gray, spec_of
from workers.runners.postprocess import Pixels

_TRIAL_STEPS = 2


class WholeRun(PictureRun):
    """
    A job whose one pass is all of its steps.

    Attributes:
        images: When it is done, (n, height, width, 3), 0 to 1, as `OwnCall` returns them.
        is_guided: Whether its pipeline computes each image without its prompt, too.
    """

    def __init__(self, spec: GenerateSpec, family_key: Hashable, *, is_guided: bool) -> None:
        super().__init__(spec)
        self.is_guided = is_guided
        self.images: Any = None
        sampling = (spec.width, spec.height, spec.num_inference_steps, spec.guidance_scale, spec.scheduler)
        is_negated = bool(spec.negative_prompt)
        self.share_key: Hashable = (family_key, *sampling, is_negated)
        self.cost_key: Hashable = (family_key, size_class(spec.width, spec.height), is_guided, is_negated)

    @property
    def rows(self) -> int:
        return self.spec.n

    @property
    def step(self) -> int:
        return 0 if self.images is None else self.steps

    @property
    def passes_left(self) -> int:
        """Steps, for a pass is timed as `_TRIAL_STEPS` of them; all are run in one pass."""
        return self.steps - self.step

    def advance(self, prediction: Any) -> None:
        self.images = prediction


class WholeEdit(WholeRun):
    """
    An edit, which shares its pass with no other job: each of its images is a call of its own.

    Many pipelines take several pictures for several views of one.
    """

    def __init__(self, edit: Edit, editor: OwnCall, family_key: Hashable) -> None:
        super().__init__(edit.spec, family_key, is_guided=editor.guidance.is_on(edit.spec.guidance_scale))
        self.edit = edit
        self.editor = editor
        self.share_key = object()
        self.cost_key = (self.cost_key, type(editor.pipeline).__name__, len(edit.references))


class WholePipeline(PictureFamily[WholeRun]):
    """Adapts a pipeline that has no family of its own here. Jobs join and leave between its runs."""

    def __init__(self, entry: Model, pipeline: Any) -> None:
        super().__init__(entry)
        self._own = OwnCall(entry, pipeline)
        if entry.max_sequence_length is not None and not self._own.takes("max_sequence_length"):
            raise InvalidConfiguration(
                f"model {entry.name}: {type(pipeline).__name__} takes no max_sequence_length: leave it out of "
                f"[models.{entry.name}] in models.toml"
            )
        self._own.check_call()
        self.editors = Editors(entry, self._own)

    @property
    def ways_to_edit(self) -> dict[Edited, WayToEdit]:
        """Of its pipeline, and of that one's siblings."""
        return self.editors.ways()

    @property
    def most_references(self) -> int:
        return self.editors.most_references

    @property
    def guidance(self) -> Guidance | None:
        """As its pipeline takes it."""
        return self._own.guidance.kind

    @property
    def takes_negative_prompt(self) -> bool:
        """Likewise."""
        return self._own.guidance.takes_negative_prompt

    @property
    def are_sides_tried(self) -> bool:
        """Few pipelines say which sides they make."""
        return True

    def work_to_try(self, spec: GenerateSpec) -> Work:
        """An edit of a gray picture, where the pipeline does nothing else."""
        if not self.editors.only:
            return spec
        return edit_of_gray(spec, is_masked=self.editors.of_whole is None)

    def encode(self, works: Sequence[Work]) -> list[None]:
        """The pipeline does it in its own call."""
        return [None] * len(works)

    def begin(self, work: Work, _conditioning: None) -> WholeRun:
        """
        Check that the pipeline can be asked for this.

        Raises:
            GenerationFailed: `invalid_request`, where it would ignore a field, or does not do it.
        """
        spec, key = spec_of(work), f"{self.entry.name}@{self.entry.revision} {self.entry.loaded_as}"
        editor = self.editors.check(work) if isinstance(work, Edit) else None
        if editor is None and self.editors.only:
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"image: {self.entry.name} only edits pictures")
        (editor or self._own).guidance.check(spec)
        check_steps(spec, self._own.own_scheduler)
        if isinstance(work, Edit) and editor:
            return WholeEdit(work, editor, key)
        return WholeRun(spec, key, is_guided=self._own.guidance.is_on(spec.guidance_scale))

    def fixed_rows(self, run: WholeRun) -> int | None:
        """All images of a reproducible job; one where each is a call of its own."""
        if isinstance(run, WholeEdit) or self._own.is_alone(is_negated=bool(run.spec.negative_prompt)):
            return 1
        return run.rows if run.spec.reproducible else None

    @torch.inference_mode()
    def predict(self, batch: Sequence[WholeRun], max_rows: int, on_step: OnStep) -> list[Any]:
        """Run the pipeline for all images of the batch, at most `max_rows` in a call; a reproducible job alone."""
        if edits := [each for each in batch if isinstance(each, WholeEdit)]:
            return [self._edit(each, on_step) for each in edits]
        if self._own.is_alone(is_negated=bool(batch[0].spec.negative_prompt)):
            max_rows = 1
        jobs = [[(each.spec, index) for index in range(each.spec.n)] for each in batch]
        if not any(each.spec.reproducible for each in batch):
            jobs = [[image for images in jobs for image in images]]
        calls = [images[at : at + max_rows] for images in jobs for at in range(0, len(images), max_rows)]
        steps = batch[0].steps
        told = [_share_of(on_step, number, len(calls), steps) for number in range(len(calls))]
        made = np.concatenate([self._call(call, each) for call, each in zip(calls, told, strict=True)])
        ends = np.cumsum([each.spec.n for each in batch])[:-1]
        return list(np.split(made, ends))

    def decode(self, run: WholeRun, _max_images: int) -> list[Pixels]:
        """Its pictures are there already; they only become bytes."""
        pixels = _levels(run.images)
        return [run.edit.keep(each) for each in pixels] if isinstance(run, WholeEdit) else pixels

    def trial(self, run: WholeRun) -> WholeRun:
        """A run of a few steps; of an edit, for one image."""
        fewer = {"num_inference_steps": min(_TRIAL_STEPS, run.steps)}
        if not isinstance(run, WholeEdit):
            return WholeRun(run.spec.model_copy(update=fewer), None, is_guided=run.is_guided)
        spec = run.edit.spec.model_copy(update={**fewer, "n": 1, "strength": 1.0})
        return WholeEdit(replace(run.edit, spec=spec), run.editor, None)

    def _call(self, images: Sequence[tuple[GenerateSpec, int]], on_step: OnStep) -> Any:
        """Run the pipeline for these images; (len(images), height, width, 3)."""
        spec = images[0][0]
        generators = [_generator(each, index) for each, index in images]
        given = _sampling(spec, self._own) | {
            "prompt": [each.prompt for each, _ in images],
            "generator": generators[0] if self._own.is_alone(is_negated=bool(spec.negative_prompt)) else generators,
        }
        if (negative := _negative(spec, self._own)) is not None:
            given["negative_prompt"] = [each.negative_prompt or negative for each, _ in images]
        made = self._own(given, scheduler=spec.scheduler, steps=spec.num_inference_steps, on_step=on_step)
        check_number(len(made), len(images), self.entry)
        return made

    def _edit(self, run: WholeEdit, on_step: OnStep) -> Any:
        """Run the pipeline once for each image; (n, height, width, 3)."""
        spec, made = run.spec, []
        given = _sampling(spec, run.editor) | arguments(run.edit, run.editor) | {"prompt": spec.prompt}
        if (negative := _negative(spec, run.editor)) is not None:
            given["negative_prompt"] = negative
        for index in range(spec.n):
            given["generator"] = _generator(spec, index)
            told = _share_of(on_step, index, spec.n, run.steps)
            image = _called(run, given, told)
            check_number(len(image), 1, self.entry)
            made.append(image)
        return np.concatenate(made)


def _called(run: WholeEdit, given: dict[str, Any], on_step: OnStep) -> Any:
    """Call its pipeline, which may look at further pictures of some sizes only."""
    try:
        return run.editor(given, scheduler=run.spec.scheduler, steps=run.steps, on_step=on_step)
    except ValueError as exc:
        if not run.edit.references:
            raise
        raise GenerationFailed(ErrorCode.INVALID_INPUT, f"references: {exc}") from exc


def _negative(spec: GenerateSpec, call: OwnCall) -> str | None:
    """The negative prompt of a call; None leaves it out, for not every pipeline takes None for "none"."""
    return spec.negative_prompt or (call.guidance.empty_negative if call.guidance.is_on(spec.guidance_scale) else None)


def _sampling(spec: GenerateSpec, call: OwnCall) -> dict[str, Any]:
    """What the images of a call have in common."""
    return {
        "width": spec.width,
        "height": spec.height,
        "num_inference_steps": spec.num_inference_steps,
        "output_type": "np",
        **call.guidance.arguments(spec.guidance_scale),
    }


def _generator(spec: GenerateSpec, index: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(spec.seed + index)


def _share_of(on_step: OnStep, number: int, calls: int, steps: int) -> OnStep:
    """Takes the steps of one of several calls for their share of all."""
    return lambda step: on_step((number * steps + step) // calls)


def _levels(images: Any) -> list[Pixels]:
    if (images == WITHHELD).any():
        raise GenerationFailed(ErrorCode.INVALID_OUTPUT, WITHHELD_PICTURE)
    if not np.isfinite(images).all():
        raise GenerationFailed(ErrorCode.INVALID_OUTPUT, "the model produced values that are not finite numbers")
    return list((images * 255).round().clip(0, 255).astype(np.uint8))


FAMILY = Family(pipeline=DiffusionPipeline, adapt=lambda entry, pipeline, _cache: WholePipeline(entry, pipeline))
