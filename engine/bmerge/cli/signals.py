"""Signals: the first one ends a command in good order, a second one ends it at once.

Ctrl-C, SIGTERM and SIGHUP (Ctrl-Break on Windows) all become one KeyboardInterrupt in the main
thread: what is finished is stored, temporaries are removed, servers and programs are closed. A
second one (but not a second SIGHUP: a terminal that closes may send several) ends the process
wherever it is, also in native code and at the interpreter's end, without a word; programs that it
started end with it. When a console of Windows closes, the system ends the process before it can do
any of that; what it leaves is known by its name.

Signals that were ignored when bmerge was started (nohup, background jobs) stay ignored. This
module imports next to nothing, because it must be there before everything else.
"""

from __future__ import annotations

import _thread
import os
import sys
import time

TYPE_CHECKING = False  # typing itself takes as long to import as all of this
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    import _signal as signal  # the same without enumerations

__all__ = ["finish", "hand_over", "received", "settle", "status", "watch"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_SEVERAL = getattr(signal, "SIGHUP", None)
"""What does not end the process when it comes again."""


class _State:
    """What has happened in this process."""

    first: int | None = None  # the signal that ends the command
    settled = False  # whether its work is done, so that nothing is left to be interrupted
    finished = False  # whether only threads of others keep the process
    lost = False  # whether the interrupt was swallowed and must be raised again
    echoes = 0  # signals that we sent ourselves, for the watcher to pass over


def watch() -> None:
    """Take the process's signals, but those that are ignored."""
    taken = (signal.SIG_DFL, signal.default_int_handler)
    for number in _SIGNALS:
        if signal.getsignal(number) in taken:
            signal.signal(number, _on_signal)
    reading, writing = os.pipe()
    if sys.platform != "win32":
        sys.unraisablehook = _on_unraisable
        os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _thread.start_new_thread(_watcher, (reading,))


def hand_over() -> None:
    """Let somebody else in this process say what a further signal does, as a web server does."""
    if signal.getsignal(signal.SIGINT) is _on_signal:
        signal.set_wakeup_fd(-1)


def settle() -> None:
    """Say that the command's work is done: a first signal has nothing to interrupt any more."""
    _State.settled = True


def finish() -> None:
    """Say that nothing is left but threads of others: a first signal ends the process."""
    _State.finished = True


def received() -> bool:
    """Tell whether a signal came that ends the command."""
    return _State.first is not None


def status() -> int:
    """Return the exit status of an interrupted command: 128 and the number of the signal."""
    return 128 + (_State.first or signal.SIGINT)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Interrupt the main thread at the first signal; end the process at the second."""
    del frame
    if _State.lost:
        _State.lost = False
        raise KeyboardInterrupt
    if _State.first is not None:
        if number != _SEVERAL:
            _end(number)
    else:
        _State.first = number
        if _State.finished:
            _end(number)
        if not _State.settled:
            raise KeyboardInterrupt


def _watcher(reading: int) -> None:
    """End the process at the second signal while the main thread is busy in native code."""
    seen = 0
    while number := os.read(reading, 1):
        if number[0] not in _SIGNALS:
            continue
        if _State.echoes:
            _State.echoes -= 1
        elif seen and number[0] != _SEVERAL:
            _end(number[0])
        else:
            seen += 1


def _on_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that came where Python cannot raise any, as in a callback."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt) and _State.first is not None:
        _State.lost = True
        _State.echoes += 1
        _thread.start_new_thread(_again, (_State.first,))
    else:
        _tell(unraisable)


def _tell(unraisable: sys.UnraisableHookArgs) -> None:
    """Say in one line what failed where Python can raise nothing, as at the process's end."""
    try:
        from bmerge.cli.output import note
        from bmerge.faults import in_one_line

        where = unraisable.err_msg or "exception ignored in"
        error = unraisable.exc_value or unraisable.exc_type()
        note(f"warning: {where[:1].lower()}{where[1:]}: {in_one_line(error)}")
    except Exception:  # noqa: BLE001  at the very end nothing can be imported
        sys.__unraisablehook__(unraisable)


def _again(number: int) -> None:
    time.sleep(0.05)  # by then the main thread has left the callback, and this hook
    os.kill(os.getpid(), number)  # which wakes the main thread, unlike signal.raise_signal


def _end(number: int) -> None:
    if sys.platform != "win32":
        for child in _children():
            try:
                # A program of a plugin has a session of its own, which its children share.
                (os.killpg if os.getpgid(child) == child else os.kill)(child, signal.SIGKILL)
            except OSError:  # it has ended
                continue
    os._exit(128 + number)


def _children() -> list[int]:
    """Return the processes that this one has started, where the system tells them (Linux)."""
    found: list[int] = []
    try:
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208  nothing is imported here
            with open(f"/proc/self/task/{thread}/children", "rb") as file:  # noqa: PTH123
                found += map(int, file.read().split())
    except OSError:
        pass
    return found
