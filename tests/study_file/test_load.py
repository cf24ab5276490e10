"""Study files: what they mean, and that mistakes are found with their line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bmerge import RecipeError
from bmerge.recipe import ModelRef
from bmerge.study_file.load import load_study
from bmerge.study_file.space_config import build_space
from bmerge.trials.objective import Objective, Objectives
from toy_study import ALPHA, TOY

FULL = """\
name: demo
merge: {method: weighted_sum, models: [a.safetensors, {path: /b.safetensors, sha256: ff}],
        dtype: fp16, architecture: auto, seed: 3, on_missing: error, clamp: all, exclude: [BASE]}
space:
  alpha:
    range: [0, 0.8]
    groups: {text: BASE, ins: [IN00, IN01]}
    blocks: {M00: 0.5, OUT00-OUT01: [0.2, 0.7]}
payloads:
  defaults: {steps: 12, cfg: 2.5, extra: {eta: 1}}
  seeds: [1, 2]
  prompts:
    - a red circle
    - {prompt: a blue star, seed: 7, weight: 2, cfg: 1}
    - {prompt: a moon, seeds: {start: 5, count: 2}, extra: {clip_skip: 2}}
generator: {name: demo, batch: 48}
scorers:
  - {name: judge, weight: 1}
  - {name: judge, label: other, weight: 0, side: left}
optimiser: {name: bayes, seed: 1, init: lhs, init_points: 12, n_iters: 28, kappa: 2.5}
try: [{alpha: GRAD_V}, {alpha: {"*": 0.5, M00: 1e-1}}]
out: here
executor: {name: native, memory: 512M, threads: 2, io: mmap}
"""


@pytest.fixture
def load(tmp_path):
    def call(text):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return load_study(path)

    return call


def test_load_study_reads_all_sections(load, tmp_path):
    study = load(FULL)
    assert study.merge.models == (
        ModelRef(os.fspath(tmp_path / "a.safetensors")),
        ModelRef("/b.safetensors", "ff"),
    )
    assert (study.merge.dtype, study.merge.architecture, study.merge.seed) == ("F16", None, 3)
    assert study.merge.on_missing == "error"
    assert (study.merge.clamp, study.merge.exclude) == ("all", ("BASE",))
    assert study.generator.options == {"batch": 48}
    assert [(s.name, s.label, s.weight) for s in study.scorers] == [
        ("judge", "judge", 1.0),
        ("judge", "other", 0.0),
    ]
    assert study.scorers[1].options == {"side": "left"}
    assert (study.optimiser.init, study.optimiser.n_iters) == ("lhs", 28)
    assert study.optimiser.options == {"kappa": 2.5}
    assert study.attempts[1] == {"alpha": {"*": 0.5, "M00": 0.1}}
    assert (study.out, study.baselines, study.storage) == (Path("here"), True, None)
    options = study.executor.options
    assert (options.memory, options.threads, options.io) == (512 * 2**20, 2, "mmap")


def test_load_study_makes_payloads_of_prompts_and_seeds(load):
    payloads = load(FULL).payloads
    assert [p.id for p in payloads] == ["p00-s1", "p00-s2", "p01-s7", "p02-s5", "p02-s6"]
    assert [p.seed for p in payloads] == [1, 2, 7, 5, 6]
    assert [p.cfg for p in payloads] == [2.5, 2.5, 1.0, 2.5, 2.5]
    assert [p.weight for p in payloads] == [1.0, 1.0, 2.0, 1.0, 1.0]
    assert payloads[-1].extra == {"eta": 1, "clip_skip": 2}


def test_load_study_space_builds(load):
    search = build_space(load(FULL).space, [ALPHA], TOY)
    assert search.space.names == ("alpha.text", "alpha.ins", "alpha.OUT00", "alpha.OUT01")


def test_load_study_has_defaults(load):
    study = load(
        "merge: {method: m, models: [a, b]}\n"
        "payloads: {prompts: [x]}\n"
        "generator: {name: g}\nscorers: [{name: s}]\n"
    )
    assert (study.name, study.out) == ("study", Path("runs/study"))
    assert (study.optimiser.name, study.optimiser.n_iters) == ("auto", 40)
    assert [p.seed for p in study.payloads] == [0]
    assert study.space == {}


def changed(old, new):
    assert old in FULL
    return FULL.replace(old, new)


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        (changed("optimiser:", "optimizer:"), 19, "unknown key 'optimizer'", "'optimiser'"),
        (changed("models:", "model:"), 2, "unknown key 'model'", "'models'"),
        (changed("    range: [0", "    rnge: [0"), 6, "unknown key 'rnge'", "'range'"),
        (changed("steps: 12", "stepz: 12"), 10, "unknown key 'stepz'", "'steps'"),
        (changed("weight: 2,", "wieght: 2,"), 14, "unknown key 'wieght'", "'weight'"),
        (changed("steps: 12", "steps: many"), 10, "steps must be a whole number", None),
        (changed("[0, 0.8]", "[0.8, 0]"), 6, r"low must be below high, not \[0.8, 0\]", None),
        (changed("[0, 0.8]", "[0, 0.5, 0.8]"), 6, r"must be \[low, high\]", None),
        (changed("seeds: [1, 2]", "seeds: [1, 1]"), 11, "seeds holds 1 twice", None),
        (changed("seeds: [1, 2]", "seeds: [4294967296]"), 11, "below 2\\*\\*32", None),
        (changed("seeds: [1, 2]", "seeds: []"), 11, "at least one", None),
        (changed("init: lhs", "init: sobl"), 20, "one of random, lhs, sobol", "'sobol'"),
        (changed("fp16", "floot16"), 3, "unknown dtype 'floot16'", "'float16'"),
        (changed(", label: other", ""), 18, "two scorers have the label 'judge'", "label"),
        (changed("weight: 1}", "weight: 0}"), 18, "a weight other than 0", None),
        (changed("weight: 1}", "weight: -1e7}"), 18, "weight must be between -1e.06 and 1e", None),
        (changed("weight: 2,", "weight: 1e7,"), 14, "must be between 0 and 1e.06, not 1e.07", None),
        (changed("{name: demo, ", "{"), 16, "generator needs the key 'name'", None),
        (changed("n_iters: 28", "n_iters: -1"), 20, "n_iters must be 0 or more", None),
        (changed("name: native", "name: cuda"), 23, "one of 'auto', 'native', 'torch'", None),
        (changed("seed: 7,", "seed: 7, seeds: [1],"), 14, "either seed or seeds", None),
        ("name: [", 1, "not well-formed", None),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_load_study_error_has_its_line(load, text, line, message, hint):
    with pytest.raises(RecipeError, match=message) as caught:
        load(text)
    assert abs(caught.value.line - line) <= 1
    assert str(caught.value).partition(": ")[0].endswith(f"study.yaml:{caught.value.line}")
    assert hint is None or hint in caught.value.hint


def test_load_study_block_error_has_its_line(load):
    study = load(changed("M00: 0.5", "M0: 0.5"))
    with pytest.raises(RecipeError, match=r"study.yaml:8: unknown block 'M0'"):
        build_space(study.space, [ALPHA], TOY)


SCORED = """\
merge: {method: m, models: [a, b]}
payloads: {prompts: [x, {prompt: y, tags: [hands, close]}, {prompt: z, tags: text, weight: 0}]}
generator: {name: g}
scorers: [{name: s, only: hands}, {name: t, label: u}]
normalise: zscore
objectives: {beauty: {s: 1, u: -0.5}, hands: {u: 2}}
optimiser: {name: random}
"""


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        ("[x, y, x]", "the picture p02-s0 of 'x' is p00-s0 again: give a prompt once"),
        ("[x, {prompt: x, weight: 2}, {prompt: x, tags: a}]", "again (2 of 3 repeat others): give"),
        ("[x, {prompt: x, seed: 3}, {prompt: x, steps: 3}, {prompt: x, extra: {a: 1}}]", None),
    ],
)
def test_load_study_tells_of_a_picture_that_would_be_painted_twice(load, caplog, prompts, told):
    study = load(
        "merge: {method: m, models: [a, b]}\n"
        f"payloads: {{prompts: {prompts}}}\n"
        "generator: {name: g}\nscorers: [{name: s}]\n"
    )
    assert (told in caplog.text) if told else not caplog.text
    witnesses = study.objectives.witnesses
    assert witnesses.prompt(study.payloads[0].id) == witnesses.prompt(study.payloads[-1].id)


def test_load_study_reads_objectives_and_filters(load):
    study = load(SCORED)
    assert study.objectives == Objectives(
        (Objective("beauty", {"s": 1.0, "u": -0.5}), Objective("hands", {"u": 2.0})), "zscore"
    )
    assert [scorer.only for scorer in study.scorers] == [("hands",), ()]
    assert [p.tags for p in study.payloads] == [(), ("hands", "close"), ("text",)]
    assert load(FULL).objectives == Objectives((Objective("score", {"judge": 1.0}),), "none")


@pytest.mark.parametrize(
    ("old", "new", "line", "message", "hint"),
    [
        ("only: hands", "only: hand", 4, "s would judge nothing", "'hands'"),
        ("only: hands", "only: [text]", 4, "s would judge nothing", "hands"),
        ("u: 2", "t: 2", 6, "no scorer has the label 't'", "known: s, u"),
        ("u: 2", "u: 0", 6, "'hands' needs a scorer with a weight", None),
        ("{beauty: {s: 1, u: -0.5}, hands: {u: 2}}", "{}", 6, "must name at least one", None),
        ("only: hands", "weight: 2", 4, "weights of scorers are given in objectives", None),
        ("zscore", "zscor", 5, "one of none, zscore, rank", "'zscore'"),
    ],
)
def test_load_study_refuses_objectives_that_make_no_sense(load, old, new, line, message, hint):
    assert old in SCORED
    with pytest.raises(RecipeError, match=rf"study.yaml:{line}: .*{message}") as caught:
        load(SCORED.replace(old, new))
    assert hint is None or hint in caught.value.hint


def test_load_study_without_prompts_is_an_error(load):
    with pytest.raises(RecipeError, match="weight above 0"):
        load(FULL.replace("weight: 2", "weight: 0").replace("cfg: 2.5", "weight: 0"))


def test_load_study_space_has_kinds(load):
    study = load(FULL.replace("    range: [0, 0.8]", "    range: [0.1, 0.8]\n    scale: log"))
    assert {p.kind for p in build_space(study.space, [ALPHA], TOY).space.parameters} == {"log"}
    with pytest.raises(RecipeError, match="scale.* 'ln'"):
        load(FULL.replace("    range: [0, 0.8]", "    scale: ln"))
