"""What is on offer: merge methods, optimisers, generators, scorers and architectures, by name.

The one place where names become objects. The rooms below take objects only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge.architectures import Architecture, resolve
from bmerge.architectures.patterns import Contents
from bmerge.formats.registry import Format, offer
from bmerge.formats.unwrapped import recognise_by
from bmerge.host import discovery
from bmerge.host.architectures import Architectures
from bmerge.host.catalogue import Catalogue
from bmerge.host.manager import PluginHost
from bmerge.host.records import PluginRecord
from bmerge.recipe import PluginRef
from bmerge.storage import storages

if TYPE_CHECKING:
    import click

    from bmerge.formats import Checkpoint
    from bmerge.host.kinds import GeneratorKind, OptimiserKind, ScorerKind
    from bmerge.method import MergeMethod
    from bmerge.storage.protocol import StorageKind

__all__ = ["Registry", "load_registry"]


class Registry:
    """Everything that the loaded plugins offer.

    Args:
        host: the loaded plugins; they are asked for each kind when it is first needed.

    Attributes:
        architectures: by id.
        formats: of files, beside bmerge's own; :func:`bmerge.open_checkpoint` knows those of the
            registry that was loaded last.
    """

    def __init__(self, host: PluginHost) -> None:
        self._host = host
        self._required: set[PluginRef] = set()
        self._resolved: tuple[str | None, Checkpoint, list[Any], Architecture] | None = None
        self.architectures = Architectures(host)
        self.formats = Catalogue(host, "bmerge_formats", noun="format", kind=Format)
        offer(self.formats.values)
        recognise_by(self.knows)
        storages.offer(lambda: self.storages.values())  # noqa: PLW0108  made when it is needed

    @cached_property
    def methods(self) -> Catalogue[MergeMethod]:
        """Merge methods by name or alias."""
        from bmerge.method import MergeMethod  # with all that traces them

        return Catalogue(self._host, "bmerge_merge_methods", noun="merge method", kind=MergeMethod)

    def knows(self, keys: Collection[str]) -> bool:
        """Tell whether an architecture recognises the keys of a model."""
        contents = Contents(keys)
        return any(known.certainty(contents) for known in self.architectures.known)

    def architecture_of(self, name: str | None, checkpoint: Checkpoint) -> Architecture:
        """Return the architecture that is named, or that of a checkpoint; the last one is kept.

        Raises:
            ArchitectureError: if there is none of that name.
        """
        known, last = self.architectures.known, self._resolved
        if last is None or last[1] is not checkpoint or (last[0], last[2]) != (name, known):
            found = resolve(name, checkpoint.tensors, known)
            last = self._resolved = name, checkpoint, known, found
        return last[3]

    @cached_property
    def optimisers(self) -> Catalogue[OptimiserKind]:
        """Optimisers by name."""
        from bmerge.host.kinds import OptimiserKind  # a merge needs none

        noun = "optimiser"
        return Catalogue(self._host, "bmerge_optimisers", noun=noun, kind=OptimiserKind)

    @cached_property
    def generators(self) -> Catalogue[GeneratorKind]:
        """Generators by name."""
        from bmerge.host.kinds import GeneratorKind

        noun = "generator"
        return Catalogue(self._host, "bmerge_generators", noun=noun, kind=GeneratorKind)

    @cached_property
    def scorers(self) -> Catalogue[ScorerKind]:
        """Scorers by name."""
        from bmerge.host.kinds import ScorerKind

        return Catalogue(self._host, "bmerge_scorers", noun="scorer", kind=ScorerKind)

    @cached_property
    def storages(self) -> Catalogue[StorageKind]:
        """Storages of studies by name, beside the one that ships."""
        from bmerge.storage.protocol import StorageKind

        return Catalogue(self._host, "bmerge_storages", noun="storage", kind=StorageKind)

    @property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """Every plugin that was found, working or not, sorted by name."""
        return self._host.records

    def method(self, name: str) -> MergeMethod:
        """Return a merge method by name or alias; PluginError with the nearest if unknown."""
        return self.methods.find(name)

    def optimiser(self, name: str) -> OptimiserKind:
        """Return an optimiser by name; PluginError with the nearest if unknown."""
        return self.optimisers.find(name)

    def generator(self, name: str) -> GeneratorKind:
        """Return a generator by name; PluginError with the nearest if unknown."""
        return self.generators.find(name)

    def scorer(self, name: str) -> ScorerKind:
        """Return a scorer by name; PluginError with the nearest if unknown."""
        return self.scorers.find(name)

    def architecture(self, name: str) -> Architecture:
        """Return a block map by id; ArchitectureError with the nearest if unknown."""
        return self.architectures.find(name)

    def add(self, refs: Iterable[PluginRef], folder: Path) -> None:
        """Load the plugins that a study file names; see :func:`.required.load_named`."""
        from bmerge.host.required import load_named

        load_named(self._host, refs, folder)

    def require(self, refs: Iterable[PluginRef], who: str) -> None:
        """Load what a recipe or a stored study needs; see :func:`.required.load_required`."""
        from bmerge.host.required import load_required

        new = [ref for ref in refs if ref not in self._required]
        load_required(self._host, new, who)
        self._required.update(new)

    def plugins_of(self, methods: Iterable[str], architecture: str) -> tuple[PluginRef, ...]:
        """Return the plugins but bmerge's own that a merge needs."""
        origins = [self.methods.origin(name) for name in methods]
        if architecture in self.architectures:
            origins.append(self.architectures.origin(architecture))
        return tuple(dict.fromkeys(r for each in origins if each and (r := each.ref)))

    @property
    def files(self) -> tuple[PluginRef, ...]:
        """The plugins that were loaded by path."""
        return tuple(ref for record in self._host.files if (ref := record.ref))

    def plugin_at(self, file: str) -> str | None:
        """Return the name of the loaded plugin that a file is part of, if there is one."""
        return self._host.plugin_at(file)

    def add_commands(self, group: click.Group) -> None:
        """Let every plugin add its commands to the command line."""
        self._host.observe("bmerge_commands", group=group)

    def observe(self, hook: str, **arguments: Any) -> None:
        """Tell every plugin that implements an observer hook; what one raises is logged."""
        self._host.observe(hook, **arguments)


def load_registry(plugins: Sequence[str] = (), *, blocked: Sequence[str] = ()) -> Registry:
    """Load the installed plugins and those given by path.

    ``BMERGE_PLUGINS``, a comma-separated list of plugin or distribution names, restricts which
    installed ones are loaded; if it is set and empty, none is. An installed plugin that is
    broken is logged and left out.

    Args:
        plugins: paths of plugin files, or of folders with such files.
        blocked: names of plugins, or of distributions, that are not loaded.

    Raises:
        PluginError: if a plugin given by path is broken, or a name fits no plugin.
    """
    candidates = discovery.installed()
    listed = os.environ.get("BMERGE_PLUGINS")
    if listed is not None:
        names = [name.strip() for name in listed.split(",") if name.strip()]
        candidates = discovery.restrict(candidates, names)
    files = [candidate for path in plugins for candidate in discovery.of_path(path)]
    everything = discovery.without([*candidates, *files], blocked)
    host = PluginHost()
    for candidate in everything:
        if candidate.file:  # asked for by path: it must work
            from bmerge.host.known_code import remember

            if not host.has_file(candidate.file):
                host.add(candidate)
            remember(candidate.file)
        elif candidate.hook:
            host.defer(candidate)
        else:
            host.try_add(candidate)
    return Registry(host)
