"""A pipeline that is built once and merged into again and again."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmerge import GeneratorError, MergedModel, Payload, Picture, nearest
from bmerge_plugins.pipelines.build import build_pipeline, config_folder
from bmerge_plugins.pipelines.samplers import make_scheduler
from bmerge_plugins.pipelines.settings import PipelineSettings
from bmerge_plugins.pipelines.weights import live_weights, parts_of
from bmerge_plugins.servers import pictures
from bmerge_plugins.servers.faults import blame_of

__all__ = ["LivePipeline", "PipelineCall"]

_log = logging.getLogger(__name__)

_WEIGHTED = re.compile(r"\([^()]+:\s*\d+(\.\d+)?\)")  # what web UIs take for emphasis

_OURS = {  # arguments that follow from a payload's own fields
    "prompt", "negative_prompt", "generator", "num_inference_steps", "guidance_scale", "width",
    "height", "output_type", "return_dict", "num_images_per_prompt", "timesteps", "sigmas",
    "clip_skip",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PipelineCall:
    """What the pictures of one batch have in common.

    Args:
        sampler: a web UI's name, or None for the pipeline's own.
        schedule: the noise schedule, or None for the sampler's.
        negative: whether there are negative prompts.
        skip: how many layers of the text encoder are left out.
        arguments: of the pipeline's call.
    """

    sampler: str | None
    schedule: str | None
    negative: bool
    skip: int
    arguments: Mapping[str, Any]


class LivePipeline:
    """A pipeline whose weights are merged in place.

    Args:
        settings: of the generator.
        layout: key → shape of the merges that it will get.

    Raises:
        GeneratorError: if it cannot be built.
    """

    def __init__(self, settings: PipelineSettings, layout: Mapping[str, tuple[int, ...]]) -> None:
        parts = parts_of(layout)
        self._settings = settings
        home = "cpu" if settings.offload else settings.device
        self._pipe = build_pipeline(
            config_folder(parts.architecture, settings.config),
            parts.components,
            dtype=settings.dtype,
            device=home,
        )
        self._pipe.set_progress_bar_config(disable=True)
        for file in settings.embeddings:
            with _named(file):
                _add_words(self._pipe, file)
        self._weights = live_weights(self._pipe, parts, layout)
        self._add_loras()
        self._scheduler = {**self._pipe.scheduler.config, **_prediction(settings, layout)}
        self._warned = False
        self._known = set(inspect.signature(self._pipe.__call__).parameters) - _OURS
        if settings.offload:
            self._pipe.enable_model_cpu_offload(device=settings.device)

    def merge(self, model: MergedModel) -> None:
        """Merge into the pipeline's weights."""
        if self._settings.offload:
            self._pipe.maybe_free_model_hooks()
        self._weights.tie()
        model.into(self._weights.state)
        self._weights.finish()

    def call_of(self, payload: Payload) -> PipelineCall:
        """Return what a payload asks of the pipeline.

        Raises:
            GeneratorError: if it can do no such thing.
        """
        extra = dict(payload.extra)
        schedule = extra.pop("scheduler", None)
        skip = self._skipped(extra.pop("clip_skip", None), payload)
        named = {
            "num_inference_steps": payload.steps,
            "guidance_scale": payload.cfg,
            "width": payload.width,
            "height": payload.height,
        }
        for name in extra:
            if name not in self._known:
                message = f"payload {payload.id!r}: the pipeline has no setting {name!r}"
                raise GeneratorError(message, blame="study", hint=nearest(name, self._known))
        make_scheduler(self._scheduler, payload.sampler, schedule)
        self._warn_of_weights(payload)
        arguments = {name: value for name, value in named.items() if value is not None}
        if "num_frames" in self._known:
            arguments["num_frames"] = 1  # of a film, only a picture is judged
        negative = bool(payload.negative_prompt)
        return PipelineCall(payload.sampler, schedule, negative, skip, {**arguments, **extra})

    def pictures(self, payloads: Sequence[Payload], call: PipelineCall) -> Iterator[Picture]:
        """Make one batch.

        Raises:
            GeneratorError: if that fails.
        """
        import torch

        self._pipe.scheduler = make_scheduler(self._scheduler, call.sampler, call.schedule)
        negative = [payload.negative_prompt for payload in payloads] if call.negative else None
        # On the CPU, so that a seed means the same picture on every device.
        seeded = [torch.Generator("cpu").manual_seed(payload.seed) for payload in payloads]
        arguments = {**call.arguments, **({"negative_prompt": negative} if negative else {})}
        try:
            with _shortened(self._pipe.text_encoder, call.skip), warnings.catch_warnings():
                # diffusers' pipeline for SDXL warns of a call that it makes itself.
                warnings.filterwarnings("ignore", ".*upcast_vae", FutureWarning)
                made = self._pipe(
                    prompt=[payload.prompt for payload in payloads],
                    generator=seeded,
                    output_type="np",
                    **arguments,
                )
        except (ValueError, TypeError, RuntimeError) as error:
            what = f"payload {payloads[0].id!r}: {type(error).__name__}: {error}"
            raise GeneratorError(what, blame=blame_of(str(error)) or "study") from error
        for payload, image in zip(payloads, _images(made), strict=True):
            what = f"the picture {payload.id!r}"
            yield Picture(payload, pictures.from_numbers(image, what), self._report(call))

    def close(self) -> None:
        """Give the memory back."""
        import torch

        del self._pipe, self._weights
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _warn_of_weights(self, payload: Payload) -> None:
        for text in (payload.prompt, payload.negative_prompt):
            found = _WEIGHTED.search(text)
            if found and not self._warned:
                _log.warning("diffusers takes %r as plain words, unlike web UIs", found[0])
                self._warned = True

    def _skipped(self, wanted: Any, payload: Payload) -> int:
        """Return how many layers to leave out for a count from the end, 1 being the last layer."""
        if wanted is None:
            return 0
        # SDXL reads the last layer but one, as it was trained to; web UIs let it as well.
        double = hasattr(self._pipe, "text_encoder_2")
        first = 2 if double else 1
        last = 2 if double else self._pipe.text_encoder.config.num_hidden_layers
        if not isinstance(wanted, int) or not first <= wanted <= last:
            message = f"payload {payload.id!r}: clip_skip is {wanted!r}"
            hint = "leave it out for this model" if double else f"it may be 1 to {last}"
            raise GeneratorError(message, blame="study", hint=hint)
        return wanted - first

    def _add_loras(self) -> None:
        names = []
        for number, file in enumerate(self._settings.loras):
            names.append(f"lora{number}")
            with _named(file):
                self._pipe.load_lora_weights(
                    str(file.parent), weight_name=file.name, adapter_name=names[-1]
                )
        if names:
            self._pipe.set_adapters(names, list(self._settings.loras.values()))

    def _report(self, call: PipelineCall) -> dict[str, Any]:
        return {
            "model": "merged in place",
            "pipeline": type(self._pipe).__name__,
            "sampler": type(self._pipe.scheduler).__name__,
            "dtype": str(self._settings.dtype).removeprefix("torch."),
            "device": self._settings.device,
            **call.arguments,
        }


def _images(made: Any) -> Any:
    """Return the pictures that a pipeline made: of a film, its first frame."""
    return made.images if hasattr(made, "images") else [film[0] for film in made.frames]


@contextmanager
def _shortened(text_encoder: Any, skip: int) -> Iterator[None]:
    """Leave out the text encoder's last layers: for both prompts, unlike diffusers' clip_skip."""
    if not skip:
        yield
        return
    stack = getattr(text_encoder, "text_model", text_encoder).encoder
    whole = stack.layers
    stack.layers = whole[: len(whole) - skip]
    try:
        yield
    finally:
        stack.layers = whole


def _prediction(
    settings: PipelineSettings, layout: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return what a checkpoint or the user says of the UNet's output."""
    if settings.prediction:
        return {"prediction_type": settings.prediction}
    if "v_pred" not in layout:
        return {}
    return {"prediction_type": "v_prediction", "rescale_betas_zero_snr": "ztsnr" in layout}


def _add_words(pipe: Any, file: Path) -> None:
    """Teach every text encoder of the pipeline the word that an embedding's file is named for."""
    from safetensors.torch import load_file

    encoders = {"": ("text_encoder", "tokenizer")}
    if file.suffix == ".safetensors":
        state = load_file(file)
        if "clip_g" in state:
            encoders = {
                "clip_l": ("text_encoder", "tokenizer"),
                "clip_g": ("text_encoder_2", "tokenizer_2"),
            }
    for key, (encoder, tokenizer) in encoders.items():
        pipe.load_textual_inversion(
            state[key] if key else str(file),
            token=file.stem,
            text_encoder=getattr(pipe, encoder),
            tokenizer=getattr(pipe, tokenizer),
        )


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Name the file if it cannot be loaded."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise GeneratorError(
            f"{file} cannot be loaded: {type(error).__name__}: {error}", blame="study"
        ) from error
