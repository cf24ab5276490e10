"""The scorer over HTTP: any server that is sent a picture and answers with a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from bmerge import Picture, ScorerError, ScorerKind, hookimpl, unfolded
from bmerge_plugins.needs import SERVER
from bmerge_plugins.sample import sample_picture
from bmerge_plugins.scorers._outside import as_scorer_errors, describe, number, png
from bmerge_plugins.servers import Connection, HttpServer

_NAME = "http"
_ANSWER = "score"


class HttpScorer:
    """Posts each picture with its prompt, and reads the score from the answer.

    Args:
        address: where to post to, with its path.
        connection: how it is reached.
    """

    @unfolded
    def __init__(
        self, *, address: str, connection: Connection = Connection(timeout=60.0, retries=2)
    ) -> None:
        self._connect = partial(connection.clients, [address])
        with self._server():
            pass  # or complain of the options

    def check(self, *, paint: bool) -> None:
        """Ask whether the server is there and lets us in, and have a picture judged.

        Raises:
            ScorerError: if not, or its answer is of no use.
        """
        with self._server() as server, as_scorer_errors():
            server.check("")
        if paint:
            self.score([sample_picture()])

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return what the server says of each picture.

        Raises:
            ScorerError: if it fails too often, or answers with something else.
        """
        with self._server() as server:
            return [_ask(server, picture) for picture in pictures]

    @contextmanager
    def _server(self) -> Iterator[HttpServer]:
        """Open the client for one call: nobody tells a scorer when its last one has been."""
        with as_scorer_errors():
            (server,) = self._connect()
        try:
            yield server
        finally:
            server.close()


def _ask(server: HttpServer, picture: Picture) -> float:
    with as_scorer_errors():
        answer = server.post("", {**describe(picture), "image": png(picture.image)})
    if isinstance(answer, dict):
        if _ANSWER not in answer:
            keys = ", ".join(map(str, answer)) or "nothing"
            raise ScorerError(
                f"{server.address}: no {_ANSWER!r} in the answer, but {keys}", blame="study"
            )
        answer = answer[_ANSWER]
    return number(answer, str(server.address))


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "any server that is sent a picture and answers with a number"
    return [ScorerKind(_NAME, HttpScorer, summary, incidental=("address",), needs=SERVER)]
