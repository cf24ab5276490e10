"""What a study's results depend on that its file only names: contents of files, code, weights.

A study continues only with the same; so each of these becomes a short text with a SHA-256 in its
definition. What no result depends on is left out, and so is whatever looks like a secret.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture
from bmerge.errors import redacted
from bmerge.evaluate.protocols import Payload
from bmerge.evaluate.weights import scorer_folder
from bmerge.formats import sha256_of
from bmerge.host.catalogue import Catalogue
from bmerge.host.kinds import PluginKind, ScorerKind
from bmerge.system import split_command

__all__ = ["block_map", "code_of", "options_of", "payload_files", "section_of"]

_SECRET = re.compile(
    r"(^|[_-])(password|passwd|passphrase|secret|token|api_?key|credentials?|auth)([_-]|$)",
    re.IGNORECASE,
)
_MODEL_FILES = ("model_index.json", "config.json", "open_clip_config.json")
"""What a folder holds that is a model, as diffusers, transformers and open_clip save it."""
_CODE_OF_MACHINES = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_SMALL = 16 << 20
"""Bytes up to which a file is hashed each time: it may have changed within a tick of the clock."""


def section_of(kinds: Catalogue[Any], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the section of a generator, scorer or optimiser only names.

    Args:
        kinds: all of its kind.
        name: of the generator, scorer or optimiser.
        options: as the study file has them.
    """
    kind = kinds.find(name)
    weights = weights_of(kind, options) if isinstance(kind, ScorerKind) else {}
    section = {"options": options_of(kind, options), **code_of(kinds, name)}
    return {**section, "weights": weights} if weights else section


def code_of(catalogue: Catalogue[Any], name: str) -> dict[str, str]:
    """Return ``code``: where an item comes from, with the hash; nothing if from bmerge itself."""
    record = catalogue.origin(name)
    ref = record.ref if record else None
    if ref is None:
        return {}
    return {"code": f"sha256 {ref.sha256}" if ref.path else f"{ref}, sha256 {ref.sha256}"}


def options_of(kind: PluginKind[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a generator, scorer or optimiser on which results depend.

    A text that names a file, a model's folder, or a command with such a file among its words,
    is followed by the hash of what it names.

    Args:
        kind: of the plugin.
        options: as the study file has them.
    """
    folders = [Path()]
    if isinstance(kind, ScorerKind):
        folders.append(scorer_folder(options.get("scorer_model_dir")))
    plain = kind.essentials(options)
    return {
        name: _with_contents(value, folders)
        for name, value in plain.items()
        if not _SECRET.search(name) and _is_plain(value)
    }


def payload_files(payloads: Iterable[Payload]) -> dict[str, str]:
    """Return the files that the extras of payloads name, with their hashes."""
    found: dict[str, str] = {}
    for payload in payloads:
        for text in _texts(payload.extra):
            if content := _content_of(text, [Path()]):
                found[text] = content
    return found


def weights_of(kind: ScorerKind, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the usual weights of a scorer that are there: place → hash."""
    folder = scorer_folder(options.get("scorer_model_dir"))
    places = {download.place.as_posix(): folder / download.place for download in kind.downloads}
    return {name: f"sha256 {sha256_of(p)}" for name, p in places.items() if p.is_file()}


def block_map(architecture: Architecture, keys: Iterable[str]) -> dict[str, str]:
    """Return the name of an architecture and a hash of the block that it gives each key."""
    lines = "".join(f"{key}\t{architecture.block_of(key)}\n" for key in sorted(keys))
    return {"id": architecture.id, "blocks": f"sha256 {hashlib.sha256(lines.encode()).hexdigest()}"}


def _is_plain(value: object) -> bool:
    """Tell whether a value means the same in the next run: a default can be any object."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _with_contents(value: Any, folders: Sequence[Path]) -> Any:
    """Return a value with the hash of each file that it names, without secrets."""
    if isinstance(value, str):
        return _text_with_contents(value, folders)
    if isinstance(value, list | tuple):
        return [_with_contents(item, folders) for item in value]
    if isinstance(value, Mapping):
        given = {str(name): item for name, item in value.items() if not _SECRET.search(str(name))}
        return dict(_entry(name, item, given, folders) for name, item in given.items())
    return value


def _entry(
    name: str, value: Any, given: Mapping[str, Any], folders: Sequence[Path]
) -> tuple[str, Any]:
    """Return an entry of a mapping; one that is named for a file goes by the file's bare name."""
    inner, content = _with_contents(value, folders), _content_of(name, folders)
    if content is None:
        return name, inner
    bare = [Path(other).name for other in given].count(Path(name).name) == 1
    return Path(name).name if bare else name, [content, inner]


def _text_with_contents(text: str, folders: Sequence[Path]) -> str | dict[str, str]:
    """Return a text, the file that it names, or a command with those among its words."""
    for candidate in (text, text.partition(":")[2]):  # as in local-dir:NAME
        if content := _content_of(candidate, folders):
            return content
    try:
        words = split_command(text)
    except ValueError:
        words = []
    bare = redacted(text)
    files = {word: content for word in words if (content := _content_of(word, folders))}
    return {"text": bare, **files} if files else bare


def _texts(value: Any) -> Iterable[str]:
    """Yield all texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _content_of(text: str, folders: Sequence[Path]) -> str | None:
    """Return name and hash of the file that a text names; None if it names none."""
    path = _found(text, folders)
    return f"{path.name}, sha256 {_digest(path)}" if path else None


def _found(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the file, or the folder of a model, that a name means."""
    for folder in folders if name.strip() else ():
        try:
            path = folder / Path(name).expanduser()
            if path.is_file():
                return None if _is_program(path) else path
            if any((path / each).is_file() for each in _MODEL_FILES):
                return path
        except (OSError, ValueError, RuntimeError):  # no name of a file at all
            continue
    return None


def _is_program(path: Path) -> bool:
    """Tell whether a file is code of the machine: it changes with every update of the system."""
    with path.open("rb") as file:
        return file.read(4).startswith(_CODE_OF_MACHINES)


def _digest(path: Path) -> str:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = (f"{_digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    if path.stat().st_size > _SMALL:
        return sha256_of(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
