"""SHA-256 of checkpoint files, computed once per file and remembered.

A model is hashed at about 1.5 GB/s, which takes longer than merging it, so results are kept in
``$XDG_CACHE_HOME/bmerge/sha256.json`` under the file's absolute path, size and the times at which
it was written and replaced, those of the 2,000 files that were hashed last. A cache that cannot be
read or written is ignored: it only costs time. So are those of what lies after a file's header
(``content.json``), by which Civitai knows a file whose metadata changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint
from bmerge.formats.target import SAFETENSORS_SUFFIXES, write_file
from bmerge.records import dataclass

__all__ = [
    "Digests",
    "cache_folder",
    "cached_digests",
    "cached_sha256",
    "checkpoint_sha256",
    "digests_of",
    "known_sha256",
    "legacy_hash_of",
    "remembered",
    "sha256_of",
]

_CHUNK = 1 << 20
_WHOLE, _CONTENT = "sha256", "content"
_LEGACY = 0x100000, 0x10000
_KEPT = 2000  # each look reads the whole list
_LOCK = threading.Lock()


def sha256_of(path: Path, *, stop: Callable[[], bool] = lambda: False) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits.

    Args:
        path: the file.
        stop: asked after every MiB; when it says True, hashing ends at once.

    Raises:
        FormatError: if the file cannot be read, or changes meanwhile.
        InterruptedError: if ``stop`` said so.
    """
    known = cached_sha256(path)
    if known is not None:
        return known
    try:
        with _same_file(path) as identity:
            digest = _digest(path, stop)
    except InterruptedError:
        raise
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error
    _remember(identity, digest)
    return digest


def cached_sha256(path: Path) -> str | None:
    """Return a file's SHA-256 if it is remembered and the file has not changed since."""
    try:
        return _load().get(_identity(path))
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Digests:
    """The SHA-256 of a file and of what is in it, as far as they are known.

    Args:
        whole: of all bytes.
        content: of the bytes after the header of a safetensors file; None of any other.
    """

    whole: str | None
    content: str | None


def cached_digests(path: Path) -> Digests:
    """Return what is remembered of a file that has not changed since."""
    try:
        identity = _identity(path)
    except OSError:
        return Digests(None, None)
    return Digests(_load().get(identity), _load(_CONTENT).get(identity))


def digests_of(path: Path) -> Digests:
    """Return both digests of a file, which is read once unless they are remembered.

    Raises:
        FormatError: if it cannot be read, or changes meanwhile.
    """
    known, start = cached_digests(path), _content_start(path)
    if known.whole is not None and (known.content is not None or start is None):
        return known
    whole, content = _sha256(), _sha256()
    try:
        with _same_file(path) as identity:
            at = 0
            for data in _chunks(path):
                whole.update(data)
                if start is not None and at + len(data) > start:
                    content.update(data[max(0, start - at) :])
                at += len(data)
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error
    found = Digests(whole.hexdigest(), None if start is None else content.hexdigest())
    for digest, kind in ((found.whole, _WHOLE), (found.content, _CONTENT)):
        if digest is not None:
            _remember(identity, digest, kind)
    return found


def legacy_hash_of(path: Path) -> str | None:
    """Return the eight digits by which early web UIs knew a file: AutoV1.

    They are of 64 kB from the second MiB on, so files of one layout and header often share them;
    of a smaller file there are none.

    Raises:
        FormatError: if it cannot be read.
    """
    begin, length = _LEGACY
    try:
        with path.open("rb") as file:
            file.seek(begin)
            data = file.read(length)
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error
    digest = _sha256()
    digest.update(data)
    return str(digest.hexdigest())[:8] if data else None


def _content_start(path: Path) -> int | None:
    """Return the first byte after the header of a safetensors file."""
    if path.suffix.lower() not in SAFETENSORS_SUFFIXES:
        return None
    try:
        with path.open("rb") as file:
            return 8 + int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error


def remembered(digest: str) -> list[Path]:
    """Return the files that had a SHA-256 when they were hashed, and have not changed since."""
    found = []
    for identity, known in _load().items():
        path = Path(identity.rsplit("|", 2)[0])
        with contextlib.suppress(OSError):
            if known == digest and _identity(path) == identity:
                found.append(path)
    return found


def checkpoint_sha256(checkpoint: Checkpoint, *, stop: Callable[[], bool] = lambda: False) -> str:
    """Return the SHA-256 that identifies a checkpoint.

    Of one file it is the hash of its bytes. Of several it is the hash of the lines
    ``{sha256}  {name}\\n``, one per shard in order of name, as ``sha256sum`` prints them.

    Raises:
        FormatError: if a file cannot be read.
        InterruptedError: if ``stop`` said so.
    """
    files = _files_of(checkpoint)
    return _of_all(files, [sha256_of(file, stop=stop) for file in files])


def known_sha256(checkpoint: Checkpoint) -> str | None:
    """Return the SHA-256 that identifies a checkpoint if those of its files are remembered."""
    files = _files_of(checkpoint)
    hashes = [digest for file in files if (digest := cached_sha256(file)) is not None]
    return _of_all(files, hashes) if len(hashes) == len(files) else None


def _files_of(checkpoint: Checkpoint) -> list[Path]:
    if checkpoint.path.is_file() and checkpoint.path.suffix != ".json":
        return [checkpoint.path]  # also of a .ckpt that was unpacked into a temporary file
    return sorted(checkpoint.files, key=lambda file: file.name)


def _of_all(files: Sequence[Path], hashes: Sequence[str]) -> str:
    if len(files) == 1:
        return hashes[0]
    lines = (f"{digest}  {file.name}\n" for digest, file in zip(hashes, files, strict=True))
    digest = _sha256()
    digest.update("".join(lines).encode())
    return str(digest.hexdigest())


def _digest(path: Path, stop: Callable[[], bool]) -> str:
    digest = _sha256()
    for data in _chunks(path):
        digest.update(data)
        if stop():
            raise InterruptedError(f"hashing {path} was stopped")
    return str(digest.hexdigest())


def _sha256() -> Any:
    import hashlib  # it brings OpenSSL, which takes as long to load as a small file to hash

    return hashlib.sha256()


def _chunks(path: Path) -> Iterator[memoryview]:
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(_CHUNK)
        view = memoryview(buffer)
        while count := file.readinto(buffer):
            yield view[:count]


@contextlib.contextmanager
def _same_file(path: Path) -> Iterator[str]:
    """Give what a file is known by; complain if that is another one after it was read.

    Raises:
        FormatError: then.
    """
    identity = _identity(path)
    yield identity
    if _identity(path) != identity:
        message = f"{path}: it was changed while its hash was computed"
        hint = "wait until nothing writes to it, and run the same command again"
        raise FormatError(message, path=path, hint=hint)


def _identity(path: Path) -> str:
    """Return what must be unchanged for a remembered hash to hold.

    Copies may take over the time at which a file was written, so it alone tells too little.
    """
    status = path.stat()
    times = f"{status.st_mtime_ns}+{status.st_ctime_ns}"
    return f"{path.resolve()}|{status.st_size}|{times}"


def cache_folder() -> Path:
    """Return the folder in which bmerge keeps what it can make again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bmerge"


def _cache_file(kind: str) -> Path:
    return cache_folder() / f"{kind}.json"


def _load(kind: str = _WHOLE) -> dict[str, str]:
    """Return the remembered hashes, without whatever in the file is none."""
    try:
        entries = json.loads(_cache_file(kind).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {
        identity: digest
        for identity, digest in entries.items()
        if isinstance(digest, str) and len(digest) == 64
    }


def _with_entry(entries: dict[str, str], identity: str, digest: str) -> dict[str, str]:
    """Return the newest ``entries`` and one more, without what its file had earlier."""
    path = identity.rsplit("|", 2)[0]
    others = [entry for entry in entries.items() if entry[0].rsplit("|", 2)[0] != path]
    return dict([*others[1 - _KEPT :], (identity, digest)])


def _remember(identity: str, digest: str, kind: str = _WHOLE) -> None:
    """Add one hash to the cache file; the file is replaced as a whole."""
    path = _cache_file(kind)
    with _LOCK, contextlib.suppress(OSError, FormatError):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(_with_entry(_load(kind), identity, digest), indent=0)
        write_file(path, content.encode(), sync=False)
