"""All searches of the benchmark, each in one of some processes with one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, field
from pathlib import Path
from threading import Lock

from bmerge.bench.optimising.contest import Contestant, ContestRow, append, read_rows, row_of
from bmerge.errors import StudyError
from bmerge.records import dataclass

__all__ = ["Contest", "run_contest"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Contest:
    """What is to be done.

    Args:
        contestants: who takes part.
        landscapes: that each searches, studies that are replayed among them.
        seeds: with each of which each searches each.
        pictures: that each search paints.
        folder: where the rows are kept.
        plugins: files and folders with further optimisers.
        blocked: plugins that are left out.
        studies: landscape → folder of the study that is replayed.
    """

    contestants: tuple[Contestant, ...]
    landscapes: tuple[str, ...]
    seeds: range
    pictures: int
    folder: Path
    plugins: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    studies: Mapping[str, Path] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Where the rows are; those of another number of pictures are elsewhere."""
        return self.folder / f"searches-{self.pictures}.jsonl"

    def rows(self) -> list[ContestRow]:
        """Return the rows of this contest that are done, seed by seed."""
        done = {row.key: row for row in read_rows(self.file)}
        keys = ((c.name, name, s) for s, name, c in self._searches())
        return [done[key] for key in keys if key in done]

    def missing(self) -> list[tuple[int, str, Contestant]]:
        """Return seed, landscape and contestant of what is not done, seed by seed."""
        done = {row.key for row in self.rows()}
        return [(s, name, c) for s, name, c in self._searches() if (c.name, name, s) not in done]

    def _searches(self) -> Iterator[tuple[int, str, Contestant]]:
        for seed in self.seeds:
            for name in self.landscapes:
                for contestant in self.contestants:
                    yield seed, name, contestant


def run_contest(
    contest: Contest, jobs: int, on_row: Callable[[ContestRow, int], None]
) -> list[ContestRow]:
    """Do what is missing and return all rows.

    Args:
        contest: what is to be done.
        jobs: processes at a time.
        on_row: told of each row that is done, and how many are left, by one thread at a time.

    Raises:
        StudyError: if an optimiser fails; what was done is kept.
    """
    missing = contest.missing()
    if missing:
        contest.folder.mkdir(parents=True, exist_ok=True)
        _Running(contest, missing, on_row).run(min(jobs, len(missing)))
    return contest.rows()


class _Running:
    """Gives searches to processes, the next to whichever is free."""

    def __init__(
        self,
        contest: Contest,
        missing: Sequence[tuple[int, str, Contestant]],
        on_row: Callable[[ContestRow, int], None],
    ) -> None:
        self._contest, self._on_row = contest, on_row
        self._waiting, self._left = deque(missing), len(missing)
        self._lock = Lock()
        self._workers: list[subprocess.Popen[str]] = []

    def run(self, jobs: int) -> None:
        """Do all searches by as many processes."""
        try:
            self._workers = [_worker(self._contest) for _ in range(jobs)]
            with ThreadPoolExecutor(jobs) as threads:
                for future in [threads.submit(self._serve, worker) for worker in self._workers]:
                    future.result()
        finally:
            self._waiting.clear()
            for worker in self._workers:
                worker.kill()
                worker.communicate()

    def _serve(self, worker: subprocess.Popen[str]) -> None:
        """Give one process searches until there are no more."""
        assert worker.stdin is not None
        assert worker.stdout is not None
        while self._waiting:
            with self._lock:
                if not self._waiting:
                    return
                seed, name, contestant = self._waiting.popleft()
            job = {"seed": seed, "landscape": name, "pictures": self._contest.pictures}
            print(
                json.dumps({**job, "contestant": asdict(contestant)}), file=worker.stdin, flush=True
            )
            answer = json.loads(worker.stdout.readline() or '{"error": "its process has ended"}')
            if "error" in answer:
                self._waiting.clear()
                raise StudyError(f"{contestant.name} on {name}, seed {seed}: {answer['error']}")
            row = row_of(answer)
            with self._lock:
                append(row, self._contest.file)
                self._left -= 1
                self._on_row(row, self._left)


def _worker(contest: Contest) -> subprocess.Popen[str]:
    """Start a process that computes with one thread."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "bmerge.bench.optimising.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **dict.fromkeys(_THREADS, "1")},
    )
    assert worker.stdin is not None
    print(
        json.dumps(
            {
                "plugins": contest.plugins,
                "blocked": contest.blocked,
                "studies": {name: str(folder) for name, folder in contest.studies.items()},
            }
        ),
        file=worker.stdin,
        flush=True,
    )
    return worker
