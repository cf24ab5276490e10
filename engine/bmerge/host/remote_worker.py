"""One evaluator in another process, perhaps on another machine: it rebuilds the study and paints.

It has no storage and no optimiser. What comes of a trial is sent as messages, each picture as soon
as it is scored, so that a process that dies takes at most one picture with it.
"""

from __future__ import annotations

import platform
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bmerge.errors import Blame, BmergeError, StudyError
from bmerge.evaluate.evaluation import ScoredPicture
from bmerge.evaluate.pictures import encoded_picture, place_of
from bmerge.executors import ExecutorOptions, choose_executor
from bmerge.faults import in_one_line
from bmerge.host.finding import located
from bmerge.host.registry import load_registry
from bmerge.host.studies import build_study
from bmerge.records import dataclass
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.unchanged import check_definition
from bmerge.study.attempt import Attempts
from bmerge.study.events import Event
from bmerge.study.failures import blame_of
from bmerge.study.gallery import record_of
from bmerge.study.study import PreparedStudy
from bmerge.study.waiting import Patience
from bmerge.study_file.config import StudyConfig
from bmerge.temporaries import temporary_folder_until_exit
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.race import Race
from bmerge.trials.trial import Trial

__all__ = ["Arrived", "Failed", "Finished", "Happened", "Job", "Message", "Worker"]


@dataclass(frozen=True, slots=True)
class Job:
    """What an evaluator needs to rebuild a study.

    Args:
        config: of the study file, its inputs with their hashes.
        plugins: paths of plugin files that were given beside it.
        definition: that the study must have when it is rebuilt.
        places: folders of models, where inputs are looked for.
        where: executor's options of the command line.
    """

    config: StudyConfig
    plugins: tuple[str, ...]
    definition: StudyDefinition
    places: tuple[Path, ...]
    where: ExecutorOptions


@dataclass(frozen=True, slots=True)
class Arrived:
    """A picture, scored: its file within the study's folder, its bytes, its record."""

    file: str
    data: bytes
    record: PictureRecord


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that the run tells."""

    event: Event


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of the trial; the last message."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class Failed:
    """An error that no merge is to blame for; the last message."""

    text: str
    hint: str | None
    blame: Blame


Message = Arrived | Happened | Finished | Failed


class Worker:
    """Evaluates trials of one study, one at a time."""

    def __init__(self) -> None:
        self._study: PreparedStudy | None = None
        self._places: tuple[Path, ...] = ()

    def host(self) -> str:
        """Return the name of the machine; answers as soon as the process is there."""
        return platform.node()

    def prepare(self, job: Job) -> Failed | None:
        """Rebuild the study; return what is wrong with it here."""
        try:
            self._study, self._places = _rebuilt(job), job.places
        except Exception as error:  # noqa: BLE001  told to the run, which judges it
            return _failed(error)
        return None

    def evaluate(self, trial: Trial, race: Race | None) -> Iterator[Message]:
        """Yield what happens while a trial is evaluated; its outcome comes last."""
        messages: queue.Queue[Message] = queue.Queue()

        def work() -> None:
            try:
                messages.put(Finished(self._evaluated(trial, race, messages.put)))
            except BaseException as error:  # noqa: BLE001  raised again in the run
                messages.put(_failed(error))

        threading.Thread(target=work, daemon=True).start()
        while True:
            message = messages.get()
            yield message
            if isinstance(message, Finished | Failed):
                return

    def _evaluated(self, trial: Trial, race: Race | None, send: Callable[[Message], None]) -> Trial:
        assert self._study is not None
        study, proposal = self._study, trial.proposal
        if proposal.recipe is not None:
            here = located(proposal.recipe, self._places)
            trial = replace(trial, proposal=replace(proposal, recipe=here))
        tell = lambda event: send(Happened(event))  # noqa: E731
        patience = Patience(study.patience, study.evaluator, tell)
        attempts = Attempts(study, _Shelf({trial.number: trial}), patience, tell, _Gallery(send))
        return replace(attempts.evaluate(trial, race), proposal=proposal)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The trial that is evaluated; the run keeps what there is of it."""

    trials: dict[int, Trial]

    def park(self, trial: Trial) -> None:
        """Remember the pictures that it has: they have been sent."""
        self.trials[trial.number] = trial


@dataclass(frozen=True, slots=True)
class _Gallery:
    """Sends pictures away."""

    send: Callable[[Message], None]

    def kept(self, trial: Trial) -> dict[str, PictureRecord]:
        """Return the pictures that the run has."""
        return {record["id"]: record for record in trial.pictures}

    def save(self, trial: Trial, scored: ScoredPicture) -> str:
        """Send a picture."""
        place = place_of(trial.number)
        file, data = encoded_picture(place, scored.picture, scored.scores, trial.token)
        record = record_of(scored.picture.payload, file, scored.scores)
        self.send(Arrived(file, data, record))
        return file


def _rebuilt(job: Job) -> PreparedStudy:
    """Return the study of a job, built of what is on this machine."""
    config = replace(job.config, merge=located(job.config.merge, job.places))
    registry = load_registry(job.plugins)
    registry.add(config.plugins, config.path.parent)
    options = job.where.or_else(config.executor.options)
    study = build_study(
        config,
        registry,
        folder=temporary_folder_until_exit("evaluator"),
        choose=lambda plan: choose_executor(plan, options=options).executor,
    )
    own = study.definition.of_evaluators
    check_definition(job.definition, own, study.folder, what=f"study on {platform.node()}")
    return study


def _failed(error: BaseException) -> Failed:
    hint = error.hint if isinstance(error, BmergeError) else None
    blame = blame_of(error)
    text = str(error) if isinstance(error, StudyError) else in_one_line(error)
    return Failed(f"{text} (on {platform.node()})", hint, "study" if blame == "merge" else blame)
