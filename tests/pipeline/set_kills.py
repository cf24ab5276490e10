"""A program that is stopped at every step by which one output takes the place of another.

Called with a folder, what is there before, what is written, and the number of an error, or 0. For
each step: the merge is made in a child that ends itself with SIGKILL instead of it, or to which
the system answers with that error (if it is negative, after a file has appeared: its folder could
not be synced); what can be read then is told, and the merge is made again.
One line of JSON per step; in the last child nothing goes wrong.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

from bmerge import _native
from bmerge.errors import ExecutorError, FormatError
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.pipeline import merge_to_file
from bmerge.pipeline.output import OutputFiles
from merges import names_in, plan_of

INDEX = "out.safetensors.index.json"


class Steps:
    """Counts the steps of a commit; the one with a number is never made."""

    def __init__(self, last, number):
        self.count = 0
        self.last = last
        self.number = abs(number)
        self.late = number < 0

    def step(self, kind=OSError):
        self.count += 1
        if self.count == self.last and not self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.count == self.last:
            error = kind(self.number, os.strerror(self.number))
            error.errno = self.number
            raise error


class Counted:
    """An output file whose commit is a step."""

    def __init__(self, file, steps):
        self._file = file
        self._steps = steps
        self.path = file.path

    def commit(self, *, sync):
        if self._steps.late:
            self._file.commit(sync=sync)
        self._steps.step(_native.IoError)
        if not self._steps.late:
            self._file.commit(sync=sync)

    def discard(self):
        self._file.discard()


def watch(steps):
    """Count what a commit does to names."""
    commit = OutputFiles.commit

    def counted(self, *, sync):
        for files in (self._files, self._indices):
            files[:] = [Counted(file, steps) for file in files]
        events = {"os.rename", "os.remove", "os.link"}
        sys.addaudithook(lambda event, _: steps.step() if event in events else None)
        return commit(self, sync=sync)

    OutputFiles.commit = counted


def in_child(action):
    """Return the status of a child that does something: 3 for an error that is told."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except ExecutorError:
            os._exit(3)
        except BaseException:  # noqa: BLE001  a child may not go on as its parent
            traceback.print_exc()
            os._exit(4)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def contents(path):
    """Return the bytes of every tensor, or None if that is no whole checkpoint."""
    try:
        tensors = open_checkpoint(path).tensors.values()
    except FormatError:
        return None
    found = {}
    for info in tensors:
        with info.file.open("rb") as file:
            file.seek(info.offset)
            found[info.key] = file.read(info.nbytes)
    return found


def files_of(folder):
    return {name: (folder / name).read_bytes() for name in names_in(folder)}


def main(folder, before, after, number):
    folder = Path(folder)
    limits = {"one": 1 << 30, "two": 1700, "three": 1200}
    plans = [
        plan_of([folder / f"{a}.safetensors", folder / f"{b}.safetensors"]) for a, b in ("ab", "ba")
    ]

    def merge(where, number, shards):
        out = where / "out.safetensors"
        merge_to_file(
            plans[number], out, executor=NativeExecutor(threads=1), shard_size=limits[shards]
        )

    old, new, place = folder / "old", folder / "new", folder / "place"
    old.mkdir()
    new.mkdir()
    if before != "nothing":
        in_child(lambda: merge(old, 0, before))
    in_child(lambda: merge(new, 1, after))
    states = {"old": contents(old), "new": contents(new)}
    for last in itertools.count(1):
        shutil.copytree(old, place)
        (folder / "over").write_text("")

        def killed(last=last):
            watch(steps := Steps(last, int(number)))
            try:
                merge(place, 1, after)
            finally:
                (folder / "over").write_text("yes" * (steps.count < last))

        status = in_child(killed)
        read = {name: contents(place / name) for name in (".", INDEX, "out.safetensors")}
        told = {
            name: [s for s in states if found is not None and found == states[s]]
            for name, found in read.items()
        }
        broken = [name for name, found in read.items() if found is not None and not told[name]]
        kept = files_of(place) == files_of(old)
        again = in_child(lambda: merge(place, 1, after))
        whole, wanted = files_of(place), files_of(new)
        line = {
            "status": status,
            "read": told,
            "broken": broken,
            "again": again,
            "same": whole == wanted,
        }
        print(json.dumps(line | {"names": list(whole), "kept": kept}), flush=True)
        shutil.rmtree(place)
        if (folder / "over").read_text():
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
