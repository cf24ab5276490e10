"""One program run that makes several pictures, and the spreading of a trial over such runs.

Each address gets its share of a trial's payloads at once, since a program mostly spends its time
on loading the checkpoint. What a failed run did not make goes to an address whose run has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge import Blame, GeneratorError
from bmerge_plugins.servers.payload_files import find_picture
from bmerge_plugins.servers.process import Program

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Batch", "Batches"]

_log = logging.getLogger(__name__)


class Batch:
    """A running program and the pictures that it was asked for.

    Args:
        address: where it runs.
        numbers: of the pictures.
        program: running.
        out: the folder that it leaves them in.
    """

    def __init__(self, address: str, numbers: Sequence[int], program: Program, out: Path) -> None:
        self.address = address
        self.numbers = tuple(numbers)
        self.program = program
        self.out = out


class Batches:
    """The runs of one trial.

    Args:
        addresses: on which programs can run.
        stems: file name of each picture, without ending.
        start: starts a run for some pictures on an address.
        culprit: who is to blame for a failure that says nothing of it.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        stems: Sequence[str],
        start: Callable[[str, Sequence[int]], Batch],
        *,
        culprit: Blame,
    ) -> None:
        self._culprit = culprit
        self._stems = stems
        self._start = start
        self._idle = list(addresses)
        self._running: list[Batch] = []
        self._ended: list[Batch] = []
        count = len(addresses)
        shares = [list(range(first, len(stems), count)) for first in range(count)]
        self._waiting = [share for share in shares if share]

    def poll(self) -> None:
        """Note which runs have ended, and start what can be started.

        Raises:
            GeneratorError: if a run failed and nobody is left to take its pictures over, or if
                one ended well without having made all of its own.
        """
        for batch in [batch for batch in self._running if batch.program.status is not None]:
            self._running.remove(batch)
            self._ended.append(batch)
            self._settle(batch)
        while self._waiting and self._idle:
            batch = self._start(self._idle.pop(0), self._waiting.pop(0))
            self._running.append(batch)

    def picture(self, number: int) -> tuple[Image, str] | None:
        """Return a picture and the address that made it, or None if it is not there yet."""
        for batch in self._running + self._ended:
            if number in batch.numbers:
                image = find_picture(batch.out, self._stems[number])
                if image is not None:
                    return image, batch.address
        return None

    def close(self) -> None:
        """End what still runs."""
        for batch in self._running + self._ended:
            batch.program.close()

    def _settle(self, batch: Batch) -> None:
        """Take a run that has ended for what it did."""
        missing = [n for n in batch.numbers if find_picture(batch.out, self._stems[n]) is None]
        if not batch.program.status:
            if missing:
                name = self._stems[missing[0]]
                message = f"{batch.program.name} left no picture {name!r} ({len(missing)} missing)"
                hint = "name each as its payload's 'file' says"
                raise GeneratorError(message, blame=self._culprit, hint=hint)
            self._idle.append(batch.address)
            return
        reason = batch.program.failure()
        if not (self._running or self._idle):
            raise batch.program.error(self._culprit)
        _log.warning("%s is left out of this trial: %s", batch.address, reason)
        if missing:
            self._waiting.append(missing)
