"""Runs a program: keeps the end of what it says, and ends it with all its children.

What a program prints goes to files and not to pipes, so that it can print any amount without
anybody reading along.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge import Blame, GeneratorError, temporary_folder
from bmerge_plugins.servers.faults import blame_of, one_line

__all__ = ["Program", "check_program", "run_to_end"]

_GRACE = 5.0
_TAIL = 16_384
_OUTPUT = 1 << 20  # bytes: more than any list of scores has
_NOT_THERE = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)
_STATUSES: Mapping[int, Blame] = {
    65: "merge",  # EX_DATAERR
    64: "study",  # EX_USAGE
    78: "study",  # EX_CONFIG
    126: "study",  # a shell's: not a program
    127: "study",  # a shell's: no such program
    69: "surroundings",  # EX_UNAVAILABLE
    75: "surroundings",  # EX_TEMPFAIL
}
"""What an exit status says of whose fault it is, by sysexits.h and what shells do."""


class Program:
    """A running program.

    Args:
        arguments: the program and what it is given.
        env: variables to set beside those of this process.

    Raises:
        GeneratorError: if it cannot be started.
    """

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.name = Path(arguments[0]).name
        self._files = contextlib.ExitStack()
        folder = self._files.enter_context(temporary_folder("program"))
        self._out, self._err = folder / "out", folder / "err"
        try:
            with self._out.open("wb") as out, self._err.open("wb") as err:
                self._process = subprocess.Popen(  # noqa: S603  the user's command, no shell
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **(env or {})},
                    start_new_session=True,  # so that its children end with it
                )
        except OSError as error:
            self._files.close()
            reason = error.strerror or str(error)
            missing = error.errno in _NOT_THERE
            raise GeneratorError(
                f"cannot start {arguments[0]!r}: {reason}",
                blame="study" if missing else "surroundings",
                hint="install it, or write the path of the program" if missing else None,
            ) from error

    @property
    def status(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._process.poll()

    def failure(self) -> str:
        """Say in one line how it ended, with the last line of its standard error."""
        status = self.status
        how = f"was ended by signal {-status}" if status and status < 0 else f"exited with {status}"
        last = _last_line(self._err) or _last_line(self._out)
        return f"{self.name} {how}" + (f": {last}" if last else "")

    def error(self, otherwise: Blame, *, where: str = "") -> GeneratorError:
        """Return the error of its failure, which blames whom its exit status or its words tell.

        Args:
            otherwise: who is to blame where neither tells.
            where: put before the message.
        """
        status = self.status or 0
        said = _tail(self._err) + _tail(self._out)
        # Ended by a signal: mostly for want of memory, which may be there the next time.
        told = "surroundings" if status < 0 else _STATUSES.get(status) or blame_of(said)
        message = f"{where}: {self.failure()}" if where else self.failure()
        again = told == "surroundings"
        return GeneratorError(message, transient=again, blame=told or otherwise)

    def output(self) -> str:
        """Return the end of what it has printed on its standard output so far."""
        return _tail(self._out, _OUTPUT)

    def wait(self, seconds: float) -> int | None:
        """Wait for its end, at most so long; return its status, None if it still runs."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End it and its children, gently first; do nothing if it has ended."""
        if self.status is None:
            _signal(self._process, gently=True)
            if self.wait(_GRACE) is None:
                _signal(self._process, gently=False)
                self.wait(_GRACE)

    def close(self) -> None:
        """End it and let go of what it said."""
        self.end()
        self._files.close()


def check_program(arguments: Sequence[str]) -> None:
    """Complain if there is no such program.

    Args:
        arguments: of a command line that may still have places for values.

    Raises:
        GeneratorError: which blames the study.
    """
    name = arguments[0]
    if "{" not in name and shutil.which(name) is None:
        hint = "install it, or write the path of the program"
        raise GeneratorError(f"there is no program {name!r}", blame="study", hint=hint)


def run_to_end(arguments: Sequence[str]) -> None:
    """Run a program and wait for it.

    Raises:
        GeneratorError: if it cannot be started, or its exit status is not 0.
    """
    program = Program(arguments)
    try:
        while program.wait(3600) is None:
            continue
        if program.status:
            raise program.error("surroundings")
    finally:
        program.close()


def _tail(path: Path, size: int = _TAIL) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")


def _last_line(path: Path) -> str:
    lines = [line for line in _tail(path).splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""


def _signal(process: subprocess.Popen[bytes], *, gently: bool) -> None:
    """Signal a whole process group where there are such; the program alone elsewhere."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM if gently else signal.SIGKILL)
