"""The benchmark of optimisers: its landscapes, its pictures, its searches and its table."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bmerge import StudyError
from bmerge.bench.optimising.contest import Contestant, ContestRow, append, read_rows
from bmerge.bench.optimising.digits import _chances, _drawn, _forward, _fresh, _slopes
from bmerge.bench.optimising.landscapes import LANDSCAPES, landscape
from bmerge.bench.optimising.painting import Painter
from bmerge.bench.optimising.replay import replay
from bmerge.bench.optimising.search import SearchOutcome, search
from bmerge.bench.optimising.table import lines_of, markdown
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge_plugins.optimisers.random import Random
from noisy_study import race_study

DRAWN = [name for name in LANDSCAPES if name != "digits"]


@pytest.mark.parametrize("name", DRAWN)
def test_landscape_is_1_at_its_best_and_nowhere_more(name):
    quality, dimensions = landscape(name, 3).quality, landscape(name, 3).dimensions
    rng = np.random.default_rng(0)
    best, value = np.full(dimensions, 0.5), 0.0
    if name == "basins":  # the better basin is not where one climbs to from the centre
        corners = rng.integers(0, 2, (20_000, dimensions))
        best = max(np.clip(corners, 0.07, 0.93), key=quality)
    for width in np.geomspace(0.5, 1e-4, 60):
        for axis in range(dimensions):
            steps = best + np.outer([-width, width], np.eye(dimensions)[axis])
            best = max([best, *np.clip(steps, 0, 1)], key=quality)
    value = quality(best)
    assert 0.99 < value <= 1.0
    assert max(map(quality, rng.random((500, dimensions)))) < 0.95


@pytest.mark.parametrize("name", DRAWN)
def test_landscape_is_drawn_by_its_seed(name):
    points = np.random.default_rng(1).random((9, landscape(name, 1).dimensions))
    one, again, other = ([*map(landscape(name, s).quality, points)] for s in (1, 1, 2))
    assert one == again
    assert one != other


def test_digits_are_read_better_by_a_merge_than_by_either_network():
    digits = landscape("digits", 1)
    first, second, centre = (digits.quality(np.full(26, value)) for value in (0.0, 1.0, 0.5))
    assert 0.2 < min(first, second) < max(first, second) < centre < 1
    painter = Painter(digits, 60, 1)
    scores = [painter.score(np.full(26, 0.5), picture) for picture in range(60)]
    assert np.mean(scores) == pytest.approx(centre, abs=0.04)
    assert 0.02 < np.std(scores) < 0.2


def test_a_network_learns_by_its_true_gradients():
    rng = np.random.default_rng(0)
    network = _fresh(rng)
    images, labels = _drawn(rng, 20)

    def loss(layer, change):
        changed = [each.copy() for each in network]
        changed[layer][3, 2] += change
        chances = _chances(_forward(changed, images)[-1])
        return -np.log(chances[np.arange(20), labels]).mean()

    for layer, slope in enumerate(_slopes(network, images, labels)):
        expected = (loss(layer, 1e-5) - loss(layer, -1e-5)) / 2e-5
        assert slope[3, 2] == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_a_study_is_replayed_by_a_surface_through_its_trials(tmp_path):
    for folder, asks in ((tmp_path, 40), (tmp_path / "few", 2)):
        study = race_study(folder, n_iters=asks, racing="off")
        run_study(study)
    again = replay(tmp_path)
    trials = [t for t in read_study(tmp_path).trials.values() if t.state == "complete"]
    points = np.array([[*trial.proposal.values.values()] for trial in trials])
    told = np.array([trial.score for trial in trials])
    found = np.array([*map(again.quality, points)])
    assert again.dimensions == points.shape[1]
    assert found.max() == pytest.approx(1.0)
    assert np.corrcoef(found, told)[0, 1] > 0.9
    found = search(again, Random, 1, (240,))
    assert found.trials > 0
    with pytest.raises(StudyError, match="too few trials for a landscape"):
        replay(tmp_path / "few")


def test_pictures_differ_as_those_of_the_demo_do():
    flat = landscape("basins", 1)
    between, near, far = [], [], []
    for seed in range(40):
        painter = Painter(flat, 16, seed)
        rng = np.random.default_rng(seed)
        point = rng.random(26)
        direction = rng.standard_normal(26)
        direction /= np.linalg.norm(direction)
        here, beside, there = (
            np.array([painter.score(point + step * direction, p) for p in range(16)])
            for step in (0.0, 0.3, 1.2)
        )
        between.append(here.std())
        near.append((here - beside).std())
        far.append((here - there).std())
        assert painter.painted == 48
    assert np.mean(between) == pytest.approx(0.30, abs=0.03)
    assert 0.04 < np.mean(near) < 0.08 < np.mean(far) < 0.2


class Knows:
    """An optimiser that knows the corners; it tells what it is told."""

    def __init__(self, best):
        self.best, self.replayed, self.told = best, [], []

    def ask(self):
        return self.best

    def tell(self, result):
        self.told.append(result)

    def replay(self, results):
        self.replayed = results


def test_search_returns_the_best_and_tells_as_a_study_does():
    corners = landscape("corners", 2)
    names = [f"alpha.B{place:02d}" for place in range(26)]
    centre = np.full(26, 0.5)
    gains = [corners.quality(centre + 0.5 * axis) > corners.quality(centre) for axis in np.eye(26)]
    knows = Knows(dict(zip(names, map(float, gains), strict=True)))
    found = search(corners, lambda *_: knows, 2, (100, 240))
    assert found.quality[240] == pytest.approx(1.0)
    assert found.quality[100] < 0.7
    assert found.start[2] == corners.quality(centre)
    first = knows.replayed
    assert len(first) == 13
    assert not any(result.proposed for result in first)
    assert [r.pictures for r in first[:3]] == [16, 16, 16]
    pruned = [r for r in (*first, *knows.told) if r.pruned]
    assert pruned
    assert all(4 <= r.pictures < 16 and r.variance > 0 for r in pruned)
    assert [r.asks_before for r in knows.told] == [*range(1, len(knows.told) + 1)]
    painted = sum(r.pictures for r in (*first, *knows.told))
    assert 240 < painted <= 256


def test_search_races_unless_it_is_told_not_to():
    trials = [
        search(landscape("ridge", 1), Random, 1, (264,), racing=racing).trials
        for racing in (True, False)
    ]
    assert trials[0] > 2 * trials[1]
    assert trials[1] == 17  # of 16 pictures; the last is begun


def test_search_is_the_same_again():
    one, again = (search(landscape("wide", 4), Random, 4, (120, 240)) for _ in range(2))
    assert one.quality == again.quality


def test_contestant_notes_eighths_of_what_all_paint_and_of_what_it_paints_beyond():
    assert Contestant("a", "auto").marks(528) == [66, 132, 198, 264, 330, 396, 462, 528]
    beyond = Contestant("old", "bayes", pictures=1600).marks(528)
    assert beyond[:8] == Contestant("a", "auto").marks(528)
    assert beyond[-1] == 1600
    assert all(a < b for a, b in pairwise(beyond))


def row(name, seed, value):
    return ContestRow(
        name, "smooth", seed, SearchOutcome({264: value / 2, 528: value}, 90, 77, 1.54, (0.1, 0.3))
    )


def test_table_has_medians_with_intervals_of_order_statistics():
    values = np.random.default_rng(1).permutation(10) / 10
    rows = [row("auto", seed, value) for seed, value in enumerate(values)]
    (line,) = lines_of(rows)
    cell = line.cells["smooth", 528]
    assert (cell.median, cell.low, cell.high, cell.seeds) == (0.45, 0.1, 0.8, 10)
    assert (line.start, line.trials, line.seconds) == ({"smooth": 0.3}, 90, 1.54 / 77)
    fewer = lines_of([row("gp", 1, 0.5)])
    page = markdown([line, *fewer], 528, ["Made here."])
    assert "| auto | .225 [.050 .400] | .450 [.100 .800] | 20.0 |" in page
    assert "| gp (1 seeds) | .250 [.250 .250] | .500 [.500 .500] | 20.0 |" in page


def test_rows_are_read_again_and_a_cut_one_is_not(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [row("auto", seed, seed / 10) for seed in range(3)]
    for each in rows:
        append(each, file)
    with file.open("a") as opened:
        opened.write('{"name": "auto", "lan')
    assert read_rows(file) == rows
    file.write_text('{"name": 1}\n')
    with pytest.raises(StudyError, match=r"rows.jsonl:1 is not a row"):
        read_rows(file)
