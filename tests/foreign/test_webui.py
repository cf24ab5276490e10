"""What supermerger, Chattiori's merger and the web UI write into merged files.

Their keys and values are those that these tools' sources write; the tools are extensions of a web
UI, which cannot be run here.
"""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase

import numpy as np
import pytest

from bmerge.architectures import builtin
from bmerge.errors import RecipeError
from bmerge.foreign import read_any_recipe
from bmerge.recipe import BlockWeights, ModelRef, Value, load_recipe
from bmerge.testing import read_checkpoint, tiny_sd1, tiny_sdxl, write_checkpoint
from bmerge.testing.layouts import sd1_layout, sdxl_layout, shrink

HASHES = {name: hashlib.sha256(name.encode()).hexdigest() for name in "abc"}
NAMES = {
    HASHES["a"]: {"name": "sub/a.safetensors [0123456789]", "legacy_hash": "01234567"},
    HASHES["b"]: {"name": "b", "legacy_hash": "01234567"},
    HASHES["c"]: {"name": "c.ckpt", "legacy_hash": "01234567"},
}
SUPERMERGER = {
    "type": "sd-webui-supermerger", "weights_alpha": None, "weights_beta": None,
    "weights_alpha_orig": None, "weights_beta_orig": None, "model_a": HASHES["a"],
    "model_b": HASHES["b"], "model_c": HASHES["c"], "base_alpha": 0.3, "base_beta": 0.25,
    "mode": "Weight sum", "mbw": False, "elemental_merge": [], "calcmode": "normal", "Off": [],
}  # fmt: skip
CHATTIORI = {
    "type": "merge-models-chattiori", "primary_model_hash": HASHES["a"],
    "secondary_model_hash": HASHES["b"], "tertiary_model_hash": HASHES["c"],
    "merge_method": "Sum Twice", "block_weights": False, "alpha_info": "0.3",
    "beta_info": "0.4", "calculation": None, "save_as_half": True, "output_name": "merged",
    "bake_in_vae": False, "pruned": False,
}  # fmt: skip
WEBUI = {
    "type": "webui", "primary_model_hash": HASHES["a"], "secondary_model_hash": HASHES["b"],
    "tertiary_model_hash": None, "interp_method": "Weighted sum", "multiplier": 0.3,
    "save_as_half": False, "custom_name": "", "config_source": 0, "bake_in_vae": "None",
    "discard_weights": "", "is_inpainting": False, "is_instruct_pix2pix": False,
}  # fmt: skip
KEYS = [key for key, _, _ in shrink(sd1_layout())]


@pytest.fixture
def read(tmp_path):
    def read(recipe, names=NAMES, keys=KEYS, **changes):
        metadata = {
            "sd_merge_recipe": json.dumps({**recipe, **changes}),
            "sd_merge_models": json.dumps(names),
        }
        tensors = {key: np.zeros(2, "f4") for key in keys}
        file = tmp_path / "merged.safetensors"
        write_checkpoint(file, tensors, dtype="F16", metadata=metadata)
        return read_any_recipe(file)

    return read


@pytest.mark.parametrize(
    ("changes", "method", "count", "values"),
    [
        ({}, "weighted_sum", 2, {"alpha": 0.3}),
        ({"mode": "Add difference:A+(B-C)*alpha"}, "add_difference", 3, {"alpha": 0.3}),
        ({"mode": "Triple sum"}, "triple_sum", 3, {"alpha": 0.3, "beta": 0.25}),
        ({"mode": "sum Twice"}, "sum_twice", 3, {"alpha": 0.3, "beta": 0.25}),
        ({"calcmode": "trainDifference"}, "train_difference", 3, {"alpha": 0.3}),
        ({"calcmode": "tensor2"}, "tensor_columns", 2, {"alpha": 0.3, "beta": 0.25}),
        ({"calcmode": "self"}, "passthrough", 1, {"scale": 0.3}),
        ({"calcmode": "cosineA"}, "cosine_a", 2, {"alpha": 0.3}),
        ({"calcmode": "cosineB"}, "cosine_b", 2, {"alpha": 0.3}),
    ],
)  # fmt: skip
def test_modes_and_calculations_of_supermerger(read, changes, method, count, values):
    recipe = read(SUPERMERGER, **changes)
    assert recipe.method == method
    models = [
        ModelRef("sub/a.safetensors", HASHES["a"]), ModelRef("b.safetensors", HASHES["b"]),
        ModelRef("c.ckpt", HASHES["c"]),
    ]  # fmt: skip
    assert list(recipe.models) == models[:count]
    assert recipe.hyperparameters == {n: BlockWeights(v) for n, v in values.items()}
    assert recipe.exclude == {
        "passthrough": ("*to_out*", "*proj_out*", "*norm*"),
        "cosine_a": ("first_stage_model.*",),
        "cosine_b": ("first_stage_model.*",),
    }.get(method, ())


@pytest.mark.parametrize("form", [lambda w: ",".join(map(str, w)), list], ids=["text", "list"])
def test_block_weights_of_supermerger_have_the_base_apart(read, form):
    weights = [index / 24 for index in range(25)]
    recipe = read(
        SUPERMERGER, mbw=True, weights_alpha=form(weights), base_alpha=0.9, Exclude=["M00", "attn2"]
    )
    alpha = recipe.hyperparameters["alpha"]
    blocks = ("BASE", "IN00", "IN01", "M00", "OUT11")
    assert [alpha.of(block) for block in blocks] == [0.9, 0.0, 1 / 24, 0.5, 1.0]
    assert recipe.exclude == ("M00", "*attn2*")
    assert recipe.architecture == "sd1"


ENTRIES = [
    ":attn1:0.9", "IN04-OUT03:attn2 ff:0.6", "M00::0.7", "NOT BASE OUT03:emb_layers:0.4",
    "IN00:attn1:0.2", "BASE::0.1", "note", "OUT05:IN04:0.2", "IN07 IN08:to_k:0.8",
]  # fmt: skip
THEIR_BLOCKS = [
    "BASE",
    *(f"IN{i:02}" for i in range(12)),
    "M00",
    *(f"OUT{i:02}" for i in range(12)),
]


def _elemental_alpha(key, block, entries):
    """Return supermerger's alpha for a key, or None: the last entry that is for it."""
    alpha = None
    for blocks, elements, ratio in (e.split(":") for e in entries if e.count(":") == 2):
        first, dash, last = blocks.partition("-")
        if dash:
            begin, end = THEIR_BLOCKS.index(first), THEIR_BLOCKS.index(last)
            blocks = " ".join(THEIR_BLOCKS[begin : end + 1])  # noqa: PLW2901
        words = blocks.removeprefix("NOT ").split(" ")
        here = any(word in key + block for word in words) is not blocks.startswith("NOT ")
        if here and any(word in key + block for word in elements.split(" ")):
            alpha = float(ratio)
    return alpha


@pytest.mark.parametrize("form", [list, "\n".join], ids=["list", "text"])
@pytest.mark.parametrize(("layout", "name"), [(sd1_layout, "sd1"), (sdxl_layout, "sdxl")])
def test_weights_of_elements_are_values_for_patterns(read, form, layout, name):
    keys = [key for key, _, _ in shrink(layout())]
    alpha = read(SUPERMERGER, keys=keys, elemental_merge=form(ENTRIES)).hyperparameters["alpha"]
    architecture = next(each for each in builtin() if each.id == name)
    theirs = dict(zip(architecture.blocks, THEIR_BLOCKS, strict=False))  # SDXL's too, by place
    for key in keys:
        block = architecture.block_of(key)
        patterns = {pattern for pattern in alpha.keys if fnmatchcase(key, pattern)}
        expected = _elemental_alpha(key, theirs[block], ENTRIES)
        assert alpha.of(block, patterns) == (0.3 if expected is None else expected), key


def test_chattiori_keeps_the_vae_of_the_first_model(read):
    step, pick = read(CHATTIORI).steps
    assert (step.method, step.inputs) == ("sum_twice", (Value("a"), Value("b"), Value("c")))
    assert step.hyperparameters == {"alpha": BlockWeights(0.3), "beta": BlockWeights(0.4)}
    assert pick.parts == {"*": Value(step.name), "vae": Value("a")}
    assert read(CHATTIORI).dtype == "F16"


def test_chattiori_has_the_time_embedding_in_its_last_block(read):
    weights = [round(index / 24, 3) for index in range(25)]
    info = f"preset:[MY],0.7,[{[weights, [None]]}]".replace("[[[", "[[").replace("]]]", "]]")
    recipe = read(
        CHATTIORI, merge_method="Weighted Sum", block_weights=True, alpha_info=info, fp="bf16",
        save_as_half=False, pruned=True,
    )  # fmt: skip
    step, timed, pick = recipe.steps
    assert [step.hyperparameters["alpha"].of(b) for b in ("BASE", "IN00", "OUT11")] == [0.7, 0, 1]
    assert timed.hyperparameters == {"alpha": BlockWeights(1.0)}
    assert pick.parts["model.diffusion_model.time_embed.*"] == Value(timed.name)
    assert (recipe.dtype, recipe.prune) == ("BF16", True)


def test_web_ui_is_read_too(read):
    recipe = read(WEBUI)
    assert (recipe.method, recipe.hyperparameters) == ("weighted_sum", {"alpha": BlockWeights(0.3)})


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (SUPERMERGER, {"calcmode": "extract"}, "extract: the file does not tell its third value"),
        (SUPERMERGER, {"calcmode": "plus random"}, "'plus random' of supermerger has no"),
        (
            SUPERMERGER, {"calcmode": "cosineA", "mode": "Add difference"},
            "cosineA of 'add difference' has no counterpart here",
        ),
        (SUPERMERGER, {"mode": "Swap"}, "'swap' of supermerger has no counterpart here"),
        (SUPERMERGER, {"elemental_merge": [":NOT attn1:1"]}, "NOT has no counterpart here"),
        (SUPERMERGER, {"elemental_merge": [":attn1:R"]}, "':attn1:R': 'R' is not a number"),
        (SUPERMERGER, {"elemental_merge": ["IN33:attn1:1"]}, "unknown block 'IN33'"),
        (SUPERMERGER, {"elemental_merge": ["IN04:4.0:1"]}, "cannot be said by patterns of keys"),
        (SUPERMERGER, {"Include": ["IN01"]}, "'Include' has no counterpart here"),
        (SUPERMERGER, {"base_alpha": None}, "None is not a weight"),
        (SUPERMERGER, {"model_b": None}, "model_b is missing"),
        (CHATTIORI, {"merge_method": "DARE Merge"}, "'dare merge' of Chattiori's merger has no"),
        (CHATTIORI, {"calculation": "cosine_0"}, "calculation: cosine_0 has no counterpart here"),
        (CHATTIORI, {"alpha_info": "0.3,[[0.1],[['IN00:a:1']]]"}, "has no counterpart here"),
        (WEBUI, {"bake_in_vae": "x.pt"}, "bake_in_vae: x.pt has no counterpart here"),
        (WEBUI, {"type": "other"}, "recipes of 'other' are not known"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_named(read, recipe, changes, message):
    with pytest.raises(RecipeError) as caught:
        read(recipe, **changes)
    assert message in str(caught.value)


def test_file_that_tells_no_recipe_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="has neither bmerge.recipe nor sd_merge_recipe nor"):
        read_any_recipe(tiny_sd1(tmp_path / "a.safetensors", 1))


@pytest.mark.parametrize("recipe", [SUPERMERGER, CHATTIORI, WEBUI], ids=lambda r: r["type"])
def test_names_with_the_separators_of_windows_are_found_everywhere(read, recipe):
    names = {**NAMES, HASHES["a"]: {"name": "sub\\other one\\a.b.safetensors [0123456789]"}}
    (first, *_) = read(recipe, names).models
    assert first.path == "sub/other one/a.b.safetensors"


def test_imported_recipe_of_a_merged_file_merges_the_same_models(tmp_path, bmerge):
    digests = {}
    for seed, name in enumerate("ab"):
        file = tiny_sdxl(tmp_path / f"{name}.safetensors", seed, "F32")
        digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    recipe = {**SUPERMERGER, "model_a": digests["a"], "model_b": digests["b"], "mbw": True}
    recipe |= {"weights_alpha": ",".join(["0.25"] * 19), "elemental_merge": ["IN04:attn2:0.75"]}
    names = {digest: {"name": name} for name, digest in digests.items()}
    metadata = {"sd_merge_recipe": json.dumps(recipe), "sd_merge_models": json.dumps(names)}
    keys = dict.fromkeys(read_checkpoint(tmp_path / "a.safetensors"), np.zeros(1, "f4"))
    write_checkpoint(tmp_path / "merged.safetensors", keys, dtype="F16", metadata=metadata)
    written = tmp_path / "r.yaml"
    called = bmerge("recipe", "import", tmp_path / "merged.safetensors", "-o", written)
    assert called.status == 0, called.err
    assert load_recipe(written).hyperparameters["alpha"].of("OUT08") == 0.25
    assert bmerge("merge", written, "-o", tmp_path / "out.safetensors").status == 0
    a, b, out = (read_checkpoint(tmp_path / f"{n}.safetensors") for n in ("a", "b", "out"))
    elsewhere = {key: 0.75 for key in out if "input_blocks.4." in key and "attn2" in key}
    for key in ("model.diffusion_model.out.2.weight", *elsewhere):
        alpha = elsewhere.get(key, 0.25)
        np.testing.assert_allclose(out[key], (1 - alpha) * a[key] + alpha * b[key], atol=1e-7)
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "b.safetensors").read_bytes())
    refused = bmerge("merge", written, "-o", tmp_path / "again.safetensors")
    assert "a.safetensors is not the file that the recipe was written for" in refused.err
