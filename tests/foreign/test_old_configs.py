"""Configurations of sd-webui-bayesian-merger and sd-optim, read as studies."""

from __future__ import annotations

import json
import random
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pytest
import yaml

from bmerge import load_registry
from bmerge.method import Hyperparameter
from bmerge.study_file.load import load_study
from bmerge.study_file.space_config import build_space
from bmerge.study_file.space_entry import HyperparameterSpace

DATA = Path(__file__).parents[1] / "data"

CONFIG = """
defaults: [_self_, {payloads: cargo}, {optimisation_guide: guide}]
run_name: ${optimiser}_${scorer_method}
url: http://127.0.0.1:7861/
model_a: models/a.safetensors
model_b: models/b.safetensors
model_c: models/c.safetensors
merge_mode: sum_twice
prune: True
weights_clip: True
rebasin: False
optimiser: tpe
bounds_transformer: False
latin_hypercube_sampling: True
guided_optimisation: True
batch_size: 2
init_points: 7
n_iters: 30
scorer_method: laion
scorer_device: cpu
scorer_model_dir: scorers
best_precision: 32
best_format: ckpt
"""
GUIDE = """
frozen_params: {block_0_alpha: 0.9, base_alpha: 0.5, block_20_beta: 0.25, block_30_alpha: 1}
custom_ranges: {block_1_beta: [0.1, 0.5], block_12_alpha: [0.4, 1.0], block_3_alpha: [0, 0.3]}
groups:
  - [block_3_alpha, block_4_alpha, block_24_alpha]
  - [block_19_beta, block_20_beta]
  - [block_5_alpha, block_5_beta]
"""
CARGO = "defaults:\n  - cargo: [cats]\nsteps: 12\ncfg_scale: 6\nseed: -1\n"
PAYLOAD = "one: {prompt: a cat}\ntwo: {prompt: a dog, seed: 5}\n"


BOMB = "a0: &a0 [x]\n" + "\n".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
)
"""A few lines that stand for 9¹¹ values."""


@pytest.fixture
def conf(tmp_path):
    """Write a folder of configuration; return the tool's folder."""

    def write(config, guide, guide_folder="optimisation_guide"):
        folder = tmp_path / "tool" / "conf"
        for name, text in (
            ("config", config), (f"{guide_folder}/guide", guide), ("payloads/cargo", CARGO),
            ("payloads/cargo/cats", PAYLOAD),
        ):  # fmt: skip
            file = folder / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return folder.parent

    return write


def test_configuration_of_bayesian_merger_is_a_study(bmerge, conf, tmp_path):
    tool, study = conf(CONFIG, GUIDE), tmp_path / "study.yaml"
    called = bmerge("import-config", tool, "-o", study)
    assert called.status == 0
    found = load_study(study)
    models = [model.path for model in found.merge.models]
    assert models == [str(tool / "models" / f"{name}.safetensors") for name in "abc"]
    assert (found.merge.method, found.merge.dtype, found.merge.clamp) == ("sum_twice", "F32", "ab")
    assert found.merge.prune
    data = yaml.safe_load(study.read_text())
    assert data["space"] == {
        "alpha": {
            "range": [0, 1],
            "blocks": {"IN00": 0.9, "BASE": 0.5, "M00": [0.4, 1], "group1": [0, 0.3]},
            "groups": {"group1": ["IN03", "IN04", "OUT11"]},
        },
        "beta": {
            "range": [0, 1],
            "blocks": {"IN01": [0.1, 0.5], "OUT06": 0.25, "OUT07": 0.25},
        },
    }
    prompts = [(payload.prompt, payload.seed, payload.steps) for payload in found.payloads]
    assert prompts == [("a cat", 0, 12), ("a cat", 1, 12), ("a dog", 5, 12)]
    assert data["generator"] == {"name": "a1111", "addresses": ["http://127.0.0.1:7861"]}
    (scorer,) = found.scorers
    assert (scorer.name, scorer.options["scorer_model_dir"]) == (
        "laion_aesthetic", str(tool / "scorers"),
    )  # fmt: skip
    optimiser = data["optimiser"]
    assert optimiser == {"name": "tpe", "seed": 1, "init": "lhs", "init_points": 7, "n_iters": 30}
    lost = called.err
    for word in ("best_format ckpt", "block_30_alpha: there is no such", "it ties alpha and beta",
                 "models_dir"):  # fmt: skip
        assert word in lost
        assert word in study.read_text()
    assert "cannot be run" not in lost


def test_settings_that_are_not_known_are_named_if_they_are_set(bmerge, conf):
    more = "rebasin_iterations: 5\nwork_dtype: bf16\nmystery: 0\nsave_best: True\ndevice: cpu\n"
    called = bmerge("import-config", conf(CONFIG + more, GUIDE), "--json")
    assert called.status == 0, called.err
    unknown = [line for line in json.loads(called.out)["lost"] if "is not known here" in line]
    assert unknown == [
        "rebasin_iterations: it is not known here", "work_dtype: it is not known here",
    ]  # fmt: skip


def test_bounds_that_close_in_come_along(bmerge, conf):
    text = CONFIG.replace("bounds_transformer: False", "bounds_transformer: True")
    for optimiser, reduces in (("bayes", True), ("tpe", None)):
        config = text.replace("optimiser: tpe", f"optimiser: {optimiser}")
        called = bmerge("import-config", conf(config, GUIDE), "--json")
        assert json.loads(called.out)["study"]["optimiser"].get("reduce") is reduces


def test_several_scorers_of_a_fork_of_bayesian_merger_are_kept_apart(bmerge, conf, tmp_path):
    several = "scorer_method: [laion, chad, cafe, manual]\nscorer_weight: {chad: 2}"
    tool = conf(CONFIG.replace("scorer_method: laion", several), GUIDE)
    study = tmp_path / "study.yaml"
    assert bmerge("import-config", tool, "-o", study).status == 0
    found = [
        (scorer.label, scorer.name, scorer.options.get("head"), scorer.weight)
        for scorer in load_study(study).scorers
    ]
    assert found == [
        ("laion_aesthetic", "laion_aesthetic", None, 1),
        ("chad", "laion_aesthetic", "ava+logos", 2),
        ("person", "person", None, 1),
    ]


OPTIM = """
defaults: [_self_, {payloads: cargo}, {optimization_guide: guide}]
webui_urls: {forge: "http://localhost:7862", comfy: "http://localhost:8188"}
webui: forge
url: "${webui_urls[${webui}]}"
model_paths: [/models/base.safetensors, b.safetensors, c.safetensors]
base_model_index: 0
merge_method: add_difference
save_dtype: bf16
optimization_mode: merge
optimizer:
  bayes: True
  optuna: False
  random_state: 42
  init_points: 10
  n_iters: 20
  bayes_config:
    sampler: latin_hypercube
    acquisition_function: {kind: ucb, kappa: 3.0, xi: 0.05, kappa_decay: 0.98,
                           kappa_decay_delay: "${optimizer.init_points}"}
batch_size: 1
scorer_method: [laion, pick, cityaes]
scorer_weight: {pick: 0.2}
scorer_default_device: cpu
"""
STRATEGIES = """
custom_block_config_id: sdxl-optim_blocks
components:
  - name: diffuser
    optimize_params: [alpha, rank]
    strategies:
      - type: group
        groups:
          - {name: early, keys: ["UNET_IN00", "UNET_IN0[1-3]"]}
          - {name: mid, keys: [UNET_MID00]}
      - {type: select, keys: ["*.output_blocks.8.*", "UNET_OUT0?", UNET_NOWHERE]}
  - {name: clip_l, strategies: [{type: all, optimize_params: [alpha]}]}
  - {name: clip_g, strategies: [{type: single, optimize_params: [alpha]}]}
  - {name: vae, strategies: [{type: none}]}
custom_bounds:
  early_alpha: [0.25, 0.5]
  UNET_OUT03_alpha: 0.125
  alpha: {range: [0.1, 0.9], log: true}
  mid_alpha: [8, 16, 32]
"""


def test_configuration_of_sd_optim_is_a_study(bmerge, conf, tmp_path):
    tool, study = conf(OPTIM, STRATEGIES, "optimization_guide"), tmp_path / "study.yaml"
    called = bmerge("import-config", tool / "conf", "-o", study, "--json")
    assert called.status == 0
    data = json.loads(called.out)
    assert data["study"] == yaml.safe_load(study.read_text())
    load_study(study)
    alpha = data["study"]["space"]["alpha"]
    assert alpha["groups"] == {"early": ["IN00", "IN01", "IN02", "IN03"], "mid": ["M00"]}
    assert (alpha["freeze"], alpha["scale"]) == (0.5, "log")
    searched = {
        block: [0.1, 0.9] for block in ("OUT00", "OUT01", "OUT02", "OUT04", "OUT08", "BASE")
    }
    assert alpha["blocks"].items() >= searched.items()
    assert (alpha["blocks"]["early"], alpha["blocks"]["OUT03"]) == ([0.25, 0.5], 0.125)
    models = data["study"]["merge"]["models"]
    assert models == [str(tool / "b.safetensors"), str(tool / "c.safetensors"),
                      "/models/base.safetensors"]  # fmt: skip
    assert data["study"]["generator"]["addresses"] == ["http://localhost:7862"]
    names = [(scorer["name"], scorer.get("weight")) for scorer in data["study"]["scorers"]]
    assert names == [("laion_aesthetic", None), ("pickscore", 0.2), ("person", None)]
    assert data["study"]["optimiser"] == {
        "name": "bayes", "seed": 42, "init_points": 10, "n_iters": 20, "init": "lhs",
        "acquisition": "ucb", "kappa": 3.0, "xi": 0.05, "kappa_decay": 0.98,
        "kappa_decay_delay": 10,
    }  # fmt: skip
    lost = "\n".join(data["lost"])
    for word in ("no 'rank'", "UNET_NOWHERE", "clip_g: BASE goes with clip_l", "mid_alpha: choices",
                 "scorer cityaes", "share the value of their block"):  # fmt: skip
        assert word in lost


UNKNOWN = """
mystery: {a: {b: 3, c: null}, d: False}
nothing: {enabled: False, path: None}
optimizer:
  bayes: %s
  optuna: True
  oddity: 1
  bayes_config:
    sampler: halton
    acquisition_function: {kind: ei, xi: "1e-2", kappa: null, temperature: 4}
    bounds_transformer: {enabled: True, gamma_osc: 0.65, gamma_pan: 0.9, eta: 0.83, curve: 1}
  optuna_config:
    use_pruning: True
    pruner_type: median
    patience: 10
    n_jobs: 3
    launch_dashboard: True
    sampler: {type: tpe, multivariate: True, group: True, constant_liar: False, c: 1, d: 2}
"""


@pytest.mark.parametrize(("bayes", "lost", "optimiser"), [
    (True, ["sampler halton: sobol takes", "optimizer.bayes_config.acquisition_function.temp",
            "optimizer.bayes_config.bounds_transformer.curve: it"],
     {"name": "bayes", "init": "sobol", "acquisition": "ei", "xi": 0.01, "reduce": True,
      "gamma_osc": 0.65, "gamma_pan": 0.9, "eta": 0.83}),
    (False, ["use_pruning: see", "n_jobs: `evaluators`",
             *(f"optimizer.optuna_config.sampler.{key}: it is not known here"
               for key in ("multivariate", "group", "c", "d"))],
     {"name": "tpe", "init": "random"}),
])  # fmt: skip
def test_every_setting_of_sd_optim_that_does_not_come_along_is_named(
    bmerge, conf, bayes, lost, optimiser
):
    whole = yaml.safe_load(OPTIM) | yaml.safe_load(UNKNOWN % bayes)
    whole["defaults"].append({"webui_presets": "forge"})
    guide = yaml.safe_load(STRATEGIES)
    guide["components"][0]["strategies"][0]["groups"][0]["speed"] = 3
    guide |= {"merge_keys": {"enabled": False}, "custom_ranges": {"x": [0, 1]}}
    tool = conf(yaml.safe_dump(whole), yaml.safe_dump(guide), "optimization_guide")
    called = bmerge("import-config", tool, "--json")
    assert called.status == 0, called.err
    told = json.loads(called.out)
    counts = {"seed": 0, "init_points": 10, "n_iters": 20}
    assert told["study"]["optimiser"] == counts | optimiser
    rest = [
        *("webui_presets forge, of the defaults", "mystery: it", "optimizer.oddity: it"),
        *("components.1.strategies.1.groups.1.speed of the guide", "custom_ranges of the guide"),
    ]
    for start in (*lost, *rest):
        assert any(line.startswith(start) for line in told["lost"]), start
    unknown = [line for line in told["lost"] if "not known here" in line and "scorer" not in line]
    assert len(unknown) == len([start for start in lost if start.startswith("opt")]) + len(rest)


def test_settings_of_the_first_versions_of_sd_optim_stand_beside_each_other(bmerge, conf):
    whole = yaml.safe_load(OPTIM)
    inner = whole["optimizer"].pop("bayes_config")
    whole["optimizer"] |= inner | {
        "sampler": {"type": "cmaes", "multivariate": True}, "use_pruning": True, "n_jobs": 2,
        "load_log_file": "None", "bounds_transformer": {"enabled": False, "eta": 0.8},
    }  # fmt: skip
    read = []
    for bayes in (True, False):
        whole["optimizer"]["bayes"] = bayes
        tool = conf(yaml.safe_dump(whole), STRATEGIES, "optimization_guide")
        told = json.loads(bmerge("import-config", tool, "--json").out)
        read.append((told["study"]["optimiser"], "\n".join(told["lost"])))
    (bayes, of_bayes), (optuna, of_optuna) = read
    assert (bayes["name"], bayes["kappa"], bayes["kappa_decay_delay"]) == ("bayes", 3.0, 10)
    assert "reduce" not in bayes
    assert "optimizer" not in of_bayes
    assert "use_pruning" not in of_bayes
    assert optuna["name"] == "cmaes"
    assert "use_pruning" in of_optuna
    assert "optimizer.sampler.multivariate: it is not known here" in of_optuna
    assert of_optuna.count("optimizer.") == 1


def test_guides_of_the_first_versions_have_one_strategy_for_all_parameters(bmerge, conf):
    guide = """
components:
  - {name: unet, strategy: select, keys: ["*.input_blocks.4.*", UNET_MID00]}
  - {name: clip_l, strategy: single}
  - {name: vae, strategy: none}
custom_bounds: {alpha: [0.2, 0.4]}
"""
    called = bmerge("import-config", conf(OPTIM, guide, "optimization_guide"), "--json")
    assert called.status == 0, called.err
    alpha = json.loads(called.out)["study"]["space"]["alpha"]
    assert alpha["groups"] == {"clip_l_single": ["BASE"]}
    assert alpha["blocks"] == {key: [0.2, 0.4] for key in ("IN04", "M00", "clip_l_single")}


def test_a_guide_that_names_nothing_to_search_is_told(bmerge, conf):
    guide = "components: [{name: unet, optimise: {alpha: all}}]\n"
    called = bmerge("import-config", conf(OPTIM, guide, "optimization_guide"))
    assert called.status == 0
    assert "not carried over: optimization_guide: no strategy of it names what" in called.err


LUMI = """
custom_block_config_id: sdxl-lumi_blocks
components:
  - name: unet
    strategies:
      - {type: select, optimize_params: [alpha], keys: ["UNET_DOWN_BLOCK_?", UNET_MID_BLOCK]}
      - {type: group, optimize_params: [alpha], groups: [{name: up, keys: ["UNET_UP_*"]}]}
      - {type: select, optimize_params: [alpha], keys: [UNET_MID_BLOCK]}
custom_bounds: {UNET_DOWN_BLOCK_1_alpha: "(0.2, 0.4)"}
"""


def test_blocks_of_sd_optim_that_are_several_here_are_groups(bmerge, conf, tmp_path):
    tool, study = conf(OPTIM, LUMI, "optimization_guide"), tmp_path / "study.yaml"
    data = json.loads(bmerge("import-config", tool, "-o", study, "--json").out)
    load_study(study)
    alpha = data["study"]["space"]["alpha"]
    assert alpha["groups"] == {
        "UNET_DOWN_BLOCK_0": ["IN01", "IN02"],
        "UNET_DOWN_BLOCK_1": ["IN04", "IN05"],
        "UNET_DOWN_BLOCK_2": ["IN07", "IN08"],
        "up": [f"OUT0{i}" for i in range(9)],
    }
    assert alpha["blocks"]["UNET_DOWN_BLOCK_1"] == [0.2, 0.4]
    assert alpha["blocks"]["M00"] == [0, 1]
    assert any("M00 goes with UNET_MID_BLOCK, which was there first" in x for x in data["lost"])


ATTENTION = """
custom_block_config_id: sdxl-attn_blocks
components:
  - name: unet
    strategies:
      - {type: select, optimize_params: [alpha], keys: ["UNET_SELF_ATTN_*", UNET_ELSEWHERE]}
      - {type: group, optimize_params: [alpha],
         groups: [{name: rest, keys: ["UNET_CROSS_*", UNET_ATTN_*, UNET_RES_*, UNET_EMBED]}]}
custom_bounds: {alpha: [0.2, 0.8]}
"""


def test_blocks_of_sd_optim_that_are_kinds_of_layers_are_searched_as_such(bmerge, conf, tmp_path):
    tool, study = conf(OPTIM, ATTENTION, "optimization_guide"), tmp_path / "study.yaml"
    data = json.loads(bmerge("import-config", tool, "-o", study, "--json").out)
    load_study(study)
    alpha = data["study"]["space"]["alpha"]
    entry = HyperparameterSpace(
        layers={kind: tuple(patterns) for kind, patterns in alpha["layers"].items()},
        groups={name: tuple(blocks) for name, blocks in alpha["groups"].items()},
        blocks={name: tuple(bounds) for name, bounds in alpha["blocks"].items()},
        freeze=alpha["freeze"],
    )
    keys: dict[str, list[str]] = {}
    architecture = load_registry().architectures["sdxl"]
    for key in (DATA / "keys_sdxl.txt").read_text().split():
        keys.setdefault(architecture.block_of(key), []).append(key)
    parameter = Hyperparameter("alpha", default=0.5, low=0.0, high=1.0)
    space = build_space({"alpha": entry}, [parameter], architecture, present=keys, keys=keys)
    assert {(p.name, p.low, p.high) for p in space.space.parameters} == {
        (f"alpha.unet.{kind}", 0.2, 0.8)
        for kind in ("UNET_SELF_ATTN_QKV", "UNET_SELF_ATTN_PROJ", "rest")
    }
    assert any("'UNET_ELSEWHERE' names no block of sdxl-attn_blocks" in x for x in data["lost"])


def test_kinds_of_layers_in_each_stage_are_searched_apart(bmerge, conf, tmp_path):
    guide = """
custom_block_config_id: sdxl-type_structure_blocks
components:
  - name: unet
    strategies: [{type: all, optimize_params: [alpha]}]
"""
    tool, study = conf(OPTIM, guide, "optimization_guide"), tmp_path / "study.yaml"
    data = json.loads(bmerge("import-config", tool, "-o", study, "--json").out)
    load_study(study)
    layers = data["study"]["space"]["alpha"]["layers"]
    start = "model.diffusion_model."
    known = (DATA / "keys_sdxl.txt").read_text().split()
    owners = {
        key: [
            kind
            for kind, patterns in layers.items()
            if any(map(partial(fnmatchcase, key), patterns))
        ]
        for key in known
        if key.startswith(start)
    }
    assert {len(kinds) for kinds in owners.values()} == {1}
    assert set(layers) == {kind for (kind,) in owners.values()}
    for key, kind in {
        "input_blocks.2.0.emb_layers.1.weight": "UNET_DOWN0_RES",
        "input_blocks.6.0.op.bias": "UNET_DOWN1_CONV_DOWN",
        "input_blocks.7.1.transformer_blocks.3.norm2.weight": "UNET_DOWN2_NORM",
        "middle_block.1.proj_in.weight": "UNET_MID_RES",
        "output_blocks.2.2.conv.weight": "UNET_UP2_RES",
        "output_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": "UNET_UP1_ATTN_CROSS",
        "output_blocks.8.0.skip_connection.weight": "UNET_UP0_SKIP",
        "out.0.bias": "UNET_NORM_OUTPUT",
    }.items():
        assert owners[start + key] == [kind]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (CONFIG.replace("sum_twice", "sum_thrice"), "did you mean"),
        (CONFIG.replace("model_c", "model_z"), "names 2 models, but sum_twice takes 3"),
        (CONFIG.replace("payloads: cargo", "payloads: gone"), "no payload file"),
        (
            OPTIM.replace("mode: merge", "mode: recipe").replace(
                "optimization_g", "optimisation_g"
            ),
            "only 'merge' is read",
        ),
        (
            CONFIG.replace("init_points: 7", "init_points: x"),
            "config.yaml: init_points must be a whole number, not 'x'",
        ),
        (CONFIG.replace("n_iters: 30", "n_iters: [3]"), "n_iters must be a whole number, not [3]"),
        (CONFIG.replace("batch_size: 2", "batch_size: .inf"), "batch_size must be a whole number"),
        (CONFIG.replace("n_iters: 30", f"n_iters: {'9' * 400}"), "n_iters must be a whole number"),
        (
            CONFIG.replace("scorer_device: cpu", "scorer_weight: {laion: [1]}"),
            "config.yaml: scorer_weight.laion must be a number, not [1]",
        ),
        (
            CONFIG.replace("scorer_device: cpu", "scorer_weight: [laion]"),
            "config.yaml: scorer_weight must be a mapping, not ['laion']",
        ),
        (CONFIG.replace("models/a.safetensors", "{}"), "names 2 models"),
        (CONFIG.replace("models/a.safetensors", "[a]"), "model_a must be a text, not ['a']"),
        ("- a list", "config.yaml: is not a mapping"),
        ("a: [", "config.yaml: is not YAML"),
        (BOMB, "config.yaml: holds more than 100,000 values"),
        ("a: &a [*a]", "config.yaml: holds more than 100,000 values"),
    ],
    ids=[
        "method",
        "models",
        "payloads",
        "mode",
        "points",
        "iterations",
        "infinity",
        "digits",
        "weight",
        "weights",
        "no model",
        "models in a list",
        "list",
        "damaged",
        "aliases of aliases",
        "alias of itself",
    ],
)
def test_what_cannot_be_read_is_one_line(bmerge, conf, config, said, tmp_path):
    called = bmerge("import-config", conf(config, GUIDE), "-o", tmp_path / "study.yaml")
    assert (called.status, called.out) == (1, "")
    assert said in called.err
    assert not (tmp_path / "study.yaml").exists()


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        ("frozen_params: 3", "frozen_params must be a mapping, not 3"),
        ("custom_ranges: [1]", "custom_ranges must be a mapping, not [1]"),
        ("groups: [[block_0_alpha], 3]", "groups.2 must be a list, not 3"),
        ("groups: [[block_0_alpha, [x]]]", "groups.1.2 must be a text, not ['x']"),
        ("frozen_params: {block_0_alpha: high}",
         "frozen_params.block_0_alpha must be a number, not 'high'"),
        ("custom_ranges: {block_0_alpha: 0.5}",
         "custom_ranges.block_0_alpha must be a list of two numbers, not 0.5"),
        ("custom_ranges: {block_0_alpha: [0, 1, 2]}", "must be a list of two numbers"),
        ("custom_ranges: {block_0_alpha: [0, .nan]}", "must be a list of two numbers"),
    ],
)  # fmt: skip
def test_guide_that_no_tool_would_take_is_one_line(bmerge, conf, guide, said, tmp_path):
    called = bmerge("import-config", conf(CONFIG, guide), "-o", tmp_path / "study.yaml")
    assert (called.status, called.out) == (1, "")
    assert f"guide.yaml: {said}" in called.err or said in called.err
    assert not (tmp_path / "study.yaml").exists()


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        ("components: [3]", "components.1 must be a mapping, not 3"),
        ("components: [{name: unet, strategies: 3}]",
         "components.1.strategies must be a list, not 3"),
        ("components: [{name: unet, strategies: [{type: [all]}]}]",
         "components.1.strategies.1.type must be a text, not ['all']"),
        ("components: [{optimize_params: [alpha], strategies: [{type: select, keys: UNET_IN01}]}]",
         "components.1.strategies.1.keys must be a list, not 'UNET_IN01'"),
        ("custom_bounds: [1]", "custom_bounds must be a mapping, not [1]"),
    ],
)  # fmt: skip
def test_guide_that_sd_optim_would_not_take_is_one_line(bmerge, conf, guide, said):
    called = bmerge("import-config", conf(OPTIM, guide, "optimization_guide"))
    assert (called.status, called.out) == (1, "")
    assert f"guide.yaml: {said}" in called.err


ODD = [None, -1, 3, 2**70, 1e308, float("nan"), float("inf"), "", "x", "~nobody/x", "${n_iters}",
       [], [3], {}, [None], {"a": 1}, True, [[[]]], ["x", 1], {"range": 3}]  # fmt: skip


def places(data, at=()):
    """Yield where something is in a file."""
    yield at
    inner = enumerate(data) if isinstance(data, list) else ()
    for key, value in data.items() if isinstance(data, dict) else inner:
        yield from places(value, (*at, key))


@pytest.mark.parametrize("tool", ["bayesian merger", "sd-optim"])
def test_any_value_in_any_place_is_read_or_one_line_with_file_and_key(bmerge, conf, tool):
    chance = random.Random(tool)
    files = [CONFIG, GUIDE, PAYLOAD] if tool[0] == "b" else [OPTIM, STRATEGIES, PAYLOAD]
    folder = "optimisation_guide" if tool[0] == "b" else "optimization_guide"
    refused = 0
    for _ in range(40):
        parsed = [yaml.safe_load(text) for text in files]
        data = chance.choice(parsed[:2])
        *above, last = chance.choice([at for at in places(data) if at])
        holder = data
        for key in above:
            holder = holder[key]
        holder[last] = chance.choice(ODD)
        texts = [yaml.safe_dump(each) for each in parsed]
        called = bmerge("import-config", conf(*texts[:2], folder))
        assert "bug" not in called.err, (texts, called.err)
        assert called.status in {0, 1}
        if called.status:
            refused += 1
            error, *hints = [x for x in called.err.splitlines() if not x.startswith("not carried")]
            assert error.startswith("error: "), called.err
            assert all(hint.startswith("hint: ") for hint in hints)
            where = next(str(key) for key in reversed((*above, last)) if isinstance(key, str))
            assert "yaml" in error or where in error or "method" in error, error
    assert 4 < refused < 36


def test_files_may_be_named_with_their_suffix(bmerge, conf, tmp_path):
    config = CONFIG.replace("payloads: cargo", "payloads: cargo.yaml")
    config = config.replace("optimisation_guide: guide", "optimisation_guide: guide.yaml")
    said = []
    for text in (CONFIG, config):
        out = tmp_path / "study.yaml"
        called = bmerge("import-config", conf(text, GUIDE), "-o", out, "--force")
        assert called.status == 0, called.err
        said.append(out.read_text())
    assert said[0] == said[1]


def test_folder_without_a_configuration_is_one_line(bmerge, tmp_path):
    called = bmerge("import-config", tmp_path)
    assert called.status == 1
    assert "has no config.yaml, nor conf/config.yaml" in called.err
