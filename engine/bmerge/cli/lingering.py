"""Threads of plugins that keep the process after a command has ended."""

from __future__ import annotations

import threading
import time

from bmerge.cli import signals
from bmerge.cli.output import note

__all__ = ["tell_of_threads"]

_SECONDS = 3.0
"""What ends sooner is not worth a word."""


def tell_of_threads() -> None:
    """Say for which threads Python waits at its end, if it does; a signal ends that."""
    if _left():
        threading.Thread(target=_tell, name="lingering", daemon=True).start()


def _left() -> list[str]:
    """Return the names of threads that Python waits for."""
    main = threading.main_thread()
    return [t.name for t in threading.enumerate() if t is not main and not t.daemon]


def _tell() -> None:
    time.sleep(_SECONDS)
    if names := _left():
        signals.finish()
        which = ", ".join(map(repr, dict.fromkeys(names)))
        threads = "thread" if len(names) == 1 else "threads"
        note(f"waiting for the {threads} {which} of a plugin to end; Ctrl-C ends it now")
