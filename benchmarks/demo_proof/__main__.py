"""``python -m benchmarks.demo_proof``: the demo's merges on pictures that no search has seen.

Runs the study of ``examples/demo.yaml`` with each optimiser, chooses the best uniform merge on
the search's own pictures, then paints every prompt that the demo knows with held-out seeds by
each candidate. What is done already is not done again: delete the folder to start afresh.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.demo_proof.pictures import score
from benchmarks.demo_proof.search import best_trial, open_study
from benchmarks.demo_proof.table import Facts, markdown
from bmerge import BlockWeights, Payload
from bmerge.study.config import StudyConfig
from bmerge.study.load import load_study
from bmerge.study.study import PreparedStudy
from bmerge_plugins.demo.words import all_prompts

ROOT = Path(__file__).resolve().parents[2]
OPTIMISERS: Mapping[str, Mapping[str, object]] = {"bayes": {}, "nevergrad": {}}
ALPHAS = tuple(tenth / 10 for tenth in range(11))
HELD_OUT_SEED = 900_000
SEEDS = 12


def main() -> None:
    """Parse the command line, make the proof, print and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_proof", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "demo_proof")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "demo_proof.md"
    )
    options = parser.parse_args()
    started = time.monotonic()
    text = prove(load_study(ROOT / "examples" / "demo.yaml"), options.folder)
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text, encoding="utf-8")
    print(f"written to {options.output} after {(time.monotonic() - started) / 60:.0f} minutes")


def prove(config: StudyConfig, folder: Path) -> str:
    """Return the proof as Markdown.

    Args:
        config: the demo's study.
        folder: of the searches and of the scores that are done already.
    """
    studies: dict[str, PreparedStudy] = {}
    merges: dict[str, dict[str, BlockWeights]] = {}
    for name, options in OPTIMISERS.items():
        studies[name] = open_study(config, folder / name, name, options)
        merges[f"found by {name}"] = dict(best_trial(studies[name]).proposal.weights)
    found = tuple(merges)
    judge = open_study(config, folder / "scores", *next(iter(OPTIMISERS.items())))
    alpha, uniform = _best_uniform(judge, config, folder)
    merges = {
        "parent A, shapes": _uniform(0.0),
        "parent B, colours": _uniform(1.0),
        f"best uniform, alpha {alpha:g}": uniform,
        **merges,
    }
    payloads = _held_out(config)
    scores, in_search = {}, {}
    for name, weights in merges.items():
        print(f"painting {len(payloads)} held-out pictures: {name}", flush=True)
        kept = folder / "scores" / f"held-out-{name.replace(' ', '-').replace(',', '')}.json"
        scores[name] = score(judge, weights, payloads, kept)
        on_search = kept.with_name(kept.name.replace("held-out", "search"))
        in_search[name] = _mean(score(judge, weights, config.payloads, on_search))
    judge.evaluator.generator.close()
    return markdown(scores, in_search, found, _facts(config, studies, len(payloads)))


def _best_uniform(
    study: PreparedStudy, config: StudyConfig, folder: Path
) -> tuple[float, dict[str, BlockWeights]]:
    """Return the best uniform alpha on the search's own pictures, as a search would find it."""
    means = {
        alpha: _mean(
            score(
                study, _uniform(alpha), config.payloads, folder / f"scores/uniform-{alpha:g}.json"
            )
        )
        for alpha in ALPHAS
    }
    best = max(means, key=lambda alpha: means[alpha])
    return best, _uniform(best)


def _held_out(config: StudyConfig) -> tuple[Payload, ...]:
    """Return every prompt of the demo with each held-out seed."""
    searched = {payload.seed for payload in config.payloads}
    seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + SEEDS)
    assert searched.isdisjoint(seeds)
    model = config.payloads[0]
    return tuple(
        replace(model, id=f"h{index:02d}-s{seed}", prompt=prompt, seed=seed)
        for index, prompt in enumerate(all_prompts())
        for seed in seeds
    )


def _facts(config: StudyConfig, studies: Mapping[str, PreparedStudy], count: int) -> Facts:
    study = next(iter(studies.values()))
    seeds = sorted({payload.seed for payload in config.payloads})
    return Facts(
        command="make demo-proof",
        lines=(
            (
                f"Each candidate painted the same {count} pictures: all {len(all_prompts())} "
                f"prompts with the seeds {HELD_OUT_SEED} to {HELD_OUT_SEED + SEEDS - 1}."
            ),
            (
                f"Each search had {study.trials} trials of {len(config.payloads)} pictures with "
                f"the seeds {', '.join(map(str, seeds))} and the optimiser's seed {study.seed}."
            ),
            (
                f"The uniform alpha is the best of {', '.join(f'{a:g}' for a in ALPHAS)} on the "
                "search's own pictures."
            ),
            (
                "Intervals: bootstrap over the pictures, 10,000 resamples. p: two-sided paired "
                "permutation test over the pictures, 100,000 sign flips."
            ),
        ),
    )


def _uniform(alpha: float) -> dict[str, BlockWeights]:
    return {"alpha": BlockWeights(alpha)}


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)


if __name__ == "__main__":
    main()
