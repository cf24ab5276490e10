"""A study whose pictures have noise of their own, of the prompt and of the merge."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bmerge import GeneratorError, Payload, Picture
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.trials.objective import Objective, Objectives
from toy_study import Generator, make_study, quality

N = 12
PAYLOADS = tuple(Payload(f"p{i:02d}", "", seed=i, weight=1 + i % 3) for i in range(N))
BOTH = Objectives((Objective("sum", {"judge": 1.0, "odd": 0.5}),))


class Painter(Generator):
    """Paints with noise of the picture and of the merge, and notes what it paints."""

    def __init__(self, fail=()):
        super().__init__()
        self.fail, self.loads, self.painted, self.stopped = set(fail), 0, [], 0

    def load(self, model):
        super().load(model)
        self.loads += 1
        self.painted.append([])

    def generate(self, payloads):
        value = quality(self.model.weights)
        try:
            for payload in payloads:
                if (self.loads, len(self.painted[-1])) in self.fail:
                    raise GeneratorError("no answer", blame="surroundings")
                rng = np.random.default_rng((payload.seed, round(1e6 * abs(value))))
                self.painted[-1].append(payload.id)
                yield Picture(
                    payload,
                    Image.new("RGB", (8, 8), (9, 9, 9)),
                    {"value": value + 3 * (payload.seed % 5) + rng.normal(0, 0.5)},
                )
        finally:
            self.stopped += 1


class Judge:
    def score(self, pictures):
        return [p.info["value"] for p in pictures]


def race_study(folder, painter=None, *, objectives=BOTH, optimiser="random", n_iters=16, **changes):
    scorers = (
        WeightedScorer("judge", 1.0, Judge()),
        WeightedScorer("odd", 0.5, Judge(), only=("p01", "p03", "p05", "p07")),
    )
    evaluator = Evaluator(painter or Painter(), scorers, PAYLOADS)
    changes = {"racing": "on", **changes}
    return make_study(
        folder, optimiser, n_iters=n_iters, objectives=objectives, evaluator=evaluator, **changes
    )
