"""``bmerge studies importance`` on a study whose landscape is known."""

from __future__ import annotations

import json

import pytest

from bmerge.study.loop import run_study
from toy_study import BEST, make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of 63 trials whose score is a quadratic of six weights."""
    folder = tmp_path_factory.mktemp("known")
    study = make_study(folder, "random", n_iters=60, init=0, design="random", racing="off")
    run_study(study, keep_best=False)
    return folder


def test_values_are_told_with_what_is_known_of_them(study, bmerge):
    told = bmerge("studies", "importance", study, "--json")
    assert told.status == 0, told.err
    data = json.loads(told.out)
    values = {value["name"].removeprefix("alpha."): value for value in data["values"]}
    assert set(values) == set(BEST)
    for block, best in BEST.items():
        low, high = values[block]["likely"]
        assert low - 0.06 <= best <= high + 0.06
    assert not data["pairs"]
    table = bmerge("studies", "importance", study).out.splitlines()
    assert len(table) == 7
    assert table[1].startswith(data["values"][0]["name"])


def test_a_study_of_few_trials_is_refused(tmp_path, bmerge):
    run_study(make_study(tmp_path, n_iters=1, init=0))
    told = bmerge("studies", "importance", tmp_path)
    assert "has too few trials to say what matters" in told.err
