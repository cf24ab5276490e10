"""A generator over one or more sessions: each is a server that makes one picture at a time.

The pictures of a trial are spread over the sessions and come out in order. A session that fails
for a passing reason loads the model again and gets another chance; after that it is left out for
the rest of the trial while others live, with a warning, and asked again at the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Protocol

from bmerge import GeneratorError, MergedModel, Payload, Picture
from bmerge_plugins.servers.publish import Place, Published
from bmerge_plugins.servers.work import Work

__all__ = ["ServerPool", "Session"]

_log = logging.getLogger(__name__)

_ROUNDS = 3
_GRACE = 30.0


class Session(Protocol):
    """One server. ``interrupt`` is called from another thread than the rest.

    For each trial: ``ready``, ``load``, then ``picture`` any number of times, with ``load`` again
    after faults.
    """

    @property
    def name(self) -> str:
        """What to call it in messages; without secrets."""

    def ready(self) -> None:
        """Forget an earlier interruption."""

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
    """

    def __init__(self, sessions: Sequence[tuple[Session, Place]]) -> None:
        self._sessions = [session for session, _ in sessions]
        self._places = [place for _, place in sessions]
        self._published: dict[Place, Published] = {}
        self._leftovers: list[Published] = []
        self._live: list[Session] = []

    def load(self, model: MergedModel) -> None:
        """Bring the merge to all servers.

        Raises:
            GeneratorError: if no server takes it.
        """
        self._withdraw()
        file = model.file()
        try:
            for place in self._places:
                if place not in self._published:
                    self._published[place] = place.publish(file)
            for session in self._sessions:
                session.ready()
            self._live = self._load_all()
        except BaseException:
            self._withdraw()
            raise

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        """Yield the pictures in order; the caller may stop at any.

        Raises:
            GeneratorError: if a picture could not be made by any server.
        """
        work = Work(len(payloads), len(self._live))
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

    def _load_all(self) -> list[Session]:
        """Load on all servers at once; return those that did."""
        threads = ThreadPoolExecutor(len(self._sessions), "bmerge-load")
        answers = {session: threads.submit(self._try_load, session) for session in self._sessions}
        try:
            errors = [answer.result() for answer in answers.values()]
        except BaseException:  # one that is for good, or Ctrl-C: nobody needs the others
            for session, answer in answers.items():
                if not answer.done():
                    _quietly(session.interrupt, f"interrupting {session.name}")
            raise
        finally:
            threads.shutdown()
        pairs = list(zip(self._sessions, errors, strict=True))
        live = [session for session, error in pairs if error is None]
        failed = [(session, error) for session, error in pairs if error is not None]
        if not live:
            raise failed[0][1]
        for session, error in failed:
            _log.warning("%s is left out of this trial: %s", session.name, error)
        return live

    def _try_load(self, session: Session) -> GeneratorError | None:
        """Load; return a passing error, raise one that is for good."""
        try:
            session.load(self._of(session))
        except GeneratorError as error:
            if error.transient:
                return error
            raise
        return None

    def _of(self, session: Session) -> Published:
        return self._published[self._places[self._sessions.index(session)]]

    def _serve(self, session: Session, payloads: Sequence[Payload], work: Work) -> None:
        """Make pictures until there is nothing left to do; the body of a thread."""
        while (index := work.take()) is not None:
            try:
                work.put(index, self._picture(session, payloads[index], work))
            except GeneratorError as error:
                if not error.transient:
                    return work.fail(error)
                if work.leave(index, error):
                    _log.warning("%s is left out of this trial: %s", session.name, error)
                return None
            except BaseException as error:  # noqa: BLE001  raised in the caller's thread
                return work.fail(error)
        return None

    def _picture(self, session: Session, payload: Payload, work: Work) -> Picture:
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


def _end(threads: Mapping[Session, Thread], work: Work) -> None:
    """Stop the workers and wait for them, but not for ever."""
    work.stop()
    # All pictures made: nothing of ours runs, and an interruption would hit somebody else's.
    if not work.complete():
        for session, thread in threads.items():
            if thread.is_alive():
                _quietly(session.interrupt, f"interrupting {session.name}")
    for session, thread in threads.items():
        thread.join(_GRACE)
        if thread.is_alive():
            _log.warning("%s does not stop working on a picture that nobody wants", session.name)


def _quietly(action: Callable[[], None], what: str) -> bool:
    """Do what may fail without harm; return whether it went well."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  whatever it is, the pictures are already made
        _log.warning("%s failed: %s", what, error)
        return False
    return True
