"""The generator of the embedded demo: a small real diffusion model, held live in this process.

A trial's merge is written straight into the model's parameters, so no checkpoint file is made
in the whole search. Pictures are 64 x 64 and come batch by batch, so that a bad trial can be
stopped after the first ones. The model's tensors are too small to be worth splitting, so each
batch keeps one core busy and several batches run beside each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from itertools import groupby
from threading import Event
from typing import TYPE_CHECKING

from bmerge import GeneratorError, GeneratorKind, MergedModel, Payload, Picture, hookimpl
from bmerge_plugins.demo import words
from bmerge_plugins.needs import PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

_STEPS = 12
_MOST_STEPS = 1000
_CFG = 2.5
_SIDE = 64


class DemoGenerator:
    """Makes pictures with the demo model.

    It understands a payload's prompt, negative prompt, seed, steps (1 to 1000, default 12) and
    cfg (default 2.5). Torch is imported and the model built when it is constructed.

    Args:
        batch: pictures that are denoised together. Pictures depend on it in the last bit of a
            channel at most; on ``threads`` not at all.
        threads: batches that run at once; None takes all cores. Torch itself is set to one
            thread for the whole process until ``close``.
    """

    def __init__(self, *, batch: int = 12, threads: int | None = None) -> None:
        import torch

        from bmerge_plugins.demo.model import DemoModel

        for name, value in (("batch", batch), ("threads", threads)):
            if value is not None and value < 1:
                raise GeneratorError(f"{name} is {value}, must be 1 or more", blame="study")
        self._batch = batch
        self._pool = ThreadPoolExecutor(threads or os.cpu_count(), "bmerge-demo")
        self._torch_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self._model = DemoModel().eval()
        # One mapping for the whole run: a merge recognises it and writes only what changed.
        self._live = self._model.state_dict()

    def check(self, *, paint: bool) -> None:
        """Make a picture with the model as it is; there is nothing else that could be missing."""
        if paint:
            self._sample([Payload("check", "red circle", steps=1)], Event())

    def load(self, model: MergedModel) -> None:
        """Merge into the parameters of the live model."""
        model.into(self._live)

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        """Yield the pictures in order, as soon as their batch is done.

        Raises:
            GeneratorError: if a payload asks for what the demo model cannot do.
        """
        for payload in payloads:
            _check(payload)
        batches, stopped = list(self._batches(payloads)), Event()
        running = [self._pool.submit(self._sample, batch, stopped) for batch in batches]
        try:
            for batch, future in zip(batches, running, strict=True):
                steps, cfg = _settings(batch[0])
                info = {"sampler": "ddim", "steps": steps, "cfg": cfg}
                for payload, image in zip(batch, future.result(), strict=True):
                    yield Picture(payload, image, info)
        finally:  # before the next merge, nothing may still be reading the parameters
            stopped.set()
            for future in running:
                future.cancel()
            wait(running)

    def close(self) -> None:
        """End the threads and give torch its own back."""
        import torch

        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._torch_threads)

    def _batches(self, payloads: Sequence[Payload]) -> Iterator[list[Payload]]:
        """Yield the payloads in order, in lists that share their settings."""
        for _, same in groupby(payloads, key=_settings):
            group = list(same)
            for start in range(0, len(group), self._batch):
                yield group[start : start + self._batch]

    def _sample(self, payloads: Sequence[Payload], stopped: Event) -> list[Image]:
        from bmerge_plugins.demo.sampler import sample

        def check() -> None:
            if stopped.is_set():
                raise CancelledError

        steps, cfg = _settings(payloads[0])
        return sample(
            self._model,
            [payload.prompt for payload in payloads],
            [payload.seed for payload in payloads],
            negative_prompts=[payload.negative_prompt for payload in payloads],
            steps=steps,
            cfg=cfg,
            before_step=check,
        )


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the demo generator."""
    summary = "the embedded 64 x 64 diffusion model"
    return [
        GeneratorKind(
            "demo",
            DemoGenerator,
            summary,
            incidental=("batch", "threads"),
            needs=("torch", *PIXELS),
        )
    ]


def _settings(payload: Payload) -> tuple[int, float]:
    """Return what all pictures of a batch must share."""
    steps = _STEPS if payload.steps is None else payload.steps
    return steps, _CFG if payload.cfg is None else payload.cfg


def _check(payload: Payload) -> None:
    for prompt in (payload.prompt, payload.negative_prompt):
        for word in words.split(prompt):
            if word not in words.VOCABULARY:
                raise GeneratorError(
                    f"the demo model does not know the word {word!r} of the prompt {prompt!r}",
                    blame="study",
                    hint=f"it knows {', '.join(words.COLOURS + words.SHAPES)}",
                )
    if not 1 <= _settings(payload)[0] <= _MOST_STEPS:
        message = f"steps is {payload.steps}, the demo model allows 1 to {_MOST_STEPS}"
        raise GeneratorError(message, blame="study")
    if payload.width not in (None, _SIDE) or payload.height not in (None, _SIDE):
        raise GeneratorError(
            f"the demo model makes {_SIDE} x {_SIDE} pictures, "
            f"not {payload.width} x {payload.height}",
            blame="study",
            hint="leave width and height out",
        )
    if payload.sampler not in (None, "ddim"):
        raise GeneratorError(
            f"the demo model has the sampler 'ddim', not {payload.sampler!r}", blame="study"
        )
    if payload.extra:
        raise GeneratorError(
            f"the demo model has no setting {next(iter(payload.extra))!r}", blame="study"
        )
