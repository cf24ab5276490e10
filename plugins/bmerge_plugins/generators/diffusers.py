"""The generator with diffusers in this process: merges are written into a live pipeline.

No checkpoint file is made, and from one trial to the next only those tensors are computed whose
weights changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from bmerge import GeneratorError, GeneratorKind, MergedModel, Payload, Picture, hookimpl, unfolded
from bmerge_plugins.pipelines.settings import PipelineOptions

if TYPE_CHECKING:
    from bmerge_plugins.pipelines.pipeline import LivePipeline


class DiffusersGenerator:
    """Makes pictures with a pipeline of diffusers.

    Args:
        pipeline: how the pipeline is built.

    Raises:
        GeneratorError: if an option makes no sense, or diffusers is not installed.
    """

    @unfolded
    def __init__(self, *, pipeline: PipelineOptions = PipelineOptions()) -> None:
        self._batch = pipeline.batch
        self._settings = pipeline.settings()
        self._pipeline: LivePipeline | None = None

    def check(self, *, paint: bool) -> None:  # noqa: ARG002  it would need a merge
        """Look for the configuration.

        Raises:
            GeneratorError: if it is not there.
        """
        from bmerge_plugins.pipelines.build import config_folder

        if self._settings.config is not None:
            config_folder("diffusers", self._settings.config)

    def load(self, model: MergedModel) -> None:
        """Merge into the pipeline, which is built for the first one."""
        from bmerge_plugins.pipelines.pipeline import LivePipeline

        if self._pipeline is None:
            self._pipeline = LivePipeline(self._settings, model.layout())
        self._pipeline.merge(model)

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        """Yield the pictures in order, batch by batch.

        Raises:
            GeneratorError: if a payload asks for what the pipeline cannot do, or a picture holds
                no numbers.
        """
        pipeline = self._pipeline
        if pipeline is None:
            raise GeneratorError("no model has been loaded", blame="study")
        calls = [pipeline.call_of(payload) for payload in payloads]  # or complain, before any work
        numbered = zip(payloads, calls, strict=True)
        for call, same in groupby(numbered, key=lambda pair: pair[1]):
            group = [payload for payload, _ in same]
            for start in range(0, len(group), self._batch):
                yield from pipeline.pictures(group[start : start + self._batch], call)

    def close(self) -> None:
        """Let go of the pipeline and its memory."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the generator."""
    summary = "diffusers in this process: merges live in a pipeline's memory, no files"
    return [
        GeneratorKind(
            "diffusers",
            DiffusersGenerator,
            summary,
            needs=("diffusers", "transformers", "accelerate", "torch", "PIL"),
        )
    ]
