"""``python -m benchmarks.merge``: merges of full-size checkpoints, whole processes, many rounds.

Floor and candidate run in turn, in random order, with the inputs in the page cache. Nothing is
asserted: the table says what was measured and on what.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.merge.machines import kept, processor_kind, table
from benchmarks.merge.measure import FailedError, Run, run
from benchmarks.merge.models import KINDS, Kind, make, remove, remove_converted
from benchmarks.merge.programs import CANDIDATES, DEFAULT, Program, floor, merge_of, program
from benchmarks.merge.roofline import roofline
from benchmarks.merge.table import Row, facts, markdown
from benchmarks.merge.works import WORKS, Work, works
from bmerge import load_registry

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Parse the command line, measure, print and write the table."""
    options = _options()
    scratch = options.scratch / "bmerge-bench"
    scratch.mkdir(parents=True, exist_ok=True)
    session = Session(scratch, options.rounds, options.warm)
    machine = ["", *roofline(scratch)]
    print(*machine, sep="\n", flush=True)
    command = shlex.join(["python", "-m", "benchmarks.merge", *sys.argv[1:]])
    try:
        for kind in (KINDS[name] for name in options.model):
            for work in works(kind.blocks):
                if work.name in options.work:
                    session.measure(kind, work, options.who)
                    lines = facts(command, options.rounds, session.loads) + machine
                    _write(session, lines, options.output)
                    if not options.keep:
                        remove_converted(kind, scratch)
            if not options.keep:
                remove(kind, scratch)
    finally:
        if not options.keep:
            shutil.rmtree(scratch)  # a folder of our own
    print(options.output.read_text(encoding="utf-8"))
    print(f"written to {options.output}")


def _write(session: Session, lines: Sequence[str], output: Path) -> None:
    """Write the table as far as it is: the whole takes hours and may be interrupted."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(markdown(session.rows, lines), encoding="utf-8")
    cells = kept(session.rows, output.with_suffix(".json"), processor_kind())
    output.with_name(f"{output.stem}_processors.md").write_text(table(cells), encoding="utf-8")


class Session:
    """Measures works and collects rows.

    Args:
        scratch: folder of models and outputs.
        rounds: how often each candidate runs.
        warm: whether each candidate runs once before, unmeasured.
    """

    def __init__(self, scratch: Path, rounds: int, warm: bool) -> None:  # noqa: FBT001
        self._scratch = scratch
        self._output = scratch / "output.safetensors"
        self._rounds = rounds
        self._warm = warm
        self._methods = load_registry().methods
        self._cache = scratch / "cache"
        self._environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self._cache),
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(self._cache / "bytecode"),
        }
        # Installed packages have bytecode, whatever is usual for the sources of this machine.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.rows: list[Row] = []
        self.loads: list[float] = []

    def measure(self, kind: Kind, work: Work, candidates: Sequence[str]) -> None:
        """Measure one work by all candidates that can do it."""
        if work.method not in self._methods:
            self.rows.append(Row(kind.title, work.name, "all", note="no such method"))
            return
        self._output = (self._scratch / "output").with_suffix(work.suffix)
        inputs = (*work.models, *work.loras)
        also = (*work.beside, *((work.like,) if work.like else ()))
        made = make(kind, tuple(dict.fromkeys((*inputs, *also))), self._scratch)
        models = [made[name] for name in inputs]
        base = Row(kind.title, work.name, "one layout" if work.beside else "floor")
        rows = {who: Row(kind.title, work.name, who) for who in candidates}
        programs: dict[str, Program] = {}
        for who, row in rows.items():
            found = program(who, work, models, self._output)
            if isinstance(found, str):
                row.note = found
            else:
                programs[who] = found
        self.rows += [base, *rows.values()]
        floors = {sync: self._beside(work, made, sync=sync) for sync in (False, True)}
        self._run(floors[False])  # warms the page cache
        for number in range(1 - self._warm, self._rounds + 1):
            self.loads.append(os.getloadavg()[0])
            for who in random.sample(sorted(programs), len(programs)):
                self._pair(programs[who], floors[programs[who].syncs], rows[who], base, number)
                if rows[who].note:
                    del programs[who]

    def _beside(self, work: Work, made: Mapping[str, Path], *, sync: bool) -> Program:
        """Return what a work is measured against: the floor, or the merge that it names."""
        if work.beside:
            models = [made[name] for name in work.beside]
            return merge_of(work, models, self._output, sync=sync)
        models = [made[name] for name in (*work.models, *work.loras)]
        nbytes = models[0].stat().st_size // 2 if work.halves else None
        like = made[work.like or work.models[0]]
        return floor(models, self._output, nbytes=nbytes, like=like, sync=sync)

    def _pair(self, candidate: Program, beside: Program, row: Row, base: Row, number: int) -> None:
        """Run a candidate and its floor, in random order; round 0 is not counted."""
        print(f"{row.model} {row.work} {row.who}, round {number}", file=sys.stderr, flush=True)
        order = random.sample([candidate, beside], 2)
        try:
            runs = {one.words: self._run(one) for one in order}
        except FailedError as error:
            row.note = f"failed: {error}"
            return
        if number == 0:
            return
        own, other = runs[candidate.words], runs[beside.words]
        row.runs.append(own)
        row.ratios.append(own.seconds / other.seconds)
        if not beside.syncs:
            base.runs.append(other)

    def _run(self, one: Program) -> Run:
        return run(one, self._output, self._environment, self._cache)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description=__doc__)

    def names(known: Sequence[str]) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            chosen = list(known) if text == "all" else text.split(",")
            for name in chosen:
                if name not in known:
                    raise argparse.ArgumentTypeError(f"no {name!r}; known: {', '.join(known)}")
            return chosen

        return parse

    add = parser.add_argument
    add("--work", type=names(WORKS), default=list(WORKS), help=f"of {', '.join(WORKS)}")
    add("--model", type=names(list(KINDS)), default=["sd15"], help=f"of {', '.join(KINDS)}")
    add("--who", type=names(CANDIDATES), default=DEFAULT, help=f"of {', '.join(CANDIDATES)}")
    add("--rounds", type=int, default=7)
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="where models are made")
    add("--keep", action="store_true", help="leave the models in the scratch folder")
    add("--no-warm", dest="warm", action="store_false", help="measure the first run too")
    add("--output", type=Path, default=ROOT / "benchmarks" / "results" / "merge.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
