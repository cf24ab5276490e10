"""Loads the plugins that a study or a recipe names, so that nobody has to give them again.

A study file is its user's own: it names programs to be run, too, and its plugins are loaded as
if they were given by ``--plugin``. A recipe, or what a stored study says, is data: a file is
loaded only if the user has loaded the same code before, see :mod:`.known_code`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bmerge.errors import PluginError
from bmerge.host import discovery
from bmerge.host.code import code_sha256
from bmerge.host.known_code import known_place, remember
from bmerge.host.manager import PluginHost
from bmerge.host.records import PluginRecord
from bmerge.logs import logger
from bmerge.recipe.schema import PluginRef

__all__ = ["load_named", "load_required"]


def load_named(host: PluginHost, refs: Iterable[PluginRef], folder: Path) -> None:
    """Load the plugins that a study file names.

    Args:
        host: the plugins of this run.
        refs: as the file has them.
        folder: that relative paths start from.

    Raises:
        PluginError: if one is not there, is broken, or is other code than the file asks for.
    """
    for ref in refs:
        if ref.path is None:
            _check_installed(host, ref, "the study")
            continue
        path = folder / Path(ref.path).expanduser()
        for candidate in discovery.of_path(path):
            assert candidate.file is not None
            found = code_sha256(candidate.file)
            if ref.sha256 not in {None, found}:
                message = f"{ref.path} is not the plugin that the study file asks for"
                raise PluginError(message, hint=f"its sha256 is {found}, not {ref.sha256}")
            if not (host.has_file(candidate.file) or _is_loaded(host, candidate.file, found)):
                host.add(candidate)
                remember(candidate.file)


def load_required(host: PluginHost, refs: Iterable[PluginRef], who: str) -> None:
    """Load the plugins that a recipe or a stored study needs, if their code is known.

    Args:
        host: the plugins of this run.
        refs: as they were recorded.
        who: needs them, for messages.

    Raises:
        PluginError: if one is not installed, or its code was never loaded by the user.
    """
    for ref in refs:
        if ref.path is None:
            _check_installed(host, ref, who)
            continue
        given = next((r for r in host.files if r.name == Path(ref.path).stem), None)
        if given is not None:
            _compare(given, ref, who)
            continue
        place = known_place(ref.sha256) if ref.sha256 else None
        if place is None:
            raise _unknown(ref, who)
        (candidate,) = discovery.of_path(place)
        host.add(candidate)


def _is_loaded(host: PluginHost, file: Path, digest: str) -> bool:
    """Tell whether a file is loaded already, from here or as a copy."""
    return any(
        record.file is not None and record.ref is not None and record.ref.sha256 == digest
        for record in host.files
        if record.name == file.stem
    )


def _check_installed(host: PluginHost, ref: PluginRef, who: str) -> None:
    """Check that a distribution is there, and tell if it is not the same."""
    found = host.of_distribution(str(ref.distribution))
    if not found:
        message = f"{who} needs the plugin {ref}, which is not loaded"
        raise PluginError(message, hint="install it, if you trust whoever made it")
    if ref.version not in {None, found[0].version}:
        logger(__name__).warning("%s was made with %s, here is %s", who, ref, found[0].version)
    elif _is_other_code(found, ref):
        logger(__name__).warning("%s was made with other code of %s than is here", who, ref)


def _is_other_code(
    found: Iterable[PluginRecord | discovery.PluginCandidate], ref: PluginRef
) -> bool:
    """Tell whether no plugin of a distribution has the code that was recorded."""
    refs = [record.ref for record in found if isinstance(record, PluginRecord)]
    if ref.sha256 is None or not refs:
        return False
    return all(known and known.sha256 != ref.sha256 for known in refs)


def _compare(given: PluginRecord, ref: PluginRef, who: str) -> None:
    """Tell if a plugin that was given is not the one that was recorded."""
    here = given.ref
    if here is not None and ref.sha256 not in {None, here.sha256}:
        logger(__name__).warning("%s was made with other code of the plugin %s", who, given.file)


def _unknown(ref: PluginRef, who: str) -> PluginError:
    """Return the error for code that the user has not loaded before, or has changed since."""
    path = Path(str(ref.path))
    if ref.sha256 and path.is_file() and code_sha256(path) != ref.sha256:
        message = f"{who} needs the plugin {path}, which was changed since"
        return PluginError(message, hint=f"--plugin {path} takes it as it is now")
    message = f"{who} needs the plugin {path}, which is not known here"
    hint = f"it is code: read it, and load it by --plugin {path} if you trust it"
    return PluginError(message, hint=hint)
