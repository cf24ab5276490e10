"""The files of a study's trials, each made of the one before it where nobody needs that any more.

Of a file that is there only what differs is written: the tensors whose jobs have changed, and the
header. Even where all have changed that costs less than a new file, for which the system has to
find pages first. Whoever read the old one may have it mapped still, so only such files are taken
as were lent for it; and before anything is written they lose their names, so that a process that
dies meanwhile leaves no file that looks whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge import _native
from bmerge.executors import Executor
from bmerge.formats.layout import SafetensorsLayout
from bmerge.formats.registry import lay_out
from bmerge.formats.target import new_output
from bmerge.pipeline.file import merge_to_file
from bmerge.pipeline.lowering import Lowering
from bmerge.pipeline.metadata import build_metadata, fitted
from bmerge.pipeline.output import explained
from bmerge.pipeline.passes import carry_out
from bmerge.pipeline.sinks import FileSink, OnePlace
from bmerge.plan import Job, OutputTensor, Plan, encoded
from bmerge.records import dataclass
from bmerge.temporaries import fresh_name

__all__ = ["TrialFile", "TrialFiles"]

_SPARE = 1 << 16
"""Bytes by which later headers may be longer: they tell of more weights, or of more digits."""
_PAGE = 1 << 12


@dataclass(frozen=True, slots=True)
class TrialFile:
    """A merge that was written.

    Args:
        path: under a name that no program has ever loaded.
        content: what is in it; None where no other file can be made of it.
    """

    path: Path
    content: _Content | None = None


@dataclass(frozen=True, slots=True)
class _Content:
    """What is in a file.

    Args:
        outputs: its tensors, in order.
        jobs: key → what the tensor came of.
        room: bytes of the header.
    """

    outputs: Sequence[OutputTensor]
    jobs: Mapping[str, Job]
    room: int

    def changed(self, jobs: Mapping[str, Job]) -> set[str]:
        """Return the keys of tensors that come of other jobs now."""
        return {key for key, job in jobs.items() if self.jobs.get(key) != job}


class TrialFiles:
    """Writes the files of one study's trials, one after the other.

    One file at most is kept from trial to trial, until this is closed.

    Args:
        executor: runs the merges.
        scratch: the folder; made when it is first needed.
    """

    def __init__(self, executor: Executor, scratch: Path) -> None:
        self._executor, self._scratch = executor, scratch
        self._kept: tuple[_Content, _native.OutputFile] | None = None

    def write(self, plan: Plan) -> TrialFile:
        """Write a merge into the folder.

        Raises:
            ExecutorError: if it cannot be written; nothing is left then.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        if plan.recipe.rebasin or encoded(plan) is not plan:  # tensors depend on one another
            path = self._fresh()
            merge_to_file(plan, path, executor=self._executor, hashes=False, sync=False)
            return TrialFile(path)
        jobs = {job.key: job for job in plan.jobs}
        kept, self._kept = self._kept, None
        if kept is not None:
            content, file = kept
            layout = self._laid_out(plan, content.room)
            if content.outputs == plan.outputs and file.size == layout.size:
                self._fill(file, layout, plan.only(content.changed(jobs)))
                return TrialFile(Path(file.path), _Content(plan.outputs, jobs, content.room))
            file.discard()
        room = self._room_for(plan)
        layout, path = self._laid_out(plan, room), self._fresh()
        try:
            file = new_output(path, layout.size)
        except _native.IoError as error:
            raise explained(error, path, layout.size) from error
        self._fill(file, layout, plan)
        return TrialFile(path, _Content(plan.outputs, jobs, room))

    def let_go(self, file: TrialFile, *, lent: bool) -> None:
        """Remove a file, or keep it to make the next one of it.

        Args:
            file: from :meth:`write`.
            lent: whether only programs of this machine have read it, and none computes with it
                any more.
        """
        if lent and file.content is not None and self._kept is None and _is_its_only_name(file):
            try:
                self._kept = file.content, _native.OutputFile.rewrite(file.path, self._fresh())
            except _native.IoError:  # as Windows may say of what is mapped somewhere
                pass
            else:
                return
        file.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the file that is kept, if there is one."""
        if self._kept is not None:
            self._kept[1].discard()
            self._kept = None

    def _fresh(self) -> Path:
        return self._scratch / fresh_name(".safetensors")

    def _laid_out(self, plan: Plan, room: int) -> SafetensorsLayout:
        text, _ = fitted(build_metadata(plan, None), plan)
        rows = ((output.key, output.dtype, output.shape) for output in plan.outputs)
        layout = lay_out(self._fresh(), rows, text, room=room)
        assert isinstance(layout, SafetensorsLayout)
        return layout

    def _room_for(self, plan: Plan) -> int:
        """Return the bytes of a header that those of later merges fit into, too."""
        header = self._laid_out(plan, 0).size - sum(output.nbytes for output in plan.outputs)
        return -(-(header + _SPARE) // _PAGE) * _PAGE

    def _fill(self, file: _native.OutputFile, layout: SafetensorsLayout, plan: Plan) -> None:
        """Write the header and what a plan gives, and let the file appear."""
        try:
            layout.begin(file)
            if plan.jobs:
                sink = FileSink([file], OnePlace(layout))
                with Lowering(self._executor, sink) as work:
                    carry_out(plan, work)
            file.commit(sync=False)
        except _native.IoError as error:
            raise explained(error, Path(file.path), file.size) from error
        finally:
            file.discard()


def _is_its_only_name(file: TrialFile) -> bool:
    """Tell whether the file is there, and nowhere else under another name."""
    try:
        return file.path.stat().st_nlink == 1
    except OSError:
        return False
