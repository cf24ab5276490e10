"""``gp``, ``tpe`` and ``nsga2``: samplers of Optuna, over a study in memory made for each ask.

All are functions of the finished trials and a random state; that is made from the seed and the
ask's number, so resuming is exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bmerge import Cube, OptimiserKind, Parameter, PluginError, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

__all__ = ["GaussianProcess", "NonDominatedSorting", "TreeParzen", "bmerge_optimisers"]


class _OptunaSampler:
    """Asks a fresh sampler that is shown all results.

    Args:
        space: the dimensions.
        seed: equal seeds and results propose equal points.
        budget: not used.
    """

    def __init__(self, space: Space, seed: int, budget: int) -> None:  # noqa: ARG002
        self._space = _Dimensions(space)
        self._seed = seed
        self._results: list[Result] = []
        self._asks = 0

    def ask(self) -> Mapping[str, float]:
        """Show the sampler all results and return its proposal.

        One thread: the matrices are small, and sums must not depend on the number of cores.
        """
        import numpy as np
        from threadpoolctl import threadpool_limits

        state = np.random.SeedSequence((self._seed, self._asks)).generate_state(1)
        self._asks += 1
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's, of features that may still change
            study = self._study(self._sampler(int(state[0])))
            return self._space.values(study.ask(self._space.distributions()).params)

    def tell(self, result: Result) -> None:
        """Keep the result."""
        self._results.append(result)

    def replay(self, results: Sequence[Result]) -> None:
        """Keep the results and count the asks."""
        self._results = list(results)
        self._asks = sum(result.proposed for result in results)

    def _sampler(self, seed: int) -> BaseSampler:
        raise NotImplementedError

    def _study(self, sampler: BaseSampler) -> Study:
        """Return a study in memory that holds all results.

        A failed trial counts as the worst in each objective: samplers ignore failures, and would
        propose the same point again.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it has a handler of its own
        scores = [r.scores or (r.score,) for r in self._results if r.score is not None]
        worst = tuple(min(column) for column in zip(*scores, strict=True)) or (0.0,)
        study = optuna.create_study(sampler=sampler, directions=["maximize"] * len(worst))
        distributions = self._space.distributions()
        for number, result in enumerate(self._results if scores else ()):
            values = worst if result.score is None else result.scores or (result.score,)
            study.add_trial(
                optuna.trial.create_trial(
                    params=self._space.params(result.values),
                    distributions=distributions,
                    values=list(values),
                    system_attrs=self._marks(number),
                )
            )
        return study

    def _marks(self, number: int) -> dict[str, int]:  # noqa: ARG002
        """Return what the sampler would have noted of the result ``number``."""
        return {}


class _Dimensions:
    """A space in Optuna's words: it knows all kinds but weights that sum to 1.

    Those are searched by the coordinates of a cube.

    Args:
        space: the dimensions.
    """

    def __init__(self, space: Space) -> None:
        self._names = space.names
        self._plain = [p for p in space.parameters if p.simplex is None]
        groups = space.simplices
        self._cubes = {name: Cube(Space(members)) for name, members in groups.items()}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return name → what Optuna may propose for it."""
        from optuna.distributions import FloatDistribution

        shares = {name: FloatDistribution(0.0, 1.0) for name in self._shares()}
        return {**{p.name: _distribution(p) for p in self._plain}, **shares}

    def params(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return a point as Optuna has it; of choices, the position."""
        unit = [x for cube in self._cubes.values() for x in cube.unit(values)]
        plain = {p.name: int(v) if p.choices else v for p in self._plain for v in [values[p.name]]}
        return {**plain, **dict(zip(self._shares(), unit, strict=True))}

    def values(self, params: Mapping[str, float]) -> dict[str, float]:
        """Return the point that Optuna means."""
        found = {p.name: float(params[p.name]) for p in self._plain}
        for name, cube in self._cubes.items():
            found |= cube.values([params[f"{name}/{place}"] for place in range(cube.width)])
        return {name: found[name] for name in self._names}

    def _shares(self) -> list[str]:
        """Return the names of the simplices' coordinates."""
        cubes = self._cubes.items()
        return [f"{name}/{place}" for name, cube in cubes for place in range(cube.width)]


def _distribution(p: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if p.choices:
        return CategoricalDistribution(range(len(p.choices)))
    if p.integer:
        return IntDistribution(int(p.low), int(p.high), log=p.log)
    return FloatDistribution(p.low, p.high, log=p.log)


class GaussianProcess(_OptunaSampler):
    """Proposes by a Gaussian process with a length scale of its own for every dimension.

    Args:
        space: the dimensions.
        seed: equal seeds and results propose equal points.
        budget: not used.
        deterministic: whether equal points have equal scores to the last digit.
    """

    def __init__(
        self, space: Space, seed: int, budget: int, *, deterministic: bool = False
    ) -> None:
        super().__init__(space, seed, budget)
        self._deterministic = deterministic

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        # the study has made an initial design already: one finished trial is enough to begin
        return GPSampler(seed=seed, n_startup_trials=1, deterministic_objective=self._deterministic)


class TreeParzen(_OptunaSampler):
    """Proposes by the densities of good and bad points (tree-structured Parzen estimator)."""

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, n_startup_trials=1)


class NonDominatedSorting(_OptunaSampler):
    """Proposes by crossing and mutating the best of the last generations (NSGA-II).

    A generation is ``population`` results in the order of their tells, those of the initial
    design included.

    Args:
        space: the dimensions.
        seed: equal seeds and results propose equal points.
        budget: not used.
        population: points of a generation, and how many of all so far beget the next.
    """

    def __init__(self, space: Space, seed: int, budget: int, *, population: int = 8) -> None:
        super().__init__(space, seed, budget)
        if population < 2:
            raise PluginError(f"population is {population}, must be 2 or more", plugin="nsga2")
        self._population = population

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import NSGAIISampler
        from optuna.samplers.nsgaii import BLXAlphaCrossover, PolynomialMutation

        return NSGAIISampler(
            seed=seed,
            population_size=self._population,
            crossover=BLXAlphaCrossover(),
            mutation=PolynomialMutation(),
        )

    def _marks(self, number: int) -> dict[str, int]:
        """Return the generation: Optuna continues from the marks of the trials that it sees."""
        from optuna.samplers import NSGAIISampler

        return {NSGAIISampler._get_generation_key(): number // self._population}  # noqa: SLF001


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``gp``, ``tpe`` and ``nsga2``."""
    several = partial(
        OptimiserKind,
        several_objectives=True,
        takes=ALL_KINDS,
        needs=("optuna", "numpy", "threadpoolctl"),
    )
    return [
        several("gp", GaussianProcess, "Gaussian process of Optuna"),
        several("tpe", TreeParzen, "tree-structured Parzen estimator of Optuna"),
        several("nsga2", NonDominatedSorting, "genetic algorithm NSGA-II of Optuna"),
    ]
