"""A study without merges or models: its score is a quadratic of the block weights.

Also a program, for tests that kill it: ``python toy_study.py FOLDER OPTIMISER N_ITERS``; with
``--two`` it has two normalised objectives, with ``--crew`` three evaluators, with a URL it
is stored there.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image

from bmerge.architectures import Architecture, Rule
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.protocols import Payload, Picture
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.method import Hyperparameter
from bmerge.recipe import BlockWeights, ModelRef, Recipe
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.sections import GeneratorDefinition, MergeDefinition, OptimiserDefinition
from bmerge.study.events import PictureDone
from bmerge.study.study import PreparedStudy, Workplace, initial_proposals
from bmerge.study_file.space_config import build_space
from bmerge.study_file.space_entry import HyperparameterSpace
from bmerge.trials.baselines import baselines
from bmerge.trials.objective import Objective, Objectives

BLOCKS = ("BASE", "IN00", "IN01", "M00", "OUT00", "OUT01")
TOY = Architecture("toy", "toy", BLOCKS, (Rule("", "BASE"),))
ALPHA = Hyperparameter("alpha", default=0.5, low=0.0, high=1.0)
BEST = dict(zip(BLOCKS, (0.9, 0.2, 0.7, 0.4, 0.1, 0.6), strict=True))
PAYLOADS = tuple(Payload(f"p{i:02d}-s{i}", f"picture {i}", seed=i) for i in range(3))
MERGE = {
    **json.loads(json.dumps(asdict(Recipe("weighted_sum", ())))),
    "models": ["0" * 64, "1" * 64],
}
MODULES = dict.fromkeys(("gp", "tpe", "nsga2"), "optuna_samplers")
ONE = Objectives((Objective("score", {"judge": 1.0}),))
TWO = Objectives(
    (Objective("quality", {"judge": 1.0}), Objective("thrift", {"judge": 0.1, "thrift": 0.9})),
    "zscore",
)


def quality(weights):
    return 1.0 - sum((weights["alpha"].of(block) - best) ** 2 for block, best in BEST.items())


class Model:
    def __init__(self, weights):
        self.weights = weights
        self.closed = False

    def close(self):
        self.closed = True


class Merger:
    """Stands for the pipeline's Merger; its checkpoint is its weights as text."""

    def __init__(self):
        self.models = []

    def model(self, merge):
        self.models.append(Model(weights_of(merge)))
        return self.models[-1]

    def write(self, merge, output):
        output.write_text(repr(sorted(weights_of(merge)["alpha"].blocks.items())))

    scratch = Path("/")

    def close(self):
        """Keep nothing."""

    def size(self, weights):
        return 0

    def recipe(self, merge):
        models = (ModelRef("/a"), ModelRef("/b"))
        return Recipe("weighted_sum", models, weights_of(merge), "F16", "sd1")


def weights_of(merge):
    """Return the weights of a merge; those of model a and b as they are, too."""
    return {"alpha": BlockWeights(float(merge))} if isinstance(merge, int) else merge


@dataclass
class Generator:
    delay: float = 0.0
    closed: int = 0

    def load(self, model):
        self.model = model

    def generate(self, payloads):
        for payload in payloads:
            time.sleep(self.delay)
            value = quality(self.model.weights)
            grey = max(1, min(255, round(255 * value)))
            yield Picture(
                payload,
                Image.new("RGB", (8, 8), (grey,) * 3),
                {"quality": value, "thrift": self.model.weights},
            )

    def close(self):
        self.closed += 1


class Judge:
    def score(self, pictures):
        return [p.info["quality"] + 0.01 * p.payload.seed for p in pictures]


class Thrift:
    """Rates how little of model b there is, on a scale far from the judge's."""

    def score(self, pictures):
        return [1000 - 70 * p.info["thrift"]["alpha"].of("BASE") + p.payload.seed for p in pictures]


def factory(name, **options):
    """Return the factory of a built-in optimiser."""
    module = importlib.import_module(f"bmerge_plugins.optimisers.{MODULES.get(name, name)}")
    kind = next(kind for kind in module.bmerge_optimisers() if kind.name == name)
    return lambda space, seed, budget: kind.create(space, seed, budget, options=options)


def make_study(
    folder,
    optimiser="random",
    *,
    n_iters=4,
    init=3,
    design="sobol",
    delay=0.0,
    objectives=ONE,
    **changes,
):
    """Return a study of three baselines, ``init`` initial points and ``n_iters`` more.

    ``optimiser`` is the name of a built-in one, or a factory.
    """
    name = optimiser if isinstance(optimiser, str) else "given"
    search = build_space({"alpha": HyperparameterSpace()}, [ALPHA], TOY)
    pure = {0: {"alpha": 0.0}, 1: {"alpha": 1.0}}
    queue = [*baselines(search, pure, 2), *initial_proposals(search, design, init, 5)]
    study = PreparedStudy(
        name="toy",
        folder=Path(folder),
        search=search,
        merger=Merger(),
        evaluator=Evaluator(
            Generator(delay),
            (WeightedScorer("judge", 1.0, Judge()), WeightedScorer("thrift", 0.0, Thrift()))[
                : len(objectives.sums)
            ],
            PAYLOADS,
        ),
        objectives=objectives,
        optimiser=factory(optimiser) if isinstance(optimiser, str) else optimiser,
        optimiser_name=name,
        seed=5,
        queue=tuple(queue),
        n_iters=n_iters,
        definition=StudyDefinition(
            merge=MergeDefinition.from_json(MERGE),
            space=search.describe(),
            payloads=PAYLOADS,
            generator=GeneratorDefinition("toy"),
            scorers=(),
            objectives=objectives,
            optimiser=OptimiserDefinition(name, 5, "sobol", 3),
        ),
    )
    return replace(study, **changes)


def with_crew(study, count):
    """Return a study with ``count`` evaluators."""
    places = []
    for _ in range(count - 1):
        painter = Generator(study.evaluator.generator.delay)
        places.append(Workplace(replace(study.evaluator, generator=painter), Merger()))
    return replace(study, others=tuple(places))


def _print(event):
    own = (event.number, event.index) if isinstance(event, PictureDone) else ()
    print(type(event).__name__, *own, flush=True)


if __name__ == "__main__":
    from bmerge.study.loop import run_study

    folder, optimiser, n_iters, *more = sys.argv[1:]
    study = make_study(  # no sobol: scipy takes a second to import
        *(folder, optimiser),
        n_iters=int(n_iters),
        design="random",
        delay=0.005,
        objectives=TWO if "--two" in more else ONE,
        storage=next((each for each in more if "://" in each), None),
    )
    run_study(with_crew(study, 3 if "--crew" in more else 1), on_event=_print)
