"""Downloads a scorer's weights when a person asks for it: resumed, checked, all or nothing.

The file grows beside its place as ``NAME.part`` and is renamed when it is complete and its
checksum is right. A download that is interrupted continues where it was, unless the file has
changed on the server meanwhile.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge.errors import ScorerError, redacted
from bmerge.evaluate.weights import Download
from bmerge.logs import logger
from bmerge.records import dataclass

if TYPE_CHECKING:
    import httpx2

__all__ = ["SUMS", "Fetched", "fetch"]

SUMS = "SHA256SUMS"
"""The file in the folder of the weights that records checksums; ``sha256sum -c`` reads it."""

_ATTEMPTS = 6
_PAUSE = 1.0  # seconds before the second attempt, doubled each time
_CHUNK = 1 << 20
_SILENCE = 60.0  # seconds without a byte after which a connection is given up

_DIRECT = ("localhost", "127.0.0.1", "[::1]")
"""Never asked through a proxy, which is for the world."""


class _Broken(Exception):  # noqa: N818  never leaves this module
    """The connection was cut, or the server is busy: worth another attempt."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that has arrived.

    Args:
        path: where it is.
        sha256: of its content.
        known: whether the checksum was known before, to bmerge or from the server.
    """

    path: Path
    sha256: str
    known: bool


def fetch(
    download: Download,
    root: Path,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Fetched:
    """Download a file to its place below ``root``; an older one there is replaced at the end.

    Args:
        download: what to fetch.
        root: the folder of the scorers' weights.
        progress: called with the bytes that are there and the bytes in all, 0 if not known.

    Returns:
        The file, whose checksum is recorded in :data:`SUMS`.

    Raises:
        ScorerError: if it cannot be had, does not fit the disk or has another checksum.
    """
    path = root / download.place
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stated = _download(download.url, part, progress)
        expected = download.sha256 or stated
        digest = _sha256(part)
        _tag(part).unlink(missing_ok=True)
        if expected not in (None, digest):
            part.unlink()
            raise ScorerError(
                f"{download.url} has the checksum {digest}, expected {expected}; it was removed",
                hint="the file was changed or damaged on its way; try again",
            )
        part.replace(path)
        _record(root, download.place, digest)
    except OSError as error:
        raise ScorerError(f"{path} cannot be written: {error.strerror or error}") from error
    return Fetched(path, digest, known=expected is not None)


def _download(url: str, part: Path, progress: Callable[[int, int], None]) -> str | None:
    """Fill ``part``, with further attempts where that may help; return the server's sha256."""
    import httpx2

    limits = httpx2.Timeout(_SILENCE, connect=15.0)
    direct = {f"all://{host}": None for host in _DIRECT}
    with httpx2.Client(follow_redirects=True, timeout=limits, mounts=direct) as client:
        for attempt in range(1, _ATTEMPTS + 1):
            before = _size(part)
            try:
                return _attempt(client, url, part, progress)
            except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError) as error:
                message = f"this is not an address: {url}"
                raise ScorerError(message, blame="study", hint="look at HF_ENDPOINT") from error
            except (httpx2.RequestError, _Broken) as error:
                reason = str(error) or type(error).__name__
                if attempt == _ATTEMPTS:
                    raise _given_up(url, part, reason) from error
                logger(__name__).info("%s: %s; attempt %d", redacted(url), reason, attempt + 1)
            if _size(part) <= before:  # it gets on as it is, if slowly
                time.sleep(_PAUSE * 2 ** (attempt - 1))
    raise AssertionError("unreachable: the last attempt returns or raises")


def _attempt(
    client: httpx2.Client, url: str, part: Path, progress: Callable[[int, int], None]
) -> str | None:
    have, tag = _size(part), _tag(part)
    known = tag.read_text(encoding="ascii") if have and tag.is_file() else ""
    asked = {"Range": f"bytes={have}-", "If-Range": known} if known else {}
    with client.stream("GET", url, headers={"Accept-Encoding": "identity", **asked}) as response:
        if response.status_code == 416:  # the rest of a file that has no rest, or is shorter now
            part.unlink()
            raise _Broken("the server has less than what is here")
        _check(response, url)
        resumed = response.status_code == 206 and _begins_at(response, have)
        have = have if resumed else 0
        total = have + _length(response)
        _check_space(part, total - have)
        tag.write_text(response.headers.get("ETag", ""), encoding="ascii")
        with part.open("ab" if resumed else "wb") as file:
            for piece in response.iter_raw():
                file.write(piece)
                have += len(piece)
                progress(have, total)
    if total and have != total:
        raise _Broken(f"{have} of {total} bytes came")
    return _stated_sha256(response)


def _check(response: httpx2.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status >= 500 or status in (408, 429):
        raise _Broken(f"{status} {response.reason_phrase}")
    raise ScorerError(
        f"{url} cannot be fetched: {status} {response.reason_phrase}".rstrip(),
        hint="look at its page: it may have moved, or ask for an agreement",
    )


def _length(response: httpx2.Response) -> int:
    """Return how many bytes are to come, 0 if the server does not say."""
    stated = response.headers.get("Content-Length", "")
    return int(stated) if re.fullmatch(r"\d{1,18}", stated) else 0


def _begins_at(response: httpx2.Response, position: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {position}-")


def _stated_sha256(response: httpx2.Response) -> str | None:
    """Return the checksum that the hub states of a large file: its tag, before the redirection."""
    for answer in (*response.history, response):
        tag = answer.headers.get("X-Linked-ETag", "").strip('"').lower()
        if re.fullmatch(r"[0-9a-f]{64}", tag):
            return str(tag)
    return None


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        text = f"{needed / 1e9:.2f} GB are missing and {free / 1e9:.2f} GB are free"
        raise ScorerError(f"no room for {part.parent}: {text}")


def _given_up(url: str, part: Path, reason: str) -> ScorerError:
    have = _size(part)
    text = f"{url}: {reason}" + (f"; {have / 1e6:.1f} MB are kept" if have else "")
    connection = "is there a connection? HF_ENDPOINT names a mirror"
    hint = "run the same command again to continue" if have else connection
    return ScorerError(text, transient=True, hint=hint)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _tag(part: Path) -> Path:
    """Return the file that holds the server's tag of what ``part`` is the beginning of."""
    return part.with_name(f"{part.name}.etag")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _record(root: Path, place: Path, digest: str) -> None:
    """Note a checksum as ``sha256sum`` does, in place of an older one of the same file."""
    sums, part = root / SUMS, root / f"{SUMS}.part"
    name = place.as_posix()
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    lines = [line for line in lines if line[66:] != name]
    text = "".join(f"{line}\n" for line in (*lines, f"{digest}  {name}"))
    part.write_text(text, encoding="utf-8")
    part.replace(sums)
