"""The line on stderr that shows how far a long job is; nothing where stderr is not a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from bmerge.cli.output import human_bytes, human_time, printable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ByteBar", "LiveLine"]

_BAR = 24


class LiveLine:
    """One line that is drawn over and over; a context manager that wipes it at the end.

    Args:
        stream: where it is drawn; None draws where stderr leads to when that is done.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._shown = 0
        self.live = self._stream.isatty()

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wipe()

    def draw(self, text: str) -> None:
        """Show ``text`` in place of what is shown."""
        if not self.live:
            return
        import shutil  # only for a terminal: it brings all compressions

        text = printable(text)[: shutil.get_terminal_size().columns - 1]
        self._write("\r" + text.ljust(self._shown))
        self._shown = len(text)

    def wipe(self) -> None:
        """Clear the line, so that other output can follow."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def say(self, text: str) -> None:
        """Write a line that stays, above the live one."""
        self.wipe()
        self._write(printable(text) + "\n")

    def _write(self, text: str) -> None:
        """Write, or be silent from now on: the terminal has gone, but the job goes on."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self.live = False


class ByteBar:
    """A bar in bytes with rate and time left.

    Args:
        line: where it is shown.
    """

    def __init__(self, line: LiveLine) -> None:
        self._line = line
        self._start = time.monotonic()

    def update(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes are processed; a total of 0 is not known yet."""
        if total:
            self._line.draw(bar_text(done, total, time.monotonic() - self._start))


def bar_text(done: int, total: int, seconds: float) -> str:
    """Return the bar: filled part, bytes, rate and time left.

    Args:
        done: bytes processed.
        total: bytes in all, above 0.
        seconds: that they took.
    """
    filled = "#" * (_BAR * done // total)
    text = f"[{filled:.<{_BAR}}] {100 * done // total:3} %  "
    text += f"{human_bytes(done)} of {human_bytes(total)}"
    if done and seconds > 0:
        rate = done / seconds
        text += f"  {human_bytes(rate)}/s  {human_time((total - done) / rate)} left"
    return text
