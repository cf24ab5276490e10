"""What bmerge says in its logs, told on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bmerge.cli.output import note
from bmerge.cli.session import Session
from bmerge.logs import prepared

__all__ = ["show_trace", "told_by"]


def show_trace(error: BaseException) -> None:
    """Print where an error came from, for ``--debug``."""
    import traceback  # few commands fail

    note("".join(traceback.format_exception(error)).rstrip(), lines=True)


@contextmanager
def told_by(session: Session) -> Iterator[None]:
    """Write bmerge's own warnings to stderr, one line each; with ``--debug`` tracebacks too.

    Args:
        session: that says whether there is ``--debug``.
    """
    with ExitStack() as stack, prepared(lambda: _listen(session, stack)):
        yield


def _listen(session: Session, stack: ExitStack) -> None:
    import logging  # little is said

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            traced = record.exc_info and record.exc_info[1] if session.debug else None
            if record.levelno >= logging.WARNING or traced:
                note(f"{record.levelname.lower()}: {record.getMessage()}")
            if traced:
                show_trace(traced)

    bmerge, handler = logging.getLogger("bmerge"), Handler()
    stack.callback(bmerge.setLevel, bmerge.level)
    stack.callback(bmerge.removeHandler, handler)
    bmerge.addHandler(handler)
    if session.debug:
        bmerge.setLevel(logging.DEBUG)
