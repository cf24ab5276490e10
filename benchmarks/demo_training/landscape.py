"""Measure whether block weights matter: ``python -m benchmarks.demo_training.landscape``.

Prints colour, shape and score of the base, the parents, uniform merges and block-weighted ones,
first on the seeds that a search may look at, then on held-out seeds.  A random search over block
weights (``--search N``) adds its best find.
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from bmerge_plugins.demo import assets
from bmerge_plugins.demo.judge import Judge
from bmerge_plugins.demo.model import DemoModel
from bmerge_plugins.demo.sampler import sample
from bmerge_plugins.demo.words import COLOURS, SHAPES, all_prompts, find_colour, find_shape

from .data import KNOWN_COLOURS, KNOWN_SHAPES

BLOCKS = ("BASE", *(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12)))
GROUPS = {"BASE": slice(0, 1), "IN": slice(1, 13), "M": slice(13, 14), "OUT": slice(14, 26)}
KINDS = ("known", "shape", "colour", "both")
"""Which words of a prompt are new to the base."""

SEARCH_SEED, HELD_OUT_SEED = 1000, 90000
State = dict[str, Tensor]
Weights = np.ndarray
"""Share of "colours" in each block, in the order of BLOCKS; "shapes" has the rest."""


@dataclass(frozen=True, slots=True)
class Result:
    """Mean scores by kind of prompt, over all of them, and the standard error of that."""

    kinds: dict[str, float]
    score: float
    error: float

    def __str__(self) -> str:
        return (
            " ".join(f"{v:6.3f}" for v in self.kinds.values())
            + f" {self.score:6.3f} ±{self.error:.3f}"
        )


def kind_of(prompt: str) -> str:
    """Return which words of a prompt the base does not know."""
    colour = find_colour(prompt) in KNOWN_COLOURS
    shape = find_shape(prompt) in KNOWN_SHAPES
    return {(True, True): "known", (True, False): "shape", (False, True): "colour"}.get(
        (colour, shape), "both"
    )


def block_of(key: str) -> int:
    """Return the place in BLOCKS of a checkpoint's key."""
    found = re.match(r"model\.diffusion_model\.(input|middle|output)_blocks?\.(\d+)", key)
    if found:
        kind, number = found[1], int(found[2])
        return {"input": 1 + number, "middle": 13, "output": 14 + number}[kind]
    if key.startswith("model.diffusion_model.time_embed"):
        return 1
    return 25 if key.startswith("model.diffusion_model.out.") else 0


class Bench:
    """Merge, sample and judge, over a fixed list of prompts."""

    def __init__(self, folder: Path, prompts: list[str]) -> None:
        self.model, self.judge, self.prompts = DemoModel().eval(), Judge.load(), prompts
        names = ("base", "shapes", "colours")
        self.base, self.a, self.b = (load_file(folder / f"{n}.safetensors") for n in names)
        self.blocks = {key: block_of(key) for key in self.base}
        self.colours = torch.tensor([COLOURS.index(find_colour(p) or "") for p in prompts])
        self.shapes = torch.tensor([SHAPES.index(find_shape(p) or "") for p in prompts])

    def merged(self, weights: Weights) -> State:
        """Return the weighted average of the parents, block by block."""
        return {
            key: a.float().lerp(self.b[key].float(), float(weights[self.blocks[key]]))
            if a.is_floating_point()
            else a
            for key, a in self.a.items()
        }

    def measure(self, state: State, first_seed: int, rounds: int = 1) -> Result:
        """Return the scores of a model over ``rounds`` pictures of every prompt."""
        self.model.load_state_dict(state)
        scores = []
        for index in range(rounds):
            start = first_seed + index * len(self.prompts)
            seeds = range(start, start + len(self.prompts))
            colours, shapes = self.judge.probabilities(sample(self.model, self.prompts, seeds))
            rows = torch.arange(len(self.prompts))
            scores.append(colours[rows, self.colours] * shapes[rows, self.shapes])
        score = torch.cat(scores)
        kinds = [kind_of(p) for p in self.prompts] * rounds
        means = {
            kind: score[torch.tensor([k == kind for k in kinds])].mean().item() for kind in KINDS
        }
        return Result(means, score.mean().item(), score.std().item() / len(score) ** 0.5)


def spread(base: float, inputs: float, middle: float, outputs: float) -> Weights:
    """Return block weights from one number for each part of the model."""
    return np.array([base] + [inputs] * 12 + [middle] + [outputs] * 12)


def split(text: float, border: int, before: float = 0.0, after: float = 1.0) -> Weights:
    """Return block weights whose OUT part changes its side at a block; the rest is halved."""
    weights = spread(text, 0.5, 0.5, before)
    weights[GROUPS["OUT"].start + border :] = after
    return weights


def candidates() -> dict[str, Weights]:
    """Return named block weights: parents, uniform, whole parts, OUT split at a block."""
    named = {"A (shapes)": spread(0, 0, 0, 0), "B (colours)": spread(1, 1, 1, 1)}
    named |= {f"uniform {w}": spread(w, w, w, w) for w in (0.25, 0.4, 0.5, 0.6, 0.75)}
    for text, inputs, outputs in list(itertools.product((0, 1), repeat=3))[1:-1]:
        label = f"text {'AB'[text]}, IN {'AB'[inputs]}, OUT {'AB'[outputs]}"
        named[label] = spread(text, inputs, 0.5, outputs)
    for border in (6, 8, 9, 10):
        named[f"text .5, OUT A, from OUT{border:02} B"] = split(0.5, border)
    named["text .5, OUT B, from OUT06 A"] = split(0.5, 6, 1.0, 0.0)
    for share in (0.3, 0.7):
        named[f"text {share}, OUT A, from OUT09 B"] = split(share, 9)
    return named


def search(bench: Bench, trials: int, seed: int) -> tuple[Weights, Result]:
    """Return the best block weights of a random search with local refinement."""
    rng = np.random.default_rng(seed)
    best, result = spread(0.5, 0.5, 0.5, 0.5), None
    for trial in range(trials):
        if trial < trials // 2:
            weights = _random(rng)
        else:
            weights = np.clip(best + rng.normal(0, 0.2, 26) * (rng.random(26) < 0.4), 0, 1)
        found = bench.measure(bench.merged(weights), SEARCH_SEED)
        if result is None or found.score > result.score:
            best, result = weights, found
            print(f"  trial {trial:3} {found}  {np.round(best, 2).tolist()}", flush=True)
    if result is None:
        message = "a search needs at least one trial"
        raise ValueError(message)
    return best, result


def _random(rng: np.random.Generator) -> Weights:
    """Return smooth random weights: one number for each part and a slope inside IN and OUT."""
    weights = spread(*rng.random(4))
    ramp = np.linspace(-0.5, 0.5, 12)
    weights[GROUPS["IN"]] += ramp * rng.uniform(-1, 1)
    weights[GROUPS["OUT"]] += ramp * rng.uniform(-1, 1)
    return np.asarray(np.clip(weights, 0, 1))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_training.landscape")
    parser.add_argument("--assets", type=Path, default=assets.path("base").parent)
    parser.add_argument("--prompts", type=int, default=90, help="how many of the 90 to use")
    parser.add_argument("--search", type=int, default=0, metavar="N", help="trials of a search")
    parser.add_argument("--held-out", type=int, default=2, help="held-out pictures for a prompt")
    parser.add_argument(
        "--best", type=int, default=3, help="block weights to try on held-out seeds"
    )
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = np.random.default_rng(5).permutation(all_prompts())[: options.prompts].tolist()
    bench = Bench(options.assets, chosen)
    report(bench, options.search, options.held_out, options.best)


def report(bench: Bench, trials: int, rounds: int, best: int) -> None:
    """Print the search seeds' table, then the held-out one of the best."""
    print(f"search seeds, {len(bench.prompts)} pictures: {', '.join(KINDS)}, score", flush=True)
    print(f"{'base':36} {bench.measure(bench.base, SEARCH_SEED)}")
    named, scores = candidates(), {}
    for name, weights in named.items():
        started = time.perf_counter()
        result = bench.measure(bench.merged(weights), SEARCH_SEED)
        scores[name] = result.score
        print(f"{name:36} {result}  {time.perf_counter() - started:.1f} s", flush=True)
    if trials:
        named["search"], found = search(bench, trials, seed=7)
        scores["search"] = found.score
    ranked = sorted(scores, key=lambda n: -scores[n])
    uniform = [n for n in ranked if n.startswith("uniform")]
    parents = [n for n in named if n.startswith(("A (", "B ("))]
    blockwise = [n for n in ranked if n not in uniform + parents]
    print(f"held-out seeds, {rounds * len(bench.prompts)} pictures")
    for name in [*parents, *uniform[:2], *blockwise[:best]]:
        result = bench.measure(bench.merged(named[name]), HELD_OUT_SEED, rounds)
        print(f"{name:36} {result}", flush=True)


if __name__ == "__main__":
    main()
