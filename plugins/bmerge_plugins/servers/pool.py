"""A generator over one or more sessions: each is a server that makes one picture at a time.

The pictures of a trial are spread over the sessions and come out in order. A session that fails
for a passing reason loads the model again and gets another chance; after that, or if its server
is to blame, it is left out for the rest of the trial while others live, with a warning, and asked
again at the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Lock, Thread
from typing import Protocol

from bmerge import GeneratorError, MergedModel, Payload, Picture
from bmerge_plugins.servers.marker import marker
from bmerge_plugins.servers.publish import Place, Published
from bmerge_plugins.servers.work import ServerWork

__all__ = ["PooledSession", "ServerPool"]

_log = logging.getLogger(__name__)

_ROUNDS = 3
_GRACE = 30.0
_AGAIN = 1.0


class PooledSession(Protocol):
    """One server. ``interrupt`` is called from another thread than the rest.

    For each trial: ``ready``, ``load``, then ``picture`` any number of times, with ``load`` again
    after faults.
    """

    @property
    def name(self) -> str:
        """What to call it in messages; without secrets."""

    def ready(self) -> None:
        """Forget an earlier interruption."""

    def answers(self) -> bool:
        """Ask the server once, without patience, whether it is there."""

    def check(self, marker: Published | None, *, paint: bool) -> None:
        """Complain of what would make every trial fail; called before the first.

        Args:
            marker: a tiny checkpoint that the server should see, if there is one.
            paint: whether one small picture may be made, with a model that the server has.

        Raises:
            GeneratorError: if something is wrong.
        """

    def tidy(self) -> None:
        """Forget the marker, which has been taken away."""

    def load(self, checkpoint: Published) -> None:
        """Make the server use a checkpoint; called again after a fault.

        Raises:
            GeneratorError: if it does not.
        """

    def picture(self, payload: Payload) -> Picture:
        """Make a picture with the loaded checkpoint and no other.

        Raises:
            GeneratorError: if that fails.
        """

    def interrupt(self) -> None:
        """Make a running ``load`` or ``picture`` end soon, in whatever way, until ``ready``."""

    def close(self) -> None:
        """Release the server."""


class ServerPool:
    """Implements :class:`bmerge.Generator` over sessions.

    Args:
        sessions: each with the place where its server looks for models.
        here: whether all servers run on this machine and read its files by their own paths.
    """

    takes_files = True

    def __init__(
        self, sessions: Sequence[tuple[PooledSession, Place]], *, here: bool = False
    ) -> None:
        self._here = here
        self._sessions = [session for session, _ in sessions]
        self._places = [place for _, place in sessions]
        self._published: dict[Place, Published] = {}
        self._leftovers: list[Published] = []
        self._publishing = Lock()
        self._live: list[PooledSession] = []
        self._out: set[PooledSession] = set()
        self.handed_over = 0.0

    def check(self, *, paint: bool) -> None:
        """Ask every server whether it will do; one that does not is told while others do.

        Raises:
            GeneratorError: if no server does, or the study asks for what one does not have.
        """
        errors: list[tuple[PooledSession, GeneratorError]] = []
        with ExitStack() as stack:
            stack.callback(self._tidy)
            markers = {p: stack.enter_context(marker(p)) for p in dict.fromkeys(self._places)}
            for session, place in zip(self._sessions, self._places, strict=True):
                session.ready()
                try:
                    session.check(markers[place], paint=paint)
                except GeneratorError as error:
                    if error.blame != "surroundings":
                        raise
                    errors.append((session, error))
        if len(errors) == len(self._sessions):
            raise errors[0][1]
        for session, reason in errors:
            _log.warning("%s cannot be used: %s", session.name, reason)

    def load(self, model: MergedModel) -> None:
        """Bring the merge to all servers.

        Raises:
            GeneratorError: if no server takes it.
        """
        self._withdraw()
        self.handed_over = 0.0
        # Caches of file systems between machines may hold on to what a file has had.
        file = model.file(lent=self._here)
        # Long patience with a server that failed just now would hold up every trial.
        asked = [one for one in self._sessions if one not in self._out or one.answers()]
        try:
            self._live = self._load_all(asked or self._sessions, file)
        except BaseException:
            self._withdraw()
            raise

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        """Yield the pictures in order; the caller may stop at any.

        Raises:
            GeneratorError: if a picture could not be made by any server.
        """
        work = ServerWork(len(payloads), len(self._live))
        threads = {
            session: Thread(target=self._serve, args=(session, payloads, work), daemon=True)
            for session in self._live
        }
        for thread in threads.values():
            thread.start()
        try:
            for index in range(len(payloads)):
                yield work.result(index)
        finally:
            _end(threads, work)
            self._withdraw()

    def close(self) -> None:
        """Release all servers and take the last checkpoint away."""
        for session in self._sessions:
            _quietly(session.close, f"closing {session.name}")
        self._withdraw()

    def _tidy(self) -> None:
        for session in self._sessions:
            _quietly(session.tidy, f"tidying up {session.name}")

    def _load_all(self, sessions: Sequence[PooledSession], file: Path) -> list[PooledSession]:
        """Load on all servers at once; return those that did."""
        for session in sessions:
            session.ready()
        threads = ThreadPoolExecutor(len(sessions), "bmerge-load")
        answers = {one: threads.submit(self._try_load, one, file) for one in sessions}
        try:
            errors = {session: answer.result() for session, answer in answers.items()}
        except BaseException:  # one that is for good, or Ctrl-C: nobody needs the others
            for session, answer in answers.items():
                if not answer.done():
                    _quietly(session.interrupt, f"interrupting {session.name}")
            raise
        finally:
            threads.shutdown()
        failed = {session: error for session, error in errors.items() if error is not None}
        if len(failed) == len(errors):
            raise next(iter(failed.values()))
        for session, error in failed.items():
            self._leave_out(session, error)
        live = [session for session in sessions if session not in failed]
        self._out.difference_update(live)
        return live

    def _try_load(self, session: PooledSession, file: Path) -> GeneratorError | None:
        """Load; return an error of this server alone, raise one that others would have, too."""
        place = self._places[self._sessions.index(session)]
        try:
            with self._publishing:
                if place not in self._published:
                    start = time.perf_counter()
                    self._published[place] = place.publish(file)
                    self.handed_over += time.perf_counter() - start
            session.load(self._published[place])
        except GeneratorError as error:
            if error.blame == "surroundings":
                return error
            raise
        return None

    def _leave_out(self, session: PooledSession, error: GeneratorError) -> None:
        self._out.add(session)
        _log.warning("%s is left out of this trial: %s", session.name, error)

    def _of(self, session: PooledSession) -> Published:
        return self._published[self._places[self._sessions.index(session)]]

    def _serve(self, session: PooledSession, payloads: Sequence[Payload], work: ServerWork) -> None:
        """Make pictures until there is nothing left to do; the body of a thread."""
        while (index := work.take()) is not None:
            try:
                work.put(index, self._picture(session, payloads[index], work))
            except GeneratorError as error:
                if error.blame != "surroundings":
                    return work.fail(error)
                if work.leave(index, error):
                    self._leave_out(session, error)
                return None
            except BaseException as error:  # noqa: BLE001  raised in the caller's thread
                return work.fail(error)
        return None

    def _picture(self, session: PooledSession, payload: Payload, work: ServerWork) -> Picture:
        for left in reversed(range(_ROUNDS)):
            try:
                return session.picture(payload)
            except GeneratorError as error:
                if not error.transient or not left or work.over():
                    raise
                _log.info("%s; loading the model again", error)
            # The server may have been started anew, or given another model by somebody.
            session.load(self._of(session))
        raise AssertionError("unreachable: the last round returns or raises")

    def _withdraw(self) -> None:
        """Take the checkpoint away from all places; what fails is tried again the next time."""
        self._leftovers += self._published.values()
        self._published.clear()
        self._leftovers = [
            published
            for published in self._leftovers
            if not _quietly(published.withdraw, f"removing {published.name}")
        ]


def _end(threads: Mapping[PooledSession, Thread], work: ServerWork) -> None:
    """Stop the workers and wait for them, but not for ever."""
    work.stop()
    ends = time.monotonic() + _GRACE
    while alive := [session for session, thread in threads.items() if thread.is_alive()]:
        if time.monotonic() > ends:
            names = ", ".join(session.name for session in alive)
            _log.warning("%s: still at work on a picture that nobody wants", names)
            return
        # All pictures made: nothing of ours runs, and an interruption would hit somebody else's.
        # Again and again, since one that comes before its request does nothing.
        for session in alive if not work.complete() else []:
            _quietly(session.interrupt, f"interrupting {session.name}")
        for session in alive:
            threads[session].join(_AGAIN / len(alive))


def _quietly(action: Callable[[], None], what: str) -> bool:
    """Do what may fail without harm; return whether it went well."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  whatever it is, the pictures are already made
        _log.warning("%s failed: %s", what, error)
        return False
    return True
