"""The base of families of flow-matching transformers: what differs between models is a method of theirs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Protocol

import torch
from diffusers.utils.torch_utils import randn_tensor

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.errors import ErrorCode, InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import OnStep
from workers.engine.errors import GenerationFailed
from workers.families.autoencoder import Autoencoder, check_finite
from workers.families.embeddings import Embedding, EmbeddingCache
from workers.families.family import PictureFamily
from workers.families.flow.rows import FlowRow, forward_rows
from workers.families.flow.run import FlowConditioning, FlowRun
from workers.families.flow.schedules import FlowSchedulers, calculate_shift
from workers.families.flow.texts import by_length
from workers.families.size_class import size_class
from workers.runners.edit_work import Edit, Work, spec_of
from workers.runners.postprocess import Pixels


class Decoder(Protocol):
    """
    From latents to pictures.

    Attributes:
        channels: Of latents.
    """

    @property
    def channels(self) -> int: ...

    def decode(self, latents: torch.Tensor) -> list[Pixels]:
        """The pictures of latents, (n, C, h, w). Raises `GenerationFailed` where a value is not finite."""


class FlowFamily(PictureFamily[FlowRun]):
    """
    Adapts a pipeline of a flow-matching transformer; its own `__call__` is not used, its parts are.

    Jobs share a pass whatever their steps, schedules, guidance, seeds and prompts are; of what else, `_alike` says.

    Attributes:
        pipeline: On its device.
        cache: Of what texts were encoded to.
        max_tokens: Of a text; what is longer is cut.
    """

    # Tokens that diffusers' pipeline takes of a prompt by itself.
    _own_max_tokens: ClassVar[int] = 512
    # What stands in for a negative prompt where there is none.
    _empty_negative: ClassVar[str] = ""
    # See `FlowSchedulers`.
    _keeps_flow_sigmas: ClassVar[bool] = False

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        super().__init__(entry)
        self.pipeline = pipeline
        self.cache = cache
        self.max_tokens = entry.max_sequence_length or self._own_max_tokens
        self._transformer = pipeline.transformer
        self._device = self._transformer.device
        self._dtype = self._transformer.dtype
        self._schedulers = FlowSchedulers(pipeline.scheduler, keeps_flow_sigmas=self._keeps_flow_sigmas)
        self._autoencoder = self._open_autoencoder()
        self._text_device = self._place_text_encoders()
        self._check_guidance()
        self._try_schedulers()

    # What a model has of its own.

    @abstractmethod
    def _tokens(self, text: str) -> int:
        """How many a text has, with what the model puts around it."""

    @abstractmethod
    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        """
        Encode texts together, where the text encoder is.

        Args:
            length: Tokens that all are filled up to; for models that fill all texts up to one length, that is
                `max_tokens`.

        Returns:
            For each text, tensors without a batch: the first, (T, D), of its tokens.
        """

    @abstractmethod
    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        """What the model predicts for each row: velocities, as schedulers take them, of the sample's shape."""

    @property
    @abstractmethod
    def _how_guided(self) -> Guidance:
        """What guidance is of this very model."""

    def _alike(self, spec: GenerateSpec) -> Hashable:
        """What jobs of one pass have in common beside the model: their size."""
        return (spec.width, spec.height)

    def _fixed_length(self) -> int | None:
        """To which the model has all texts filled up; None where they keep their own."""
        return None

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

    def _sigmas(self, steps: int) -> list[float] | None:
        """Noise levels before the shift; None for the scheduler's own."""
        return [float(sigma) for sigma in torch.linspace(1.0, 1 / steps, steps, dtype=torch.float64)]

    def _mu(self, spec: GenerateSpec) -> float:
        """The logarithm of the shift for a picture of this size, of models whose shift depends on it."""
        factor = self.side_multiple
        return calculate_shift((spec.height // factor) * (spec.width // factor), self.pipeline.scheduler)

    @property
    def _latents_dtype(self) -> torch.dtype:
        return self._dtype

    def _open_autoencoder(self) -> Decoder:
        self.pipeline.vae.to(memory_format=torch.channels_last)
        return Autoencoder(self.pipeline.vae, is_xl=False)

    # What all have in common.

    @property
    def side_multiple(self) -> int:
        """Latents are cut into patches of two by two."""
        return 2 * int(self.pipeline.vae_scale_factor)

    @property
    def ways_to_edit(self) -> dict[Any, Any]:
        """It does not, yet."""
        return {}

    @torch.inference_mode()
    def encode(self, works: Sequence[Work]) -> list[FlowConditioning]:
        """Texts of about one length together; what a text is longer than `max_tokens` is cut, with a warning."""
        specs = [spec_of(work) for work in works]
        texts = {id(spec): self._texts(spec) for spec in specs}
        together = [(text, False) for spec in specs if not spec.reproducible for text in texts[id(spec)]]
        found = dict(zip(together, self.cache.get_many(together, self._encode_keys), strict=True))
        for key in [(text, True) for spec in specs if spec.reproducible for text in texts[id(spec)]]:
            found[key] = self.cache.get_many([key], self._encode_keys)[0]  # Alone: the same in any company.
        return [self._condition(spec, [found[text, spec.reproducible] for text in texts[id(spec)]]) for spec in specs]

    @torch.inference_mode()
    def begin(self, work: Work, conditioning: FlowConditioning) -> FlowRun:
        """
        Draw the noise of each image.

        Raises:
            GenerationFailed: `invalid_request`, for an edit.
        """
        if isinstance(work, Edit):
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"image: {self.entry.name} edits no pictures")
        self._take_over(conditioning)
        shape = self._latent_shape(work)
        return FlowRun(
            work,
            self._schedule(work),
            conditioning,
            draw=lambda generators: self._pack(
                randn_tensor((work.n, *shape), generator=generators, device=self._device, dtype=self._latents_dtype)
            ),
            guide=self._guide,
            share_key=(self._key, self._alike(work)),
            cost_key=(self._key, size_class(*shape[-2:])),
        )

    @torch.inference_mode()
    def predict(self, batch: Sequence[FlowRun], max_rows: int, _on_step: OnStep) -> list[list[torch.Tensor]]:
        """One step's prediction for each job, one for each of its rows."""
        together = [each for each in batch if not each.spec.reproducible]
        groups = [together] if together else []
        # A reproducible job's rows have forwards of their own: what else is in one decides how a library sums.
        groups += [[each] for each in batch if each.spec.reproducible]
        made: dict[int, list[torch.Tensor]] = {}
        for group in groups:
            rows = [row for each in group for row in each.inputs()]
            most = self.entry.reproducible_rows if group[0].spec.reproducible else max_rows
            predicted = iter(forward_rows(rows, self._forward, most))
            made |= {id(each): [next(predicted) for _ in range(each.rows)] for each in group}
        return [made[id(each)] for each in batch]

    @torch.inference_mode()
    def decode(self, run: FlowRun, max_images: int) -> list[Pixels]:
        """Image by image where the job is to be reproducible."""
        latents = self._unpack(run.latents, run.spec)
        check_finite(latents)
        parts = latents.split(1 if run.spec.reproducible else max_images)
        return [pixels for part in parts for pixels in self._autoencoder.decode(part)]

    def trial(self, run: FlowRun) -> FlowRun:
        """One image of it; a step costs the same at any timestep."""
        return run.one_image()

    @property
    def _key(self) -> str:
        return f"{self.entry.name}@{self.entry.revision} {self.entry.dtype}"

    def _latent_shape(self, spec: GenerateSpec) -> tuple[int, int, int]:
        factor = int(self.pipeline.vae_scale_factor)
        return (self._autoencoder.channels, spec.height // factor, spec.width // factor)

    def _schedule(self, spec: GenerateSpec) -> Any:
        steps = spec.num_inference_steps
        return self._schedulers.take(
            spec.scheduler, steps, sigmas=self._sigmas(steps), mu=self._mu(spec), shift=spec.shift
        )

    def _texts(self, spec: GenerateSpec) -> list[str]:
        texts = [spec.prompt]
        if self.entry.is_guided(spec.guidance_scale):
            texts.append(spec.negative_prompt or self._empty_negative)
        return texts

    def _encode_keys(self, keys: list[Any]) -> list[Embedding]:
        texts = list(dict.fromkeys(text for text, _alone in keys))
        fixed = self._fixed_length()
        groups = {fixed: texts} if fixed else by_length(texts, lambda text: min(self._tokens(text), self.max_tokens))
        made: dict[str, Embedding] = {}
        for length, group in groups.items():
            made |= zip(group, self._encode_texts(group, min(length, self.max_tokens)), strict=True)
        return [tuple(tensor.to(self._device) for tensor in made[text]) for text, _alone in keys]

    def _condition(self, spec: GenerateSpec, embeddings: list[Embedding]) -> FlowConditioning:
        named = {"prompt": spec.prompt, "negative_prompt": spec.negative_prompt if len(embeddings) > 1 else ""}
        cut = [name for name, text in named.items() if text and self._tokens(text) > self.max_tokens]
        warnings = tuple(f"{name}: cut to {self.max_tokens} tokens, which {self.entry.name} takes" for name in cut)
        negative = embeddings[1] if len(embeddings) > 1 else None
        return FlowConditioning(prompt=embeddings[0], negative=negative, warnings=warnings)

    def _place_text_encoders(self) -> torch.device:
        """Move them where the entry wants them. Returns where that is."""
        encoders = [part for name, part in self.pipeline.components.items() if name.startswith("text_encoder") and part]
        if self.entry.text_device == "cpu":
            for each in encoders:
                each.to("cpu")
        device: torch.device = encoders[0].device
        return device

    def _check_guidance(self) -> None:
        entry = self.entry
        if entry.how_guided != self._how_guided:
            raise InvalidConfiguration(
                f'model {entry.name}: set guidance = "{self._how_guided}" of [models.{entry.name}] in models.toml: '
                f'its weights are of such a model, and not of one with guidance "{entry.how_guided}"'
            )

    def _take_over(self, conditioning: FlowConditioning) -> None:
        """Inform the allocator that the denoiser's stream uses what the encoder's stream made."""
        if self._device.type == "cuda":
            stream = torch.cuda.current_stream(self._device)
            for tensor in conditioning.tensors():
                tensor.record_stream(stream)

    @torch.inference_mode()
    def _try_schedulers(self) -> None:
        """
        Run each schedule that the entry offers over random latents, without the model.

        Raises:
            InvalidConfiguration: One of them cannot run; a job would find that after it has waited.
        """
        entry = self.entry
        fields = entry.defaults.model_dump() | {"model": entry.name, "prompt": "a picture", "seed": 0}
        for name in entry.schedulers:
            try:
                spec = GenerateSpec.model_validate(fields | {"scheduler": name})
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
