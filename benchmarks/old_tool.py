"""What the old tool finds with its own package: ``python -m benchmarks.old_tool``.

``bmerge bench optimisers`` has the method of sd-webui-bayesian-merger by ``bayes``, which finds
better points of the same upper bound in less time. Here it is bayesian-optimization itself: 10
random points, then 90 of the upper bound with kappa 2.576, each of the same 16 pictures, on the
landscapes of that benchmark.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
from bayes_opt import BayesianOptimization, UtilityFunction, bayesian_optimization
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from bmerge.bench.optimising.landscapes import LANDSCAPES, landscape
from bmerge.bench.optimising.painting import Painter
from bmerge.bench.optimising.search import PICTURES

RANDOM, TRIALS, KAPPA = 10, 100, 2.576
MARKS = (33, 100)
STEP = 1e-8  # of finite differences, as scipy's L-BFGS-B takes by default

Array = NDArray[np.float64]


def greatest(
    acquisition: Callable[..., Array],
    gp: Any,
    y_max: float,
    bounds: Array,
    random_state: np.random.RandomState,
    constraint: None = None,  # noqa: ARG001
    n_warmup: int = 10_000,
    n_iter: int = 10,
) -> Array:
    """Return where an acquisition is greatest, as the package's ``acq_max`` looks for it.

    The best of random points, then L-BFGS-B from others with gradients by finite differences. Those
    of all dimensions are asked of the process at once here, not one by one: a tenth of the time.
    """
    low, high = bounds.T
    drawn = random_state.uniform(low, high, (n_warmup, len(bounds)))
    values = acquisition(drawn, gp=gp, y_max=y_max)
    best, most = drawn[values.argmax()], float(values.max())

    def loss(x: Array) -> tuple[float, Array]:
        steps = np.where(x + STEP > high, -STEP, STEP)
        points = np.vstack([x, x + np.diag(steps)])
        losses = -np.ravel(acquisition(points, gp=gp, y_max=y_max))
        return float(losses[0]), (losses[1:] - losses[0]) / steps

    for start in random_state.uniform(low, high, (n_iter, len(bounds))):
        found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
        if found.success and -found.fun >= most:
            best, most = found.x, -found.fun
    return np.asarray(best.clip(low, high))


def search(name: str, seed: int) -> dict[int, float]:
    """Return number of trials → true quality of the best merge of so many."""
    place = landscape(name, seed)
    painter = Painter(place, PICTURES, seed)
    names = [f"block_{index:02d}" for index in range(place.dimensions)]
    told: list[tuple[float, Array]] = []

    def score(**weights: float) -> float:
        point = np.array([weights[block] for block in names])
        told.append((statistics.mean(painter.score(point, p) for p in range(PICTURES)), point))
        return told[-1][0]

    optimiser = BayesianOptimization(
        score, dict.fromkeys(names, (0.0, 1.0)), random_state=seed, verbose=0
    )
    bound = UtilityFunction(kind="ucb", kappa=KAPPA, xi=0)
    optimiser.maximize(RANDOM, TRIALS - RANDOM, acquisition_function=bound)
    return {mark: place.quality(max(told[:mark], key=lambda pair: pair[0])[1]) for mark in MARKS}


@click.command()
@click.option("--landscape", "names", multiple=True, type=click.Choice([*LANDSCAPES]))
@click.option("--first-seed", default=100, show_default=True)
@click.option("--seeds", default=10, show_default=True)
@click.option("--exact", is_flag=True, help="Take the package's own way to the greatest.")
def main(*, names: tuple[str, ...], first_seed: int, seeds: int, exact: bool) -> None:
    """Print a line for each search and, for each landscape, the medians."""
    if not exact:
        bayesian_optimization.acq_max = greatest
    for name in names or ("smooth", "basins", "ridge", "corners", "wide"):
        found: dict[int, list[float]] = {mark: [] for mark in MARKS}
        for seed in range(first_seed, first_seed + seeds):
            start = time.process_time()
            with threadpool_limits(1):
                quality = search(name, seed)
            taken = time.process_time() - start
            for mark, value in quality.items():
                found[mark].append(value)
            shown = "  ".join(f"{mark * PICTURES}: {value:.3f}" for mark, value in quality.items())
            click.echo(f"{name}  seed {seed}  {shown}  {taken:.0f} CPU s")
        medians = "  ".join(
            f"{mark * PICTURES}: {statistics.median(values):.3f} "
            f"[{np.quantile(values, 0.25):.3f} {np.quantile(values, 0.75):.3f}]"
            for mark, values in found.items()
        )
        click.echo(f"{name}  median [quartiles]  {medians}")


if __name__ == "__main__":
    main()
