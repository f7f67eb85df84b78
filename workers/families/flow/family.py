"""The base of families of flow-matching transformers: what differs between models is a method of theirs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from jobs.catalogue.entry import Edited, Model, WayToEdit
from jobs.catalogue.families import Guidance
from jobs.errors import InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import OnStep
from workers.families.diffusers import WholeEdit, WholePipeline
from workers.families.family import PictureFamily
from workers.families.flow.edits import FlowEditRun
from workers.families.flow.pictures import PictureStage
from workers.families.flow.rows import FlowRow, even_rows, forward_rows
from workers.families.flow.run import FlowConditioning, FlowRun, Guide, LatentSpace
from workers.families.flow.texts import TextStage
from workers.families.parts.autoencoder import Autoencoder, Decoder, check_finite
from workers.families.parts.edit_fields import check_edit
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.flow_schedules import FlowSchedulers, calculate_shift
from workers.families.parts.size_class import size_class
from workers.runners.edit_work import Edit, Work, spec_of
from workers.runners.postprocess import Pixels


class FlowFamily(TextStage, PictureStage, PictureFamily[FlowRun | WholeEdit]):
    """
    Adapts a pipeline of a flow-matching transformer; its own `__call__` is not used, its parts are.

    Jobs share a pass whatever their steps, schedules, guidance, seeds and prompts are; of what else, `_alike` says.
    Edits by strength are among them. What `_stepped` does not name goes through the pipeline's own call or its
    siblings', each alone.

    Attributes:
        pipeline: On its device.
    """

    # See `FlowSchedulers`.
    _keeps_flow_sigmas: ClassVar[bool] = False
    # Whether its pipeline for inpainting with a strength of 1 begins at noise alone, whatever the schedule begins with.
    _inpaints_from_noise: ClassVar[bool] = False

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        PictureFamily.__init__(self, entry)
        TextStage.__init__(self, entry, pipeline, cache)
        self._transformer = pipeline.transformer
        self._dtype = self._transformer.dtype
        self._own_scheduler = pipeline.scheduler  # Calls of its own put others in its place.
        self._whole = self._open_whole()
        self._schedulers = FlowSchedulers(self._own_scheduler, keeps_flow_sigmas=self._keeps_flow_sigmas)
        self._autoencoder = self._open_autoencoder()
        self._check_channels()
        self._try_schedulers()

    # What a model has of its own.

    @abstractmethod
    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        """What the model predicts for each row: velocities, as schedulers take them, of the sample's shape."""

    @property
    @abstractmethod
    def guidance(self) -> Guidance:
        """What guidance is of this very model."""

    def _alike(self, spec: GenerateSpec) -> Hashable:
        """What jobs of one pass have in common beside the model: their size."""
        return (spec.width, spec.height)

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (n, C, h, w) as the model takes them."""
        return latents

    def _unpack(self, latents: torch.Tensor, spec: GenerateSpec) -> torch.Tensor:
        """Latents of a job as the autoencoder takes them, (n, C, h, w)."""
        del spec
        return latents

    def _guide(self, with_prompt: torch.Tensor, without: torch.Tensor, scale: float) -> torch.Tensor:
        """Classifier-free guidance (Ho & Salimans 2022), as diffusers writes it."""
        return without + scale * (with_prompt - without)

    def _guide_of(self, _conditioning: FlowConditioning, _passes: int) -> Guide:
        """The formula of one job, of so many passes; for models whose guidance goes by what came before."""
        return self._guide

    def _sigmas(self, steps: int) -> list[float] | None:
        """Noise levels before the shift; None for the scheduler's own."""
        sigmas: list[float] = np.linspace(1.0, 1 / steps, steps).tolist()  # As diffusers has them, to the last bit.
        return sigmas

    def _mu(self, spec: GenerateSpec) -> float:
        """The logarithm of the shift for a picture of this size, of models whose shift depends on it."""
        factor = self.side_multiple
        return calculate_shift((spec.height // factor) * (spec.width // factor), self._own_scheduler)

    @property
    def _latents_dtype(self) -> torch.dtype:
        return self._dtype

    def _open_autoencoder(self) -> Decoder:
        self.pipeline.vae.to(memory_format=torch.channels_last)
        return Autoencoder(self.pipeline.vae, shows_masked=False)

    def _open_whole(self) -> WholePipeline:
        """What edits."""
        return WholePipeline(self.entry, self.pipeline)

    # What all have in common.

    @property
    def side_multiple(self) -> int:
        """Latents are cut into patches of two by two."""
        return 2 * int(self.pipeline.vae_scale_factor)

    @property
    def ways_to_edit(self) -> dict[Edited, WayToEdit]:
        """Those that are stepped; others of its pipeline, and of that one's siblings, where it can encode itself."""
        by_calls = self._whole.ways_to_edit if self._text_device == self._device else {}
        return {**by_calls, **self._stepped}

    @property
    def most_references(self) -> int:
        """As its pipeline takes them."""
        return self._whole.most_references if self.ways_to_edit else 0

    def encode(self, works: Sequence[Work]) -> list[FlowConditioning | None]:
        """What jobs are conditioned on; calls of the pipeline's own encode for themselves."""
        stepped = [work for work in works if self._is_stepped(work)]
        made = iter(self._condition_works(stepped))
        return [self._with_pictures(work, next(made)) if self._is_stepped(work) else None for work in works]

    def _condition_works(self, works: Sequence[Work]) -> list[FlowConditioning]:
        """What the texts of jobs were encoded to."""
        return self.condition([spec_of(work) for work in works])

    @torch.inference_mode()
    def begin(self, work: Work, conditioning: FlowConditioning | None) -> FlowRun | WholeEdit:
        """
        Draw the noise of each image.

        Raises:
            GenerationFailed: `invalid_request`, for an edit that the model does not do.
        """
        if isinstance(work, Edit):
            check_edit(work, self.entry, self.ways_to_edit, self.most_references)
        if not self._is_stepped(work):
            call = self._whole.begin(work, None)
            assert isinstance(call, WholeEdit), "of an edit"  # noqa: S101
            return call
        assert conditioning is not None, "of what is stepped"  # noqa: S101
        self._take_over(conditioning)
        spec, seen = spec_of(work), conditioning.references
        scheduler = self._schedule(spec)
        tokens = () if seen is None else (size_class(len(seen.tokens), 1),)
        common: dict[str, Any] = {
            "space": self._space(work),
            "guide": self._guide_of(conditioning, len(scheduler.timesteps)),
            "share_key": (self._key, self._alike(spec), () if seen is None else seen.sizes),
            "cost_key": (self._key, size_class(*self._latent_shape(spec)[-2:]), *tokens),
        }
        if isinstance(work, Edit) and conditioning.source is not None:
            at_noise = self._inpaints_from_noise and work.mask is not None and work.spec.strength == 1.0
            return FlowEditRun(work, scheduler, conditioning, begins_at_noise=at_noise, **common)
        return FlowRun(spec, scheduler, conditioning, **common)

    def fixed_rows(self, run: FlowRun | WholeEdit) -> int | None:
        """Of a reproducible job: forwards have no other's rows, and are not padded."""
        if isinstance(run, WholeEdit):
            return self._whole.fixed_rows(run)
        return even_rows(run.rows, self.entry.reproducible_rows) if run.spec.reproducible else None

    @torch.inference_mode()
    def predict(self, batch: Sequence[FlowRun | WholeEdit], max_rows: int, on_step: OnStep) -> list[Any]:
        """One step's prediction for each job, one for each of its rows; of an edit, its pictures."""
        if edits := [each for each in batch if isinstance(each, WholeEdit)]:
            return self._whole.predict(edits, max_rows, on_step)
        runs = [each for each in batch if isinstance(each, FlowRun)]
        return self._predict(runs, max_rows)

    def _predict(self, batch: Sequence[FlowRun], max_rows: int) -> list[list[torch.Tensor]]:
        together = [each for each in batch if not each.spec.reproducible]
        groups = [together] if together else []
        # A reproducible job's rows have forwards of their own: what else is in one decides how a library sums.
        groups += [[each] for each in batch if each.spec.reproducible]
        made: dict[int, list[torch.Tensor]] = {}
        for group in groups:
            rows = [row for each in group for row in each.inputs()]
            most = min(max_rows, self.fixed_rows(group[0]) or max_rows)
            predicted = iter(forward_rows(rows, self._forward, most, self.compiled))
            made |= {id(each): [next(predicted) for _ in range(each.rows)] for each in group}
        return [made[id(each)] for each in batch]

    @torch.inference_mode()
    def decode(self, run: FlowRun | WholeEdit, max_images: int) -> list[Pixels]:
        """Image by image where the job is to be reproducible."""
        if isinstance(run, WholeEdit):
            return self._whole.decode(run, max_images)
        latents = self._unpack(run.latents, run.spec)
        check_finite(latents)
        parts = latents.split(1 if run.spec.reproducible else max_images)
        return run.keep([pixels for part in parts for pixels in self._autoencoder.decode(part)])

    def trial(self, run: FlowRun | WholeEdit) -> Any:
        """One image of it; a step costs the same at any timestep."""
        return self._whole.trial(run) if isinstance(run, WholeEdit) else run.one_image()

    @property
    def _key(self) -> str:
        return f"{self.entry.name}@{self.entry.revision} {self.entry.loaded_as}"

    def _latent_shape(self, spec: GenerateSpec) -> tuple[int, int, int]:
        factor = int(self.pipeline.vae_scale_factor)
        return (self._autoencoder.channels, spec.height // factor, spec.width // factor)

    def _space(self, work: Work) -> LatentSpace:
        # Pipelines for edits draw in the model's own precision.
        drawn = self._dtype if isinstance(work, Edit) else self._latents_dtype
        like = torch.empty(0, device=self._device, dtype=drawn)
        shape = self._latent_shape(spec_of(work))
        return LatentSpace(shape=shape, like=like, dtype=self._latents_dtype, pack=self._pack)

    def _schedule(self, spec: GenerateSpec) -> Any:
        steps = spec.num_inference_steps
        return self._schedulers.take(
            spec.scheduler, steps, sigmas=self._sigmas(steps), mu=self._mu(spec), shift=spec.shift
        )

    def _take_over(self, conditioning: FlowConditioning) -> None:
        """Inform the allocator that the denoiser's stream uses what the encoder's stream made."""
        if self._device.type == "cuda":
            stream = torch.cuda.current_stream(self._device)
            for tensor in conditioning.tensors():
                tensor.record_stream(stream)

    def _usual_spec(self, **fields: Any) -> GenerateSpec:
        """A generation with the entry's defaults."""
        said = {"model": self.entry.name, "prompt": "a picture", "seed": 0}
        return GenerateSpec.model_validate(self.entry.defaults.model_dump() | said | fields)

    def _check_channels(self) -> None:
        """
        Hold the transformer against the latents.

        Raises:
            InvalidConfiguration: It was made to see more than them, as FLUX.1 Fill sees a mask and a masked picture.
        """
        if not self._stepped:
            return
        entry, taken = self.entry, int(self._transformer.config.in_channels)
        packed = self._pack(torch.empty(1, *self._latent_shape(self._usual_spec()), device="meta"))
        own = packed.shape[-1] if packed.dim() == len(("n", "token", "channel")) else packed.shape[1]
        if taken != own:
            raise InvalidConfiguration(
                f"model {entry.name}: its transformer takes {taken} channels, and a picture's latents have {own}: it "
                f'was made for inpainting or control; set family = "diffusers" of [models.{entry.name}] in models.toml'
            )

    @torch.inference_mode()
    def _try_schedulers(self) -> None:
        """
        Run each schedule that the entry offers over random latents, without the model.

        Raises:
            InvalidConfiguration: One of them cannot run; a job would find that after it has waited.
        """
        entry = self.entry
        for name in entry.schedulers:
            try:
                spec = self._usual_spec(scheduler=name)
                scheduler = self._schedule(spec)
                latents = self._pack(torch.randn(1, *self._latent_shape(spec)))
                for timestep in scheduler.timesteps:
                    latents = scheduler.step(torch.randn_like(latents), timestep, latents, return_dict=False)[0]
            except Exception as exc:  # Of any class: whatever a library raises.
                reason = " ".join(str(exc).split()) or type(exc).__name__
                raise InvalidConfiguration(
                    f"model {entry.name}: it cannot run scheduler {name!r} ({reason}): take it out of schedulers of "
                    f"[models.{entry.name}] in models.toml"
                ) from exc
