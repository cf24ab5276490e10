"""stable-diffusion.cpp's command line: a program run for each picture, with no port to guard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmerge import Blame, GeneratorError, Payload, Picture, temporary_folder
from bmerge_plugins.servers import pictures
from bmerge_plugins.servers.process import Program, check_program
from bmerge_plugins.servers.publish import Published
from bmerge_plugins.servers.template import Template

__all__ = ["CliSession", "cli_arguments"]


class CliSession:
    """The command line program ``sd-cli`` (formerly ``sd``), run for each picture.

    Args:
        command: uses {checkpoint}; the settings of a picture are added to it.
        number: which of several that run at the same time.
        timeout: seconds for one picture, loading included.
    """

    def __init__(self, command: Template, number: int, *, timeout: float) -> None:
        self._command = command
        self._number = number
        self._timeout = timeout
        self._checkpoint = Path()
        self._program: Program | None = None
        self._worked = False

    @property
    def name(self) -> str:
        """The program and its number."""
        return f"{Path(self._command.arguments[0]).name} #{self._number}"

    def ready(self) -> None:
        """Nothing was remembered."""

    def answers(self) -> bool:
        """There is nothing to ask: the program is run for each picture."""
        return True

    def check(self, marker: Published | None, *, paint: bool) -> None:  # noqa: ARG002
        """Look for the program; a picture would need a model.

        Raises:
            GeneratorError: if it is not there.
        """
        check_program(self._command.arguments)

    def tidy(self) -> None:
        """Nothing was put anywhere."""

    def load(self, checkpoint: Published) -> None:
        """Take the path; the program reads it for each picture."""
        self._checkpoint = checkpoint.file

    def picture(self, payload: Payload) -> Picture:
        """Run the program.

        Raises:
            GeneratorError: if it fails or leaves no picture.
        """
        with temporary_folder("sdcpp") as folder:
            out = folder / "out.png"
            values = {"checkpoint": str(self._checkpoint), "address": str(self._number)}
            arguments = self._command.fill(values)
            self._run([*arguments, *cli_arguments(payload), "-o", str(out)])
            if not out.exists():
                message = f"{self.name} left no picture for {payload.id!r}"
                raise GeneratorError(message, blame=self._culprit)
            image = pictures.from_bytes(out.read_bytes(), self.name)
            self._worked = True
            pictures.check(image, self.name)
        return Picture(payload, image, {"model": self._checkpoint.stem})

    def interrupt(self) -> None:
        """End the program."""
        if self._program is not None:
            self._program.end()

    def close(self) -> None:
        """Nothing runs between pictures."""

    @property
    def _culprit(self) -> Blame:
        """Who is to blame where nothing tells: the command until it has made a picture."""
        return "merge" if self._worked else "study"

    def _run(self, arguments: Sequence[str]) -> None:
        program = self._program = Program(arguments)
        try:
            if program.wait(self._timeout) is None:
                message = f"{self.name}: no picture after {self._timeout:g} s"
                raise GeneratorError(message, transient=True)
            if program.status:
                raise program.error(self._culprit)
        finally:
            self._program = None
            program.close()


def cli_arguments(payload: Payload) -> list[str]:
    """Return the options of ``sd-cli`` for a payload; extras become options of their own name.

    An extra that is true is a switch, one that is false is left out.
    """
    settings = {
        "prompt": payload.prompt,
        "negative-prompt": payload.negative_prompt or None,
        "seed": payload.seed,
        "steps": payload.steps,
        "cfg-scale": payload.cfg,
        "width": payload.width,
        "height": payload.height,
        "sampling-method": payload.sampler,
        **{name.replace("_", "-"): value for name, value in payload.extra.items()},
    }
    arguments: list[str] = []
    for name, value in settings.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not None and value is not False:
            arguments += [f"--{name}", str(value)]
    return arguments
