"""``bmerge.Study``: a study from its file or folder: run it, look at its trials and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from bmerge.api.merging import as_path
from bmerge.errors import StudyError
from bmerge.executors import Executor, ExecutorKeywords, ExecutorOptions, choose_executor
from bmerge.host import Registry, load_registry
from bmerge.host.remote import with_remote_evaluators
from bmerge.host.studies import build_study, take_up
from bmerge.logs import logger
from bmerge.plan import Plan
from bmerge.storage.stored import StoredStudy, read_study
from bmerge.study.events import Event, TrialFinished
from bmerge.study_file.load import load_study
from bmerge.trials.folder import CHECKPOINT, RECIPE
from bmerge.trials.limits import UNLIMITED, Limits
from bmerge.trials.trial import Trial, front_of
from bmerge.trials.winner import winner_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from bmerge.report.figures import Figure
    from bmerge.study_file.config import StudyConfig

__all__ = ["Study"]

PathLike: TypeAlias = "str | Path"


class Study:
    """A study: its file, if it is to run, and the folder of its results.

    Made by :meth:`load`. Whatever it tells is read from the folder when it is asked, so it is
    true while the study runs elsewhere, too.
    """

    def __init__(self, folder: Path, config: StudyConfig | None, registry: Registry) -> None:
        self._folder = folder.absolute()  # a plugin may change the working directory
        self._config, self._registry = config, registry

    @classmethod
    def load(
        cls, path: PathLike, *, out: PathLike | None = None, plugins: Sequence[PathLike] = ()
    ) -> Study:
        """Return the study of a file, or the one whose results lie in a folder.

        Args:
            path: a study file, which can be run; or the folder of a study, which can be looked at.
            out: folder of the results; None takes what the file says.
            plugins: plugin files, or folders of them.

        Raises:
            RecipeError: if the file has a mistake.
            StudyError: if the folder holds no study.
        """
        registry = load_registry([str(plugin) for plugin in plugins])
        place = as_path(path)
        if place.is_dir():
            read_study(place)
            return cls(place, None, registry)
        config = load_study(place)
        registry.add(config.plugins, place.parent)
        return cls(as_path(out) if out is not None else config.out, config, registry)

    def run(
        self,
        *,
        trials: int | None = None,
        pictures: int | None = None,
        minutes: float | None = None,
        patience: float | None = None,
        accept_changes: bool = False,
        retry_failed: bool = False,
        on_event: Callable[[Event], None] | None = None,
        **where: Unpack[ExecutorKeywords],
    ) -> Study:
        """Run the study to its end, or take it up where it was stopped; write best and report.

        Args:
            trials: how many trials it shall have in all. Where this or one of the next two is
                given, it takes the place of all limits of the file.
            pictures: how many pictures its trials take in all.
            minutes: how long its trials take in all.
            patience: minutes to wait for a server, a disk and the like.
            accept_changes: continue with changed files, weights or plugins.
            retry_failed: evaluate failed trials again, before any other.
            on_event: called with each event of :mod:`bmerge.study.events`.
            **where: options of the executor, which go before the file's: ``executor``,
                ``device``, ``memory`` (bytes, or ``"512M"``), ``vram``, ``threads``, ``io``.

        Returns:
            Itself, so that ``Study.load("study.yaml").run().table()`` reads well.

        Raises:
            BmergeError: for whatever is wrong with the study; what is finished stays stored.
        """
        from bmerge.report import write_report
        from bmerge.study.loop import run_study

        config = self._asked(patience)
        for warning in take_up(self._registry, self._folder):
            logger(__name__).warning("%s", warning)
        options = ExecutorOptions(**cast("Any", where)).or_else(config.executor.options)

        def choose(plan: Plan) -> Executor:
            return choose_executor(plan, options=options).executor

        study = build_study(config, self._registry, folder=self._folder, choose=choose)
        study = with_remote_evaluators(study, config, self._registry, options)
        given = Limits(trials, pictures, minutes)
        run_study(
            study, limits=None if given == UNLIMITED else given, on_event=self._teller(on_event),
            accept_changes=accept_changes, retry_failed=retry_failed,
        )  # fmt: skip
        write_report(self._folder)
        return self

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self._folder

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, in the order of their numbers."""
        return tuple(self._stored().trials.values())

    @property
    def best(self) -> Trial | None:
        """The winner; None if no trial is complete. See :mod:`bmerge.trials.winner`."""
        stored = self._stored()
        return winner_of(stored.trials, stored.objectives)

    @property
    def front(self) -> tuple[Trial, ...]:
        """The Pareto front, where there are several objectives."""
        return tuple(front_of(self._stored().trials))

    @property
    def checkpoint(self) -> Path | None:
        """The best merge, if it is written."""
        return self._written(CHECKPOINT)

    @property
    def recipe(self) -> Path | None:
        """Its recipe, if it is written; ``bmerge.merge`` takes it."""
        return self._written(RECIPE)

    @property
    def report(self) -> Path:
        """The report, written anew."""
        from bmerge.report import write_report

        return write_report(self._folder)

    def figures(self) -> Mapping[str, Figure]:
        """Return the report's drawings by name: ``convergence``, ``blocks alpha`` and others.

        A notebook shows each of them; ``page()`` gives one as an HTML page.
        """
        from bmerge.report.figures import draw_figures

        return draw_figures(self._folder)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary for each trial.

        Its keys: ``trial``, ``state``, ``phase``, ``source``, ``score``; each objective, if
        there are several; each scorer's mean; each parameter; ``seconds`` and ``reason``.
        """
        stored = self._stored()
        names = stored.objectives.names if len(stored.objectives.sums) > 1 else ()
        return [_row(trial, names) for trial in stored.trials.values()]

    def table(self) -> Any:
        """Return :meth:`rows` as a pandas ``DataFrame``; the rows themselves without pandas."""
        try:
            import pandas as pd
        except ModuleNotFoundError:
            return self.rows()
        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        return f"<study in {str(self._folder)!r}>"

    def _repr_html_(self) -> str:
        """Show how the search went, in a notebook."""
        try:
            figures = self.figures()
        except StudyError:  # it has not begun
            return f"<p>{self._folder}: no trial yet</p>"
        return "".join(figure._repr_html_() for figure in figures.values())

    def _asked(self, patience: float | None) -> StudyConfig:
        if self._config is None:
            message = f"{self._folder} is the folder of a study, which is run by its file"
            raise StudyError(message, hint="Study.load takes the study file, too")
        return self._config if patience is None else replace(self._config, patience=patience)

    def _stored(self) -> StoredStudy:
        return read_study(self._folder)

    def _written(self, place: Path) -> Path | None:
        file = self._folder / place
        return file if file.exists() else None

    def _teller(self, on_event: Callable[[Event], None] | None) -> Callable[[Event], None]:
        def tell(event: Event) -> None:
            if on_event is not None:
                on_event(event)
            if isinstance(event, TrialFinished):
                self._registry.observe("bmerge_trial_finished", trial=event.trial)

        return tell


def _row(trial: Trial, objectives: Sequence[str]) -> dict[str, Any]:
    proposal = trial.proposal
    return {
        "trial": trial.number,
        "state": trial.state,
        "phase": proposal.phase,
        "source": proposal.source,
        "score": trial.score,
        **dict(zip(objectives, trial.scores, strict=False)),
        **trial.means,
        **proposal.values,  # noqa: PD011  no pandas here
        "seconds": trial.seconds.get("total"),
        "reason": trial.reason,
    }
