"""The end of the program: at once, where nothing is left that needs the interpreter's own end.

Before a process ends the interpreter takes apart every module and object: a fiftieth of what
a small merge takes, for memory that the system takes back anyway. Where only the standard library,
bmerge and what it is built on have been imported, nothing waits for that. Others' code may: it may
have open files, or output of its own in buffers.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

__all__ = ["leave", "threads_left"]

_OURS = frozenset({"bmerge", "bmerge_plugins", "click", "pluggy"})
"""Packages whose objects can be left as they are."""
_SETTING_UP = frozenset({"__main__", "_distutils_hack", "_virtualenv"})
"""What environments import before a program."""


def leave(status: int) -> None:
    """End the process, or return where the interpreter has to.

    Args:
        status: of the process.
    """
    if _are_others_here():
        if "triton" not in sys.modules:  # which would complain of each of its objects that is left
            gc.freeze()
        return
    atexit._run_exitfuncs()  # noqa: SLF001  it is what the interpreter calls, too
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # of which the interpreter has something to say
        return
    os._exit(status)


def threads_left() -> list[str]:
    """Return the names of the threads that Python waits for at its end."""
    threading = sys.modules.get("threading")
    if threading is None:
        return []
    main = threading.main_thread()
    return [t.name for t in threading.enumerate() if t is not main and not t.daemon]


def _are_others_here() -> bool:
    """Tell whether somebody else's code has been imported, watches this one, or has threads."""
    if sys.getprofile() or sys.gettrace() or threads_left():
        return True
    known = _OURS | _SETTING_UP | sys.stdlib_module_names
    return any(name.partition(".")[0] not in known for name in sys.modules)
