"""sd-mecha's recipes. The files in ``data/foreign`` are as sd-mecha 1.1.8 has written them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmerge.architectures import builtin
from bmerge.errors import RecipeError
from bmerge.foreign.mecha import read_mecha
from bmerge.recipe import ZERO, BlockWeights, Fallback, ModelRef, Pick, Step, Value, dump_recipe
from bmerge.testing import read_checkpoint, tiny_sd1

DATA = Path(__file__).parents[1] / "data"
FILES = DATA / "foreign"
ARCHITECTURES = {architecture.id: architecture for architecture in builtin()}


def read(name):
    return read_mecha((FILES / f"{name}.mecha").read_text(), FILES / f"{name}.mecha")


def test_one_method_is_a_simple_recipe_with_block_weights():
    recipe = read("blocks")
    assert (recipe.method, recipe.architecture) == ("weighted_sum", "sd1-mecha")
    assert recipe.models == (ModelRef("a.safetensors"), ModelRef("b.safetensors"))
    alpha = recipe.hyperparameters["alpha"]
    assert (alpha.of("BASE"), alpha.of("IN03"), alpha.of("OUT11")) == (0.1, 0.15, 1 - 11 / 20)


def test_graph_is_a_recipe_of_steps():
    recipe = read("steps")
    slerp, ties, add, whole = recipe.steps
    norms = {"norms": "lerp"}
    assert slerp == Step(
        "slerp", "slerp", (Value("a"), Value("c")), {"alpha": BlockWeights(0.3)}, norms
    )
    assert ties.inputs == (ZERO, Value("b", "base"), Value("c", "base"))
    assert (ties.hyperparameters, ties.options) == (
        {"density": BlockWeights(1.0)}, {"vote": "count"},
    )  # fmt: skip
    assert add.hyperparameters == {"weight": BlockWeights(0.7)}
    assert whole == Fallback("whole", (Value("add"), Value("slerp")))
    assert dump_recipe(read("unfinalised")) == dump_recipe(recipe)


def test_components_are_picked():
    pick, mean, whole = read("parts").steps
    assert pick == Pick("parts", {"vae": Value("a")})
    assert mean.method == "linear"
    assert whole.inputs == (Value("parts"), Value("linear"))


@pytest.mark.parametrize(
    ("name", "method", "alpha"),
    [("perpendicular", "add_perpendicular", 0.8), ("masks", "train_difference", 0.7)],
)
def test_what_is_written_out_in_parts_is_one_method(name, method, alpha):
    recipe = read(name)
    assert recipe.method == method
    assert [model.path[0] for model in recipe.models] == ["a", "b", "b"]
    assert recipe.hyperparameters == {"alpha": BlockWeights(alpha)}


@pytest.mark.parametrize(
    ("name", "values", "options", "weight", "seed"),
    [
        ("ties_extended", {"density": 1}, {"vote": "count", "mean": "stock"}, 0.7, 0),
        (
            "ties_with_dropout", {"probability": 0.4, "epsilon": 0.3, "density": 0.8},
            {"vote": "sum", "mean": "plain", "rescale": False}, 1, 7,
        ),
        ("dropout", {"probability": 0.5, "rescale": 0.5}, {}, 0.5, 0),
    ],
)  # fmt: skip
def test_merges_of_differences(name, values, options, weight, seed):
    recipe = read(name)
    merged, add = recipe.steps
    assert merged.method == name
    assert merged.inputs == (ZERO, Value("a", "base"), Value("b", "base"))
    assert merged.hyperparameters == {n: BlockWeights(float(v)) for n, v in values.items()}
    assert merged.options == options
    assert add.hyperparameters == {"weight": BlockWeights(float(weight))}
    assert recipe.seed == seed


def test_stock_of_ties_extended_is_what_sd_mecha_has_without_apply_stock(tmp_path, bmerge):
    for seed, name in enumerate(("a", "b", "base")):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed, "F32")
    recipe = tmp_path / "r.mecha"
    recipe.write_bytes((FILES / "ties_extended.mecha").read_bytes())
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", recipe, "-o", out)
    assert called.status == 0, called.err
    files = (read_checkpoint(tmp_path / f"{n}.safetensors") for n in ("a", "b", "base", "out"))
    a, b, base, merged = files
    for key in ("out.2.weight", "input_blocks.4.0.in_layers.2.weight", "out.2.bias"):
        key = f"model.diffusion_model.{key}"  # noqa: PLW2901
        start = base[key].astype("f8")
        x, y = a[key] - start, b[key] - start
        x, y = (np.where(np.sign(x) == np.sign(y), v, 0) for v in (x, y))
        lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
        cosine = (x * y).sum(-1) / np.where(lengths == 0, 1, lengths)
        share = (2 * cosine / (1 + cosine))[..., None]
        np.testing.assert_allclose(merged[key], start + 0.7 * share * (x + y) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "mean"),
    [
        ("", "stock"), ("apply_stock=true", "plain"), ("apply_median=true", "median"),
        ("apply_stock=true apply_median=true", "median"),
    ],
)  # fmt: skip
def test_flags_of_sd_mecha_are_one_option(flags, mean):
    models = "".join(f'model "{name}" merge_space="delta"\n' for name in "ab")
    for method, ours in (("extended", "ties_extended"), ("with_dropout", "ties_with_dropout")):
        recipe = read_mecha(f'version 0.1.0\n{models}merge "ties_sum_{method}" &0 &1 {flags}\n')
        (step,) = recipe.steps
        assert (step.method, step.options["mean"]) == (ours, mean)
        assert step.hyperparameters["density"] == BlockWeights(0.2)


def _expected_block(key, last, vae):
    """Return the block of a key in sd-mecha's dialect, by plain string work."""
    if key.startswith("first_stage_model."):
        return vae
    if not key.startswith("model.diffusion_model."):
        return "BASE"
    part, _, rest = key.removeprefix("model.diffusion_model.").partition(".")
    return {
        "time_embed": "BASE",
        "label_emb": "BASE",
        "input_blocks": f"IN{rest.split('.')[0]:0>2}",
        "middle_block": "M00",
        "output_blocks": f"OUT{rest.split('.')[0]:0>2}",
        "out": f"OUT{last:02}",
    }[part]


@pytest.mark.parametrize(("name", "last", "vae"), [("sd1", 11, "BASE"), ("sdxl", 8, "VAE")])
def test_every_true_key_is_in_the_block_of_the_dialect(name, last, vae):
    architecture = ARCHITECTURES[f"{name}-mecha"]
    keys = (DATA / f"keys_{name}.txt").read_text().split()
    blocks = {key: architecture.block_of(key) for key in keys}
    assert blocks == {key: _expected_block(key, last, vae) for key in keys}
    assert set(blocks.values()) == set(architecture.blocks)


def test_recipe_is_carried_out_with_weights_of_its_dialect(tmp_path, bmerge):
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed, "F32")
    recipe = tmp_path / "r.mecha"
    recipe.write_bytes((FILES / "blocks.mecha").read_bytes())
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", recipe, "-o", out)
    assert called.status == 0, called.err
    a, b, merged = (read_checkpoint(tmp_path / f"{n}.safetensors") for n in ("a", "b", "out"))
    weights = {"time_embed.0.weight": 0.1, "input_blocks.4.0.in_layers.2.weight": 0.2}
    for key, alpha in weights.items():
        key = f"model.diffusion_model.{key}"  # noqa: PLW2901
        exact = (1 - alpha) * a[key].astype("f8") + alpha * b[key].astype("f8")
        np.testing.assert_allclose(merged[key], exact, rtol=1e-5, atol=1e-8)


def test_command_writes_a_recipe_that_can_be_merged(tmp_path, bmerge):
    for seed, name in enumerate(("a", "b", "c", "base")):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed, "F32")
    source = tmp_path / "steps.mecha"
    source.write_bytes((FILES / "steps.mecha").read_bytes())
    written = tmp_path / "elsewhere" / "recipe.yaml"
    written.parent.mkdir()
    called = bmerge("recipe", "import", source, "-o", written)
    assert (called.status, called.out) == (0, f"{written}\n"), called.err
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    assert bmerge("merge", written, "-o", one, "--no-metadata").status == 0
    assert bmerge("merge", source, "-o", other, "--no-metadata").status == 0
    assert one.read_bytes() == other.read_bytes()
    assert bmerge("recipe", "import", source).out.startswith("models:\n")
    again = bmerge("recipe", "import", source, "-o", written)
    assert again.err == f"error: {written} exists\nhint: --force replaces it\n"


HEAD = 'version 0.1.0\nmodel "a" model_config="sd1-ldm" merge_space="weight"\n'


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "begins with 'version'"),
        ("version 0.2.0\n", 1, "version '0.2.0' of .mecha recipes is not known"),
        ("version 0.1.0\n# nothing\n", 1, "has no instructions"),
        (HEAD + "blend &0\n", 3, "unknown instruction 'blend'"),
        (HEAD + 'merge "scale" &1\n', 3, "&1 is not an instruction above"),
        (HEAD + 'merge "scale &0\n', 3, "cannot read '\"scale &0'"),
        (HEAD + 'merge "scale" zero\n', 3, "'zero' is not a value"),
        (HEAD + 'merge "weighted_sun" &0 &0\n', 3, "sd-mecha's 'weighted_sun' has no counterpart"),
        (HEAD + 'merge "ties_sum" &0 vote=1\n', 3, "ties_sum: vote=1.0 has no counterpart here"),
        (HEAD + 'merge "ties_sum_extended" &0 &0 &0\n', 3, "ties_sum_extended of more than two"),
        (HEAD + 'merge "model_stock" &0 &0 &0\n', 3, "model_stock of more than two has no"),
        (HEAD + 'merge "dropout" &0 &0 overlap=0.5\n', 3, "dropout: overlap=0.5 has no"),
        (HEAD + 'merge "dropout" &0 &0 seed="x"\n', 3, "seed must be a number, not 'x'"),
        (HEAD + 'merge "tensor_sum" &0 &0\n', 3, "sd-mecha's 'tensor_sum' has no counterpart"),
        (HEAD + 'merge "n_average" &0 weight="x"\n', 3, "n_average: weight=x has no counterpart"),
        (HEAD + 'merge "slerp" &0 &0 alpha=true\n', 3, "alpha must be a number, not True"),
        (HEAD + 'merge "pick_component" &0 "clap_l"\n', 3, "component 'clap_l' of sd1-ldm has no"),
        (HEAD.replace("sd1-ldm", "sd1-kohya_kohya_lora"), 2, "LoRAs as models"),
        (HEAD + 'merge "subtract" &0\n', 3, "subtract takes 2 or more, not 1"),
        (HEAD + 'merge "fallback"\n', 3, "fallback takes 1 or more, not 0"),
        (HEAD + 'merge "add_difference" &0\n', 3, "add_difference takes 2 or more, not 1"),
        (HEAD + 'merge "pick_component" &0\n', 3, "pick_component takes 2 or more, not 1"),
        (HEAD + 'merge "slerp" &0\n', 3, "slerp takes 2 models, not 1"),
        (HEAD + 'merge "slerp" &0 0.5\n', 3, "a model or a merge is needed, not 0.5"),
        (HEAD + 'model merge_space="weight"\n', 3, "a model has no path"),
        (HEAD + 'literal 1\nmerge "slerp" &0 &0 &1\n', 3, "literal needs the result of another"),
        (
            HEAD + 'dict x=1\nliteral &1 model_config="singleton-mecha"\nmerge "slerp" &0 &0 &2\n',
            4, "a literal needs a dict with a key",
        ),
        (HEAD + "dict key=1\n", 3, "a model or a merge is needed here"),
    ],
)  # fmt: skip
def test_mistakes_and_what_has_no_counterpart_are_named(text, line, message):
    with pytest.raises(RecipeError) as caught:
        read_mecha(text)
    assert message in str(caught.value)
    assert caught.value.line == line
