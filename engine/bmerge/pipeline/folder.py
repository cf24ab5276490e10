"""A merge into a folder as diffusers and Hugging Face have it: weights by component, and the rest.

All is written into a temporary folder beside its own, which gets its name when it is complete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bmerge import _native
from bmerge.errors import ExecutorError, FormatError
from bmerge.formats.folders import PIPELINE
from bmerge.formats.layout import Layout
from bmerge.formats.layouts import layout_of
from bmerge.formats.prefixes import OF_PICTURES, is_part_file
from bmerge.formats.registry import lay_out
from bmerge.formats.target import new_output
from bmerge.formats.wholes import PICTURES
from bmerge.pipeline.companions import copy_companions, quantised_parts
from bmerge.pipeline.sinks import FileSink
from bmerge.plan import OutputTensor, Plan
from bmerge.system import sync_folder
from bmerge.temporaries import temporary_folder

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FolderFiles"]

_CONFIG = "config.json"
_MODEL = "model.safetensors"
_DIFFUSERS = (
    *PICTURES, "vae", "audio_vae", "vocoder",
    *(start.rstrip(".") for start in OF_PICTURES),
)  # fmt: skip
_THEIRS = "diffusion_pytorch_model.safetensors"


class FolderFiles:
    """What a merge into a folder writes to, with the interface of :class:`.output.OutputFiles`.

    Args:
        plan: the merge.
        output: the folder.
        configs: a folder whose files beside the weights are copied.

    Raises:
        FormatError: if a tensor belongs to no component of a pipeline.
    """

    def __init__(self, plan: Plan, output: Path, configs: Path) -> None:
        self._output = output
        if not configs.is_dir():
            raise FormatError(f"{configs} is not a folder with configs", path=configs)
        self._configs = configs
        self._plan = plan
        self._parts = _by_file(plan, self._configs)
        self._files: list[_native.OutputFile] = []
        self._stack = contextlib.ExitStack()
        self._place = output
        self.nbytes = 0

    @property
    def main(self) -> Path:
        """The folder."""
        return self._output

    @property
    def folder(self) -> Path:
        """Where temporary files may lie."""
        return self._output.parent

    def check(self, *, overwrite: bool) -> None:
        """Refuse a folder that holds something, whether or not it may be overwritten.

        Raises:
            ExecutorError: says so.
        """
        del overwrite
        if not self.folder.is_dir():
            raise ExecutorError(f"cannot write {self._output}: {self.folder} does not exist")
        there = self._output.exists() or self._output.is_symlink()
        if there and not (self._output.is_dir() and not any(self._output.iterdir())):
            hint = "remove it first, or name another folder"
            raise ExecutorError(f"{self._output} exists and is not an empty folder", hint=hint)

    def create(self, metadata: Mapping[str, str], *, sync: bool) -> FileSink:
        """Make the temporary folder and the files in it, with room for all that they will hold."""
        try:
            place = self._stack.enter_context(temporary_folder("folder", self.folder))
            self._place = place / "model"
            self._place.mkdir()
            for name in self._parts:
                (self._place / name).parent.mkdir(exist_ok=True)
        except OSError as error:
            raise ExecutorError(f"cannot write {self._output}: {error.strerror}") from error
        places: dict[str, tuple[int, int]] = {}
        layouts = self._layouts(metadata)
        for number, (file, layout) in enumerate(zip(self._parts, layouts, strict=True)):
            for (tensor, _), offset in zip(self._parts[file], layout.offsets, strict=True):
                places[tensor.key] = number, offset
            self._files.append(new_output(self._place / file, layout.size, flushing=sync))
        self.nbytes = sum(layout.size for layout in layouts)
        return FileSink(self._files, places)

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the headers."""
        for file, layout in zip(self._files, self._layouts(metadata), strict=True):
            layout.finish(file)

    def commit(self, *, sync: bool) -> tuple[str, ...]:
        """Copy what lies beside the weights, and let the folder appear."""
        while self._files:  # Windows renames no folder in which a file is open
            self._files.pop().commit(sync=sync)
        components = {Path(file).parts[0] for file in self._parts}
        try:
            quantised = quantised_parts(self._plan)
            copy_companions(self._configs, self._place, components, quantised)
            if self._output.is_dir():
                self._output.rmdir()
            os.rename(self._place, self._output)  # noqa: PTH104  Path.rename says the same in more
            if sync:
                sync_folder(self._output.parent)
        except OSError as error:
            raise ExecutorError(f"cannot write {self._output}: {error.strerror}") from error
        return ()

    def _layouts(self, metadata: Mapping[str, str]) -> list[Layout]:
        """Return the layouts of the files; the first tells how all were made."""
        plain = {"format": "pt"}
        return [
            lay_out(
                self._place / file,
                ((name, tensor.dtype, tensor.shape) for tensor, name in tensors),
                plain if number else {**plain, **metadata},
            )
            for number, (file, tensors) in enumerate(self._parts.items())
        ]

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what is left of the temporary folder."""
        for file in self._files:
            file.discard()
        self._stack.close()
        if isinstance(error, _native.IoError):
            import shutil

            free = shutil.disk_usage(self.folder).free
            message = f"cannot write {self._output}: {error}; it needs {self.nbytes:,} bytes and "
            raise ExecutorError(f"{message}{free:,} are free") from error


def _by_file(plan: Plan, configs: Path) -> dict[str, list[tuple[OutputTensor, str]]]:
    """Return file within the folder → its tensors, with their names in it."""
    if not (configs / PIPELINE).exists():
        return {_MODEL: [(tensor, tensor.key) for tensor in plan.outputs]}
    files: dict[str, list[tuple[OutputTensor, str]]] = {}
    start = _start_of_all(plan, configs)
    for tensor in plan.outputs:
        component, _, name = (start + tensor.key).partition(".")
        if not name or not (configs / component / _CONFIG).exists():
            message = f"{tensor.key!r} is of no component that {configs} has"
            hint = "--layout diffusers gives tensors the names of components"
            raise FormatError(message, path=configs, key=tensor.key, hint=hint)
        theirs = component.startswith(_DIFFUSERS)
        file = f"{component}/{_THEIRS if theirs else _MODEL}"
        files.setdefault(file, []).append((tensor, name))
    return files


def _start_of_all(plan: Plan, configs: Path) -> str:
    """Return the component that a diffusion model alone is, whose keys do not say it."""
    tensors = {tensor.key: tensor for tensor in plan.outputs}
    said = any((configs / key.partition(".")[0] / _CONFIG).exists() for key in tensors)
    if said or is_part_file(tensors) or layout_of(tensors) not in {None, "diffusers"}:
        return ""
    found = (name for name in PICTURES if (configs / name / _CONFIG).exists())
    return next((f"{name}." for name in found), "")
