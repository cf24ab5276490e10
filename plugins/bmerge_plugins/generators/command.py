"""The generator for everything else: any program that makes pictures with a checkpoint.

The program is given the checkpoint's path, a JSON file with the payloads, and a folder; it leaves
a picture for each payload there. Pictures are taken up as soon as they are whole, while the
program continues.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bmerge import (
    Blame,
    GeneratorError,
    GeneratorKind,
    MergedModel,
    Payload,
    Picture,
    hookimpl,
    temporary_folder,
)
from bmerge_plugins.servers import Program, Template, pictures
from bmerge_plugins.servers.batches import Batch, Batches
from bmerge_plugins.servers.payload_files import file_stems, payload_records, write_payloads
from bmerge_plugins.servers.process import check_program

_PLACES = ("checkpoint", "payloads", "out", "address")
_POLL = 0.05


class CommandGenerator:
    """Runs a program for each trial.

    Args:
        command: its command line, with {checkpoint}, {payloads} and {out}, and {address} where
            there are several; no shell is involved.
        addresses: anything that tells the program where to run, for example ``cuda:0``; it runs
            on all of them at once, each with a share of the payloads.
        timeout: seconds without the next picture after which a trial is given up.
    """

    takes_files = True

    def __init__(
        self,
        *,
        command: str | Sequence[str],
        addresses: str | Sequence[str] = (),
        timeout: float = 600.0,
    ) -> None:
        listed = [addresses] if isinstance(addresses, str) else list(addresses)
        needed = ["checkpoint", "payloads", "out", *(["address"] if len(listed) > 1 else [])]
        self._command = Template(command, known=_PLACES, needed=needed, option="command")
        self._addresses = listed or [""]
        if timeout <= 0:
            raise GeneratorError(f"timeout is {timeout}, must be above 0", blame="study")
        self._timeout = timeout
        self._file: Path | None = None
        self._worked = False

    def check(self, *, paint: bool) -> None:  # noqa: ARG002  it would need a merge
        """Look for the program.

        Raises:
            GeneratorError: if it is not there.
        """
        check_program(self._command.arguments)

    def load(self, model: MergedModel) -> None:
        """Take the checkpoint; the program reads it later."""
        self._file = model.file()

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        """Run the program and yield its pictures in order, as soon as each is there.

        Raises:
            GeneratorError: if it fails, takes too long, or leaves a picture out.
        """
        stems = file_stems(payloads)
        records = payload_records(payloads, stems)
        with temporary_folder("command") as folder:

            def start(address: str, numbers: Sequence[int]) -> Batch:
                place = Path(tempfile.mkdtemp(dir=folder))
                write_payloads(place / "payloads.json", [records[number] for number in numbers])
                return Batch(address, numbers, self._run(address, place), place / "out")

            # What has made pictures with other merges is well written: something is amiss now.
            culprit: Blame = "surroundings" if self._worked else "study"
            batches = Batches(self._addresses, stems, start, culprit=culprit)
            try:
                for number, payload in enumerate(payloads):
                    yield self._wait_for(batches, number, payload)
            finally:
                batches.close()

    def close(self) -> None:
        """Nothing is held between trials."""

    def _run(self, address: str, place: Path) -> Program:
        (place / "out").mkdir()
        values = {
            "checkpoint": str(self._file),
            "payloads": str(place / "payloads.json"),
            "out": str(place / "out"),
            "address": address,
        }
        return Program(self._command.fill(values))

    def _wait_for(self, batches: Batches, number: int, payload: Payload) -> Picture:
        ends = time.monotonic() + self._timeout
        while True:
            batches.poll()
            found = batches.picture(number)
            if found is not None:
                image, address = found
                self._worked = True
                pictures.check(image, f"picture {payload.id!r}")
                return Picture(payload, image, {"address": address} if address else {})
            if time.monotonic() > ends:
                message = f"no picture {payload.id!r} after {self._timeout:g} s"
                raise GeneratorError(message, transient=True)
            time.sleep(_POLL)


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the generator."""
    summary = "any program that is given a checkpoint and payloads, and leaves pictures"
    incidental = ("addresses", "timeout")
    return [
        GeneratorKind("command", CommandGenerator, summary, incidental=incidental, needs=("PIL",))
    ]
