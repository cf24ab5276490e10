"""Studies as JSON lines: an imported study goes on as if it had never moved."""

from __future__ import annotations

import json

import pytest

from bmerge import StudyError
from bmerge.storage.optuna_storage import OptunaStorage
from bmerge.storage.stored import has_study, read_study
from bmerge.storage.transfer import export_study, import_study
from bmerge.study.loop import run_study
from noisy_study import race_study
from toy_study import make_study


def told(folder):
    return [
        (t.number, t.state, dict(t.proposal.values), t.score, t.variance, t.sequence, t.asks_before,
         dict(t.means), [dict(p) for p in t.pictures], t.proposal, t.reason)
        for t in read_study(folder).trials.values()
    ]  # fmt: skip


@pytest.mark.parametrize("optimiser", ["gp", "nevergrad"])
def test_an_imported_study_goes_on_as_if_it_had_never_moved(tmp_path, optimiser):
    whole, here, there = (tmp_path / name for name in ("whole", "here", "there"))
    options = {"optimiser": optimiser, "n_iters": 4, "init": 2, "design": "random"}
    run_study(race_study(whole, **options))
    run_study(race_study(here, **options), trials=7)
    lines = list(export_study(here))
    assert [json.loads(line).get("trial") for line in lines] == [None, *range(7)]
    assert import_study(lines, there, source="lines") == "toy"
    assert told(there) == told(here)
    run_study(race_study(there, **options))
    assert [row[:8] for row in told(there)] == [row[:8] for row in told(whole)]
    assert "pruned" in {row[1] for row in told(there)}


def test_what_is_no_export_leaves_nothing(tmp_path):
    run_study(make_study(tmp_path / "here", n_iters=1, init=0))
    lines = list(export_study(tmp_path / "here"))
    first = json.loads(lines[1])
    for wrong in (
        lines[1:],
        [],
        ["{", *lines[1:]],
        [lines[0], *lines[2:]],
        [lines[0], json.dumps({**first, "state": "HAPPY"}), *lines[2:]],
        [lines[0], json.dumps({**first, "scores": ["x"]}), *lines[2:]],
        [lines[0], json.dumps({**first, "attributes": {}}), *lines[2:]],
        [lines[0].replace('"format": 2', '"format": 1'), *lines[1:]],
    ):
        with pytest.raises(StudyError, match="otherwise than expected"):
            import_study(wrong, tmp_path / "there", source="it")
        assert not has_study(tmp_path / "there")
    import_study(lines, tmp_path / "there", source="it")
    with pytest.raises(StudyError, match="holds a study already"):
        import_study(lines, tmp_path / "there", source="it")


def test_a_study_appears_with_all_of_its_trials(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    run_study(make_study(here, n_iters=1, init=0))
    add, seen = OptunaStorage.add, []

    def watched(storage, study, trials):
        seen.append(has_study(there))
        add(storage, study, trials)
        seen.append(has_study(there))

    monkeypatch.setattr(OptunaStorage, "add", watched)
    import_study(export_study(here), there, source="it")
    assert seen == [False, False]
    assert told(there) == told(here)
    assert {path.name for path in there.iterdir()} == {"study.db", "study.lock"}


def test_a_study_that_came_meanwhile_is_not_replaced(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    run_study(make_study(here, n_iters=1, init=0))
    lines = list(export_study(here))

    def slow():
        yield from lines[:-1]
        import_study(lines, there, source="the first")

    with pytest.raises(StudyError, match="holds a study already"):
        import_study(slow(), there, source="the second")
    assert told(there) == told(here)
