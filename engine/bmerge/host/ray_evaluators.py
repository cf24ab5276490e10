"""Evaluators as actors of Ray, on the machines of a cluster; for ``evaluators: {name: ray}``.

Each slot of a run has an actor. When that dies, with its process or its machine, another one takes
its place wherever there is room, and the trial continues with the pictures that have arrived.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bmerge.errors import StudyError
from bmerge.evaluate.durable import write_durably
from bmerge.extras import require
from bmerge.faults import in_one_line
from bmerge.host.remote_worker import Arrived, Failed, Finished, Happened, Job, Message, Worker
from bmerge.study.desk import Desk
from bmerge.study.gallery import FolderGallery
from bmerge.study.study import PreparedStudy
from bmerge.study.waiting import Patience
from bmerge.study_file.config import RayConfig
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.race import Race
from bmerge.trials.trial import Trial

if TYPE_CHECKING:
    from ray.actor import ActorHandle

__all__ = ["RayCrew"]

_ROOM = 60.0  # seconds in which a place for an evaluator must be found


class RayCrew:
    """Evaluators on a cluster.

    Args:
        config: how many there are, and where.
        job: what each of them needs.

    Raises:
        MissingExtraError: if Ray is not installed.
    """

    def __init__(self, config: RayConfig, job: Job) -> None:
        require(("ray",), "evaluators on Ray")
        self._config, self._job = config, job
        self._ours = False

    @property
    def number(self) -> int:
        """How many there are."""
        return self._config.number

    def evaluators(self, study: PreparedStudy, desk: Desk) -> Sequence[_RayEvaluator]:
        """Join the cluster, and return the evaluators; their actors come with their first trial.

        Raises:
            StudyError: if there is no cluster.
        """
        import ray

        if not ray.is_initialized():
            try:
                ray.init(
                    address=self._config.address, logging_level=logging.ERROR, log_to_driver=False
                )
            except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                message = f"no Ray cluster at {self._config.address!r}: {in_one_line(error)}"
                hint = "start one by `ray start --head`, or leave address out for one here"
                raise StudyError(message, hint=hint) from error
            self._ours = True
        return [_RayEvaluator(self._config, self._job, study, desk) for _ in range(self.number)]

    def close(self) -> None:
        """Leave the cluster; its actors end."""
        if self._ours:
            import ray

            ray.shutdown()
            self._ours = False


class _RayEvaluator:
    """One slot: it has an actor evaluate trials, another one when that dies."""

    def __init__(self, config: RayConfig, job: Job, study: PreparedStudy, desk: Desk) -> None:
        self._config, self._job, self._study, self._desk = config, job, study, desk
        self._gallery = FolderGallery(study)
        self._patience = Patience(study.patience, study.evaluator, desk.tell, sleep=desk.sleep)
        self._actor: ActorHandle | None = None

    def evaluate(self, trial: Trial, race: Race | None = None) -> Trial:
        """Return a running trial with what came of it."""
        records = self._gallery.kept(trial)
        attempt = partial(self._attempt, trial, race, records)
        return self._patience.through(attempt, trial.number)

    def _attempt(self, trial: Trial, race: Race | None, records: dict[str, PictureRecord]) -> Trial:
        now = replace(trial, pictures=tuple(records.values()))
        try:
            for message in self._messages(now, race):
                if (outcome := self._taken(message, trial.number, records)) is not None:
                    return outcome
        except Exception:
            if len(records) > len(now.pictures):
                self._desk.park(replace(trial, pictures=tuple(records.values())))
            raise
        raise StudyError("an evaluator has ended without a result", blame="surroundings")

    def _taken(
        self, message: Message, number: int, records: dict[str, PictureRecord]
    ) -> Trial | None:
        """Do what a message asks for; return the outcome if it is that."""
        if isinstance(message, Failed):
            raise _raised(message)
        if isinstance(message, Finished):
            return message.trial
        if isinstance(message, Happened):
            self._desk.tell(message.event)
            return None
        self._keep(message, number)
        records[message.record["id"]] = message.record
        return None

    def _keep(self, arrived: Arrived, number: int) -> None:
        write = partial(write_durably, self._study.folder / arrived.file, arrived.data)
        self._patience.through(write, number)
        self._patience.prove()

    def _messages(self, trial: Trial, race: Race | None) -> Iterator[Message]:
        """Yield an actor's messages; a dead one makes room for the next."""
        import ray

        try:
            actor = self._actor or self._made()
            stream = actor.evaluate.options(num_returns="streaming").remote(trial, race)
            while True:
                self._wait(stream)
                try:
                    reference = next(stream)
                except StopIteration:
                    return
                yield ray.get(reference)
        except ray.exceptions.RayError as error:
            self._drop()
            message = f"an evaluator on Ray was lost: {type(error).__name__}"
            raise StudyError(message, blame="surroundings") from error

    def _made(self) -> ActorHandle:
        """Start an actor where there is room, and let it rebuild the study."""
        import ray

        make: Any = ray.remote(Worker).options(
            num_cpus=self._config.cpus,
            num_gpus=self._config.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )
        self._actor = actor = make.remote()
        try:
            ray.get(actor.host.remote(), timeout=_ROOM)
        except ray.exceptions.GetTimeoutError as error:
            self._drop()
            message = "no machine of the Ray cluster has room for an evaluator"
            hint = f"each takes {self._config.cpus:g} CPUs and {self._config.gpus:g} GPUs"
            raise StudyError(message, hint=hint, blame="surroundings") from error
        prepared = actor.prepare.remote(self._job)
        self._wait(prepared)
        if (problem := ray.get(prepared)) is not None:
            self._drop()
            raise _raised(problem)
        return actor

    def _wait(self, what: Any) -> None:
        """Wait for something of Ray's, as long as the run lasts."""
        import ray

        while not ray.wait([what], timeout=1.0, fetch_local=False)[0]:
            self._desk.check()
        self._desk.check()

    def _drop(self) -> None:
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None


def _raised(failed: Failed) -> StudyError:
    return StudyError(failed.text, hint=failed.hint, blame=failed.blame)
