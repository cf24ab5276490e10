"""Every hook that bmerge calls, in one file.

A plugin is a module (or object) with functions of these names, marked with
``bmerge.hookimpl``. It may implement any subset. Hooks that offer things return an iterable of
them; they are called once per process, when that kind of thing is first needed, from the main
thread. Observers are called from the thread that runs the merge or the study, and must be
quick; an exception in one is logged and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from bmerge.architectures import Architecture
    from bmerge.formats.registry import Format
    from bmerge.host.kinds import GeneratorKind, OptimiserKind, ScorerKind
    from bmerge.method import MergeMethod
    from bmerge.plan import Plan
    from bmerge.study.storage import StorageKind
    from bmerge.study.trial import Trial

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("bmerge")
hookimpl = pluggy.HookimplMarker("bmerge")


@hookspec
def bmerge_merge_methods() -> Iterable[MergeMethod]:  # type: ignore[empty-body]
    """Offer merge methods: what ``@merge_method`` returns."""


@hookspec
def bmerge_optimisers() -> Iterable[OptimiserKind]:  # type: ignore[empty-body]
    """Offer optimisers."""


@hookspec
def bmerge_generators() -> Iterable[GeneratorKind]:  # type: ignore[empty-body]
    """Offer generators."""


@hookspec
def bmerge_scorers() -> Iterable[ScorerKind]:  # type: ignore[empty-body]
    """Offer scorers."""


@hookspec
def bmerge_architectures() -> Iterable[Architecture]:  # type: ignore[empty-body]
    """Offer block maps."""


@hookspec
def bmerge_formats() -> Iterable[Format]:  # type: ignore[empty-body]
    """Offer formats of files that hold models; called when a suffix is none of bmerge's own."""


@hookspec
def bmerge_storages() -> Iterable[StorageKind]:  # type: ignore[empty-body]
    """Offer storages of studies; asked for when a study's `storage` is an address."""


@hookspec
def bmerge_commands(group: click.Group) -> None:
    """Add commands to the ``bmerge`` command line; called once, before it is parsed."""


@hookspec
def bmerge_merge_started(plan: Plan) -> None:
    """Observe that a merge is about to run.

    Called once for each merge: by ``bmerge merge`` and :func:`bmerge.merge`, and in a study for
    each trial's merge and for the best one, when it is written.
    """


@hookspec
def bmerge_trial_finished(trial: Trial) -> None:
    """Observe a trial that has been stored, complete or failed."""
