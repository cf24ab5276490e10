"""The scorer for everything else: any program that looks at a picture and prints a number.

With ``{picture}`` in its command line it is run for each picture; with ``{pictures}`` once for
all that are to be judged at a time, which saves it loading a model for each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bmerge import Picture, ScorerError, ScorerKind, hookimpl, temporary_folder
from bmerge_plugins.sample import sample_picture
from bmerge_plugins.scorers._outside import as_scorer_errors, describe, number
from bmerge_plugins.servers import Program, Template
from bmerge_plugins.servers.process import check_program

_NAME = "command"
_ONE, _ALL = "picture", "pictures"
_TOLD = ("prompt", "negative_prompt", "seed", "id")


class CommandScorer:
    """Runs a program on pictures, and reads the numbers that it prints.

    Args:
        command: its command line; no shell is involved. Either with {picture}, a PNG's path,
            and any of {prompt}, {negative_prompt}, {seed}, {id}; or with {pictures}, the path of
            a JSON list of objects with these and ``file``.
        timeout: seconds that one run may take.
    """

    def __init__(self, *, command: str | Sequence[str], timeout: float = 120.0) -> None:
        with as_scorer_errors():
            known = (_ONE, _ALL, *_TOLD)
            self._command = Template(command, known=known, needed=(), option="command")
        names = self._command.names
        if (_ONE in names) == (_ALL in names):
            raise ScorerError("command must use either {picture} or {pictures}", blame="study")
        if _ALL in names and len(names) > 1:
            raise ScorerError(
                "command with {pictures} can use nothing else: it is all in the file", blame="study"
            )
        if timeout <= 0:
            raise ScorerError(f"timeout is {timeout}, must be above 0", blame="study")
        self._timeout = timeout

    def check(self, *, paint: bool) -> None:
        """Look for the program, and run it on a picture.

        Raises:
            ScorerError: if it is not there or fails.
        """
        with as_scorer_errors():
            check_program(self._command.arguments)
        if paint:
            self.score([sample_picture()])

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return the number that the program printed for each picture.

        Raises:
            ScorerError: if it fails, takes too long, or prints something else.
        """
        if not pictures:
            return []
        with temporary_folder("score") as folder:
            files = [folder / f"{index}.png" for index in range(len(pictures))]
            for picture, file in zip(pictures, files, strict=True):
                picture.image.convert("RGB").save(file)
            if _ALL in self._command.names:
                return self._run({_ALL: _listed(pictures, files)}, len(pictures))
            return [score for values in _each(pictures, files) for score in self._run(values, 1)]

    def _run(self, values: dict[str, str], count: int) -> list[float]:
        """Run the program; read numbers from the last ``count`` lines that it prints."""
        with as_scorer_errors():
            program = Program(self._command.fill(values))
        try:
            status = program.wait(self._timeout)
            if status is None:
                message = f"{program.name} did not end within {self._timeout:g} s"
                raise ScorerError(message, transient=True)
            if status:
                with as_scorer_errors():
                    raise program.error("surroundings")
            lines = [line.strip() for line in program.output().splitlines() if line.strip()]
            if len(lines) < count:
                counts = f"{len(lines)} lines where {count} numbers were expected"
                raise ScorerError(f"{program.name} printed {counts}", blame="study")
            return [number(line, program.name) for line in lines[-count:]]
        finally:
            program.close()


def _listed(pictures: Sequence[Picture], files: Sequence[Path]) -> str:
    """Write the file that describes all pictures; return its path."""
    place = files[0].with_name("pictures.json")
    records = [
        {"file": str(file), **describe(picture)}
        for picture, file in zip(pictures, files, strict=True)
    ]
    place.write_text(json.dumps(records), encoding="utf-8")
    return str(place)


def _each(pictures: Sequence[Picture], files: Sequence[Path]) -> Iterator[dict[str, str]]:
    for picture, file in zip(pictures, files, strict=True):
        told = {name: str(value) for name, value in describe(picture).items()}
        yield {_ONE: str(file), **told}


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "any program that is given a picture and prints a number"
    return [ScorerKind(_NAME, CommandScorer, summary, incidental=("timeout",), needs=("PIL",))]
