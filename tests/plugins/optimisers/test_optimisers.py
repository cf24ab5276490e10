"""Each built-in optimiser keeps the protocol, and finds more than chance does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from statistics import median

import pytest

from bmerge import PluginError
from bmerge.study.design import initial_points
from bmerge.study.protocols import Result
from bmerge.testing.optimisers import SPACE, check_optimiser, score
from bmerge_plugins.optimisers import bayes, nevergrad, optuna_samplers, random

KINDS = {
    kind.name: kind
    for module in (bayes, nevergrad, optuna_samplers, random)
    for kind in module.bmerge_optimisers()
}

DESIGN = [
    Result(number, point, score(point), proposed=False)
    for number, point in enumerate(initial_points("sobol", SPACE, 8, seed=3))
]
"""What the first eight trials of a study may be."""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("random", {}),
        ("bayes", {}),
        ("gp", {}),
        ("tpe", {}),
        ("nsga2", {"population": 4}),
        ("nevergrad", {}),
        ("nevergrad", {"algorithm": "TwoPointsDE"}),
        ("nevergrad", {"algorithm": "OnePlusOne", "workers": 1}),
        ("nevergrad", {"workers": 1}),
        ("nevergrad", {"algorithm": "Cobyla"}),
        ("nevergrad", {"algorithm": "PSO"}),
    ],
    ids=str,
)
def test_optimiser_keeps_the_protocol(name, options):
    check_optimiser(KINDS[name], options=options, asks=3 if name in ("bayes", "gp") else 9)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bayes", {"acquisition": "ucb"}),
        ("bayes", {"acquisition": "poi"}),
        ("bayes", {"xi": 0.3}),
        ("bayes", {"noise": 0.1}),
        ("gp", {"deterministic": True}),
    ],
    ids=str,
)
def test_option_changes_the_proposal(name, options):
    def proposal(**options):
        optimiser = KINDS[name].create(SPACE, 1, 5, options=options)
        for result in DESIGN:
            optimiser.tell(result)
        return optimiser.ask()

    assert proposal(**options) != proposal()


def best_found(kind, seed, asks=20):
    optimiser = kind.create(SPACE, seed, asks, options={})
    for result in DESIGN:
        optimiser.tell(result)
    best = -1e9
    for number in range(1, asks + 1):
        values = optimiser.ask()
        best = max(best, score(values))
        optimiser.tell(Result(7 + number, values, score(values), asks_before=number))
    return best


@pytest.mark.parametrize("name", ["bayes", "gp", "tpe", "nevergrad"])
def test_optimiser_beats_chance_on_a_smooth_function(name):
    chance = median(best_found(KINDS["random"], seed) for seed in range(20))
    assert best_found(KINDS[name], seed=1) > chance


def dominated(kind, seed, asks):
    """Return the area below the front that is found of two objectives; 2/3 at most."""
    optimiser = kind.create(SPACE, seed, asks, options={})
    found = []
    for number in range(asks + len(DESIGN)):
        proposed = number >= len(DESIGN)
        values = optimiser.ask() if proposed else DESIGN[number].values
        x = values["alpha.IN00"]
        quality = 1 - (values["alpha.M00"] - 0.1) ** 2 - 4 * (values["alpha.OUT00"] - 0.5) ** 2
        scores = (x * quality, (1 - x * x) * quality)
        found.append(scores)
        optimiser.tell(
            Result(number, values, sum(scores), proposed=proposed, sequence=number, scores=scores)
        )
    area, height = 0.0, 0.0
    for x, y in sorted(found, reverse=True):
        if y > height and x > 0:
            area, height = area + x * (y - height), y
    return area


@pytest.mark.parametrize("name", ["gp", "tpe", "nsga2"])
def test_optimiser_finds_a_front_that_chance_does_not(name):
    asks = 10 if name == "gp" else 60
    chance = median(dominated(KINDS["random"], seed, asks) for seed in range(9))
    assert dominated(KINDS[name], 1, asks) > chance


def test_nsga2_refuses_a_population_of_one():
    with pytest.raises(PluginError, match="population is 1, must be 2 or more"):
        KINDS["nsga2"].create(SPACE, 1, 5, options={"population": 1})


def test_bayes_takes_a_point_that_was_tried_twice():
    optimiser = KINDS["bayes"].create(SPACE, 1, 5, options={})
    centre = {p.name: (p.low + p.high) / 2 for p in SPACE.parameters}
    for number, value in enumerate((0.2, 0.4, None)):
        optimiser.tell(Result(number, centre, value, proposed=False))
    assert set(optimiser.ask()) == set(SPACE.names)


def test_bayes_decays_kappa_after_the_delay():
    def proposal(**options):
        optimiser = KINDS["bayes"].create(SPACE, 1, 5, options={"acquisition": "ucb", **options})
        optimiser.replay([replace(result, proposed=True) for result in DESIGN])  # eight asks
        return optimiser.ask()

    decayed = proposal(kappa_decay=0.5, kappa_decay_delay=6)
    assert decayed == proposal(kappa=2.576 * 0.25)
    assert decayed != proposal()


@pytest.mark.parametrize(
    ("name", "options", "message", "hint"),
    [
        ("bayes", {"acquisition": "uc"}, "one of 'ei', 'ucb', 'poi', not 'uc'", None),
        ("nevergrad", {"algorithm": "TwoPointDE"}, "no algorithm 'TwoPointDE'", "TwoPointsDE"),
        ("nevergrad", {"algorithm": "AXP"}, "cannot make AXP with 2 workers", None),
        ("gp", {"noise": 1}, "gp has no option 'noise'", None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_wrong_option_is_a_plugin_error(name, options, message, hint):
    with pytest.raises(PluginError, match=message) as caught:
        KINDS[name].create(SPACE, 1, 5, options=options)
    assert hint is None or hint in caught.value.hint


def test_nevergrad_goes_on_where_a_proposal_cannot_be_repeated(caplog):
    elsewhere = {p.name: p.low for p in SPACE.parameters}
    optimiser = KINDS["nevergrad"].create(SPACE, 1, 5, options={})
    optimiser.replay([Result(0, elsewhere, 0.3, proposed=True, asks_before=1)])
    assert "did not propose trial 0 again" in caplog.text
    assert set(optimiser.ask()) == set(SPACE.names)


def test_nevergrad_threads_do_not_keep_the_process_from_ending():
    program = (
        "from bmerge.testing.optimisers import SPACE\n"
        "from bmerge_plugins.optimisers.nevergrad import Nevergrad\n"
        "kept = Nevergrad(SPACE, 1, 9, algorithm='Cobyla', workers=1)\n"
        "kept.ask()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    "name", ["auto", "random", "bayes", "cmaes", "optuna_samplers", "nevergrad"]
)
def test_optimiser_module_imports_no_heavy_library(name):
    program = (
        f"import sys, bmerge_plugins.optimisers.{name} as module\n"
        "list(module.bmerge_optimisers())\n"
        "print(*{'numpy', 'torch', 'optuna', 'scipy', 'bayes_opt'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == ""
