"""What every storage of studies must do, as a suite that a plugin's tests call.

>>> from bmerge.testing import check_storage                     # doctest: +SKIP
>>> check_storage(partial(open_mine, "my://host"))               # doctest: +SKIP

The storage that ships passes it in SQLite and in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Protocol

from bmerge.space.protocols import Parameter
from bmerge.storage.protocol import Storage, StoredTrial
from bmerge.testing.optimisers import MIXED

__all__ = ["check_storage"]


class Opening(Protocol):
    """Opens the storage that is checked."""

    def __call__(self, *, create: bool) -> Storage:
        """Open it.

        Args:
            create: whether it is to be written, and made if it is not there.
        """


_STUDY, _OTHER = "check ä", "check another"
_DEEP: Mapping[str, Any] = {
    "text": "ä \n \" '",
    "number": 0.1,
    "whole": 2**40,
    "nothing": None,
    "list": [1, [True, {}]],
    "long": "x" * 100_000,
}


def check_storage(open_it: Opening) -> None:
    """Hold a storage to the protocol.

    Two studies are made in it and removed at the end; whatever else it holds is left alone. What
    was written is read by another opening of the storage while the first is still open.

    Args:
        open_it: opens the storage; ``create`` tells whether it is to be written.

    Raises:
        AssertionError: that says which promise was broken.
    """
    with closing(open_it(create=True)) as storage:
        before = list(storage.studies())
        assert _STUDY not in before, f"there is a study {_STUDY!r} already"
        for name in (_STUDY, _OTHER):
            storage.create(name, 2 if name == _STUDY else 1)
        try:
            _check_attributes(storage, open_it)
            _check_trials(storage, open_it)
            _check_repeats(storage, open_it)
            _check_reopening(storage, open_it)
            assert storage.trials(_OTHER) == [], "trials of one study are in another"
        finally:
            for name in (_STUDY, _OTHER):
                storage.delete(name)
        storage.delete(_STUDY)  # as a call that was not answered is done again
        assert list(storage.studies()) == before, "a study is left that was deleted"


def _check_attributes(storage: Storage, open_it: Opening) -> None:
    assert storage.attributes(_STUDY) == {}, "a new study has attributes"
    storage.describe(_STUDY, {"definition": dict(_DEEP), "budget": 3})
    storage.describe(_STUDY, {"budget": 4})
    storage.describe(_OTHER, {"budget": 1})
    with closing(open_it(create=False)) as reader:
        assert {_STUDY, _OTHER} <= set(reader.studies()), "a study that was made is not there"
        found = reader.attributes(_STUDY)
    assert found == {"definition": _DEEP, "budget": 4}, f"other attributes of the study: {found}"


def _check_trials(storage: Storage, open_it: Opening) -> None:
    """Store three trials that run and three that are finished, and read them again."""
    assert storage.trials(_STUDY) == [], "a new study has trials"
    point = {**MIXED.centre(), "method": 2.0}
    known = {p.name: p for p in MIXED.parameters}
    for number in range(3):
        storage.add(_STUDY, [StoredTrial(number, "running", point, known, {"own": number})])
    complete = StoredTrial(3, "complete", point, known, dict(_DEEP), (0.1, -2.5))
    storage.add(_STUDY, [complete, StoredTrial(4, "failed", attributes={"reason": "none"})])
    storage.add(_STUDY, [])
    storage.note(_STUDY, 1, {"parked": dict(_DEEP)})
    storage.note(_STUDY, 1, {"own": "another"})
    storage.finish(_STUDY, 0, "complete", (1 / 3, 1e-300), {"done": 1})
    storage.finish(_STUDY, 2, "pruned", (0.0, 7.0), {})
    with closing(open_it(create=False)) as reader:
        trials = reader.trials(_STUDY)
    assert [t.number for t in trials] == [0, 1, 2, 3, 4], "trials are not told by their numbers"
    states = [t.state for t in trials]
    assert states == ["complete", "running", "pruned", "complete", "failed"], f"states: {states}"
    for trial in trials[:4]:
        values = dict(trial.values)
        assert values == point, f"trial {trial.number} has other values: {values}"
        assert set(trial.parameters) == set(known), f"trial {trial.number} lacks parameters"
        for name, parameter in trial.parameters.items():
            _check_parameter(parameter, known[name])
    scores = [trial.scores for trial in trials]
    assert scores == [(1 / 3, 1e-300), (), (0.0, 7.0), (0.1, -2.5), ()], f"scores: {scores}"
    notes = [dict(trial.attributes) for trial in trials]
    wanted = [
        {"own": 0, "done": 1},
        {"own": "another", "parked": _DEEP},
        {"own": 2},
        _DEEP,
        {"reason": "none"},
    ]
    assert notes == wanted, "attributes of trials are not what was stored"


def _check_parameter(found: Parameter, wanted: Parameter) -> None:
    for part in ("name", "low", "high", "log", "integer", "choices"):
        one, other = getattr(found, part), getattr(wanted, part)
        assert one == other, f"{part} of the parameter {wanted.name}: {one!r}, not {other!r}"


def _check_repeats(storage: Storage, open_it: Opening) -> None:
    """Do again what may have been done although it failed."""
    for own in ("first", "second"):
        storage.add(_STUDY, [StoredTrial(5, "running", attributes={"own": own})])
    storage.create(_STUDY, 2)
    for score in (0.5, 0.6):
        storage.finish(_STUDY, 5, "complete", (score, score), {"own": score})
    with closing(open_it(create=False)) as reader:
        trials = reader.trials(_STUDY)
    assert len(trials) == 6, "a trial that was added twice is there twice"
    assert trials[5].scores == (0.5, 0.5), "a finished trial was finished again"
    assert trials[5].attributes == {"own": 0.5}, "a finished trial has changed"


def _check_reopening(storage: Storage, open_it: Opening) -> None:
    for _ in range(2):
        storage.reopen(_STUDY, [4])
    storage.note(_STUDY, 4, {"own": 4})
    storage.finish(_STUDY, 4, "failed", (), {"reason": "again"})
    storage.reopen(_STUDY, [4])
    with closing(open_it(create=False)) as reader:
        trial = reader.trials(_STUDY)[4]
    assert trial.state == "running", "a failed trial that was reopened is not running"
    assert trial.attributes == {"own": 4, "reason": "again"}, "reopening has changed attributes"
