"""Threads of plugins that keep the process after a command has ended."""

from __future__ import annotations

import threading
import time

from bmerge.cli import signals
from bmerge.cli.leaving import threads_left
from bmerge.cli.output import note

__all__ = ["tell_of_threads"]

_SECONDS = 3.0
"""What ends sooner is not worth a word."""


def tell_of_threads() -> None:
    """Say for which threads Python waits at its end; a signal ends that."""
    threading.Thread(target=_tell, name="lingering", daemon=True).start()


def _tell() -> None:
    time.sleep(_SECONDS)
    if names := threads_left():
        signals.finish()
        which = ", ".join(map(repr, dict.fromkeys(names)))
        threads = "thread" if len(names) == 1 else "threads"
        note(f"waiting for the {threads} {which} of a plugin to end; Ctrl-C ends it now")
