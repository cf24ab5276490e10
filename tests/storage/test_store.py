"""Where trials are kept, and that Optuna's own tools can read it."""

from __future__ import annotations

import optuna
import pytest

from bmerge import StudyError
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge.testing.optimisers import MIXED
from bmerge.trials.trial import Proposal
from toy_study import make_study


def test_optuna_reads_a_study(tmp_path):
    finished = run_study(make_study(tmp_path, n_iters=1, init=1))
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.load_study(study_name="toy", storage=storage)
    assert study.best_value == finished.best.score
    assert study.best_params == finished.best.proposal.values
    assert [t.user_attrs["phase"] for t in study.trials] == ["baseline"] * 3 + ["init", "iters"]
    storage.engine.dispose()


def test_read_study_while_it_runs(tmp_path):
    seen = []
    run_study(
        make_study(tmp_path, n_iters=0, init=0),
        on_event=lambda _: seen.append(
            [t.state for t in read_study(tmp_path).trials.values()]
            if (tmp_path / "study.db").exists()
            else None
        ),
    )
    assert ["complete", "running"] in seen
    assert seen[-1] == ["complete"] * 3


def test_read_study_has_the_definition(tmp_path):
    run_study(make_study(tmp_path), trials=1)
    stored = read_study(tmp_path)
    assert stored.name == "toy"
    assert stored.definition == make_study(tmp_path).definition


def test_read_study_where_there_is_none(tmp_path):
    with pytest.raises(StudyError, match="no study in"):
        read_study(tmp_path)


def test_store_by_url_holds_several_studies_of_other_folders(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for name in ("one", "two"):
        run_study(make_study(tmp_path / name, name=name, storage=url), trials=2)
    assert read_study(tmp_path / "two").name == "two"
    assert len(read_study(tmp_path / "one").trials) == 2
    with pytest.raises(StudyError, match="'one' in this storage belongs to the folder"):
        run_study(make_study(tmp_path / "three", name="one", storage=url))


def test_store_that_is_no_database(tmp_path):
    (tmp_path / "study.db").write_text("not a database, but text that is long enough" * 9)
    with pytest.raises(StudyError, match=r"study\.db is damaged: file is not a database"):
        make_study(tmp_path).open_store()


def test_store_is_open_for_one_at_a_time(tmp_path):
    with make_study(tmp_path).open_store():
        with pytest.raises(StudyError, match="another run is working on the study") as caught:
            make_study(tmp_path).open_store()
        assert "--out" in caught.value.hint
    with make_study(tmp_path).open_store():
        pass


def test_store_keeps_values_of_every_kind(tmp_path):
    study = make_study(tmp_path, name="kinds")
    point = {**MIXED.centre(), "method": 2.0}
    with study.open_store() as store:
        store.start(Proposal("init", "sobol", point, {}), MIXED)
    with study.open_store() as store:
        assert store.trials[0].proposal.values == point
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    row = optuna.load_study(study_name="kinds", storage=storage).trials[0]
    assert (row.params["method"], row.params["steps"]) == ("three", 3)
    storage.engine.dispose()
