"""Each built-in optimiser keeps the protocol, and finds more than chance does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from statistics import median

import pytest

from bmerge import Parameter, PluginError, Space, StudyError
from bmerge.space.protocols import Result
from bmerge.study.design import initial_points
from bmerge.testing.optimisers import SPACE, check_optimiser, score
from bmerge_plugins.optimisers import (
    bayes,
    coordinate,
    grid,
    nevergrad,
    optuna_samplers,
    qmc,
    random,
)

KINDS = {
    kind.name: kind
    for module in (bayes, coordinate, grid, nevergrad, optuna_samplers, qmc, random)
    for kind in module.bmerge_optimisers()
}

MIXED_GRID = Space(
    (
        Parameter("rate", 0.1, 100.0, log=True),
        Parameter("steps", 0.0, 2.0, integer=True),
        Parameter("order", 0.0, 1.0, choices=("ab", "ba")),
    )
)

DESIGN = [
    Result(number, point, score(point), proposed=False)
    for number, point in enumerate(initial_points("sobol", SPACE, 8, seed=3))
]
"""What the first eight trials of a study may be."""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("random", {}),
        ("qmc", {}),
        ("qmc", {"sequence": "halton"}),
        ("grid", {"points": 3}),
        ("coordinate", {}),
        ("coordinate", {"search": "binary", "points": 2, "order": "space"}),
        ("bayes", {}),
        ("bayes", {"acquisition": "ei", "reduce": True}),
        ("bayes", {"acquisition": "poi", "scales": "each"}),
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
    check_optimiser(KINDS[name], options=options, asks=3 if name == "gp" else 9)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bayes", {"acquisition": "ei"}),
        ("bayes", {"acquisition": "poi"}),
        ("bayes", {"kappa": 0.5}),
        ("bayes", {"noise": 0.5, "acquisition": "ei"}),
        ("bayes", {"scales": "each"}),
        ("bayes", {"reduce": True, "gamma_osc": 0.1, "eta": 0.1}),
        ("qmc", {"sequence": "halton"}),
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


@pytest.mark.parametrize("name", ["bayes", "coordinate", "gp", "tpe", "nevergrad"])
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
        ("bayes", {"acquisition": "uc"}, "one of 'ucb', 'ei', 'poi', not 'uc'", None),
        ("bayes", {"kappa": -1.0}, "kappa is -1, must be 0 or more", None),
        ("grid", {"points": 1}, "points is 1, must be 2 or more", None),
        ("grid", {"points": 60}, r"a grid over 4 dimensions has 1.3e\+07 points", "groups"),
        ("coordinate", {"points": 1}, "points is 1, must be 2 or more", None),
        ("coordinate", {"passes": -1}, "passes is -1, must be 0 or more", None),
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


@pytest.mark.parametrize("variance", [0.0, 9.0], ids=["sure", "first two unsure"])
def test_bayes_asks_elsewhere_while_a_trial_is_in_flight(variance):
    optimiser = KINDS["bayes"].create(SPACE, 1, 5, options={"acquisition": "ei"})
    for result in DESIGN:
        optimiser.tell(replace(result, variance=variance if result.number < 2 else 0.0))
    first, second, third = (optimiser.ask() for _ in range(3))
    for one, other in ((first, second), (second, third), (first, third)):
        apart = [abs(one[p.name] - other[p.name]) / (p.high - p.low) for p in SPACE.parameters]
        assert max(apart) > 0.02


def test_bayes_is_not_misled_by_a_score_that_is_not_sure():
    def proposal(variance):
        optimiser = KINDS["bayes"].create(SPACE, 1, 5, options={"kappa": 0.1})
        for result in DESIGN:
            optimiser.tell(result)
        lucky = {p.name: p.high for p in SPACE.parameters}
        optimiser.tell(Result(9, lucky, 3.0, proposed=False, variance=variance))
        proposed = optimiser.ask()
        return sum(abs(proposed[name] - value) for name, value in lucky.items())

    assert proposal(0.0) < 0.5 < proposal(100.0)


def test_grid_has_every_combination_once():
    optimiser = KINDS["grid"].create(MIXED_GRID, 3, 24, options={"points": 4})
    points = [tuple(optimiser.ask().values()) for _ in range(24)]
    rates = [0.1, 1.0, 10.0, 100.0]
    assert [*dict.fromkeys(sorted(p[0] for p in points))] == pytest.approx(rates)
    assert len({*points}) == 4 * 3 * 2
    assert {p[1:] for p in points} == {(steps, order) for steps in (0, 1, 2) for order in (0, 1)}
    with pytest.raises(StudyError, match="all 24 points of the grid were tried"):
        optimiser.ask()


def test_qmc_is_even_in_every_dimension():
    optimiser = KINDS["qmc"].create(SPACE, 3, 32, options={})
    points = [optimiser.ask() for _ in range(32)]
    for p in SPACE.parameters:
        places = sorted(int(32 * (point[p.name] - p.low) / (p.high - p.low)) for point in points)
        assert places == [*range(32)]


def walk(options, quality, asks):
    """Return the points that ``coordinate`` tries, until it has nothing left or ``asks``."""
    optimiser = KINDS["coordinate"].create(SPACE, 1, asks, options=options)
    points = []
    for number in range(asks):
        try:
            points.append(optimiser.ask())
        except StudyError:
            break
        result = Result(number, points[-1], quality(points[-1]), asks_before=number + 1)
        optimiser.tell(result)
    return points


def test_coordinate_finds_the_best_of_each_dimension_in_one_pass():
    points = walk({"points": 5, "passes": 1, "order": "space"}, score, 99)
    assert len(points) <= 1 + 4 * 5
    best = max(points, key=score)
    assert list(best.values()) == pytest.approx([0.75, 0.0, 0.25, 0.5])
    changed = [
        sum(a != b for a, b in zip(points[0].values(), p.values(), strict=True)) for p in points
    ]
    assert changed[1:5] == [1] * 4


def test_coordinate_halves_the_window_in_every_pass():
    linear = max(score(point) for point in walk({"passes": 3}, score, 99))
    longer = max(score(point) for point in walk({"passes": 7}, score, 99))
    assert linear < longer
    assert longer > 0.999
    binary = walk({"search": "binary", "points": 6, "passes": 1}, score, 99)
    assert len(binary) <= 1 + 4 * 12
    assert max(map(score, binary)) > 0.999


def test_coordinate_begins_in_the_middle_and_at_the_best_that_is_known():
    optimiser = KINDS["coordinate"].create(SPACE, 1, 9, options={})
    for result in DESIGN:
        optimiser.tell(result)
    best = max(DESIGN, key=lambda r: r.score).values
    first = optimiser.ask()
    assert [name for name in SPACE.names if first[name] != best[name]] == ["alpha.M00"]


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
    "name",
    [
        "auto",
        "random",
        "bayes",
        "cmaes",
        "coordinate",
        "grid",
        "optuna_samplers",
        "nevergrad",
        "qmc",
    ],
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
