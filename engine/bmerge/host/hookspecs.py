"""Every hook that bmerge calls, in one file.

A plugin is a module (or object) with functions of these names, marked with
``bmerge.hookimpl``. It may implement any subset. Hooks that offer things return an iterable of
them; each is called once per process at most, from the thread that first needs such a thing: the
main one, but in programs that start merges or studies in threads of their own. Observers must be
quick: the merge or the study waits for them. An exception in one is logged and stops nothing.
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
    from bmerge.storage.protocol import StorageKind
    from bmerge.trials.trial import Trial

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("bmerge")
hookimpl = pluggy.HookimplMarker("bmerge")


@hookspec
def bmerge_merge_methods() -> Iterable[MergeMethod]:  # type: ignore[empty-body]
    """Offer merge methods: what ``@merge_method`` returns.

    Called once, when a merge method is first needed: by a merge, a study, or a listing.
    """


@hookspec
def bmerge_optimisers() -> Iterable[OptimiserKind]:  # type: ignore[empty-body]
    """Offer optimisers.

    Called once, when a study is prepared, or for a listing.
    """


@hookspec
def bmerge_generators() -> Iterable[GeneratorKind]:  # type: ignore[empty-body]
    """Offer generators.

    Called once, when a study is prepared, or for a listing.
    """


@hookspec
def bmerge_scorers() -> Iterable[ScorerKind]:  # type: ignore[empty-body]
    """Offer scorers.

    Called once, when a study is prepared, or for a listing.
    """


@hookspec
def bmerge_architectures() -> Iterable[Architecture]:  # type: ignore[empty-body]
    """Offer block maps.

    Called once, when a model's architecture is first asked for.
    """


@hookspec
def bmerge_formats() -> Iterable[Format]:  # type: ignore[empty-body]
    """Offer formats of files that hold models.

    Called once, when a file is met whose suffix is none of bmerge's own.
    """


@hookspec
def bmerge_storages() -> Iterable[StorageKind]:  # type: ignore[empty-body]
    """Offer storages of studies.

    Called once, when a study is met whose ``storage`` is an address.
    """


@hookspec
def bmerge_commands(group: click.Group) -> None:
    """Add commands to the ``bmerge`` command line.

    Called once, from the main thread, when the command line names a command that bmerge lacks.
    """


@hookspec
def bmerge_merge_started(plan: Plan) -> None:
    """Observe that a merge is about to run.

    Called once for each merge: by ``bmerge merge`` and :func:`bmerge.merge`, and in a study for
    each trial's merge and for the best one, when it is written. It comes from the thread that
    merges: with several evaluators each has one, and two may call at the same time.
    """


@hookspec
def bmerge_trial_finished(trial: Trial) -> None:
    """Observe a trial that has been stored, complete or failed.

    Called once for each trial of this run, in the order of storing, from the thread that runs the
    study, however many evaluators there are.
    """
