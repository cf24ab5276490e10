"""The demo model is what it claims to be: SD1's structure, real checkpoints, a fair judge."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from bmerge_plugins.demo import assets, renderer
from bmerge_plugins.demo.judge import Judge, UnknownPromptError
from bmerge_plugins.demo.model import DemoModel
from bmerge_plugins.demo.sampler import sample
from bmerge_plugins.demo.words import COLOURS, CONTEXT_LENGTH, SHAPES, tokenise

CHECKPOINTS = ("base", "shapes", "colours")
UNET = "model.diffusion_model."


def both(*names: str) -> list[str]:
    return [f"{name}.{part}" for name in names for part in ("weight", "bias")]


def under(prefix: str, names: list[str]) -> list[str]:
    return [f"{prefix}.{name}" for name in names]


def res_block(*, skip: bool) -> list[str]:
    names = both("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
    return names + (both("skip_connection") if skip else [])


def transformer() -> list[str]:
    heads = [f"{a}.to_{p}.weight" for a in ("attn1", "attn2") for p in "qkv"]
    rest = both("attn1.to_out.0", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2")
    inner = heads + rest + both("norm1", "norm2", "norm3")
    return both("norm", "proj_in", "proj_out") + under("transformer_blocks.0", inner)


def sd1_unet_keys() -> set[str]:
    """SD1's UNet by its published block table, not by this package's loops."""
    keys = both("time_embed.0", "time_embed.2", "out.0", "out.2", "input_blocks.0.0")
    for i in (3, 6, 9):
        keys += both(f"input_blocks.{i}.0.op")
    for i in (1, 2, 4, 5, 7, 8, 10, 11):
        keys += under(f"input_blocks.{i}.0", res_block(skip=i in {4, 7}))
    for i in (1, 2, 4, 5, 7, 8):
        keys += under(f"input_blocks.{i}.1", transformer())
    keys += under("middle_block.0", res_block(skip=False)) + under("middle_block.1", transformer())
    keys += under("middle_block.2", res_block(skip=False))
    for i in range(12):
        keys += under(f"output_blocks.{i}.0", res_block(skip=True))
    for i in range(3, 12):
        keys += under(f"output_blocks.{i}.1", transformer())
    for name in ("2.1", "5.2", "8.2"):
        keys += both(f"output_blocks.{name}.conv")
    return {UNET + key for key in keys}


def clip_keys() -> set[str]:
    """The 197 keys of CLIP ViT-L/14's text model in an SD1 checkpoint."""
    keys = [f"embeddings.{n}" for n in ("position_ids", "token_embedding.weight")]
    keys += ["embeddings.position_embedding.weight", *both("final_layer_norm")]
    attention = [f"self_attn.{p}_proj" for p in ("q", "k", "v", "out")]
    for i in range(12):
        layer = both(*attention, "layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")
        keys += under(f"encoder.layers.{i}", layer)
    return {f"cond_stage_model.transformer.text_model.{key}" for key in keys}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny tensors only lose by a second thread, and much so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base() -> DemoModel:
    model = DemoModel()
    model.load_state_dict(load_file(assets.path("base")))
    return model.eval()


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


def test_unet_keys_are_those_of_sd1() -> None:
    keys = {key for key in DemoModel().state_dict() if key.startswith(UNET)}
    assert len(keys) == 686
    assert keys == sd1_unet_keys()


def test_text_encoder_keys_are_those_of_clip() -> None:
    keys = {key for key in DemoModel().state_dict() if key.startswith("cond_stage_model.")}
    assert len(keys) == 197
    assert keys == clip_keys()


def test_autoencoder_keys_have_the_parts_of_sd1() -> None:
    prefix = "first_stage_model."
    keys = {k.removeprefix(prefix) for k in DemoModel().state_dict() if k.startswith(prefix)}
    both_ends = [f"{end}.mid.attn_1.{n}" for end in ("encoder", "decoder") for n in ("q", "norm")]
    wanted = both("quant_conv", "post_quant_conv", "encoder.down.0.downsample.conv", *both_ends)
    wanted += both("decoder.up.1.upsample.conv", "encoder.down.1.block.0.nin_shortcut")
    assert keys.issuperset(wanted)


def test_model_is_built_fast_in_float32() -> None:
    DemoModel()
    started = time.process_time()
    model = DemoModel()
    assert time.process_time() - started < 2
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_loads_strictly(name: str) -> None:
    path = assets.path(name)
    state = load_file(path)
    DemoModel().load_state_dict(state, strict=True)
    assert path.stat().st_size < 4 * 2**20
    integers = [k for k, v in state.items() if v.dtype == torch.int64]
    assert integers == ["cond_stage_model.transformer.text_model.embeddings.position_ids"]


def test_checkpoints_share_their_autoencoder_and_nothing_else() -> None:
    states = [load_file(assets.path(name)) for name in CHECKPOINTS]
    for one, other in itertools.pairwise(states):
        equal = {k for k in one if torch.equal(one[k], other[k])}
        assert {k for k in one if k.startswith("first_stage_model.")} <= equal
        assert len(equal) < len(one) / 2


def test_assets_path_names_what_there_is() -> None:
    with pytest.raises(ValueError, match="shapes"):
        assets.path("shape")


def test_assets_are_readable_without_torch() -> None:
    with safe_open(assets.path("judge"), framework="numpy") as file:
        assert "colour.weight" in file.keys()  # noqa: SIM118 - no mapping


def test_same_seed_gives_same_picture_in_any_batch(base: DemoModel) -> None:
    prompts = ["a red circle", "a blue star", "a green heart"]
    together = sample(base, prompts, [1, 2, 3], steps=3)
    alone = sample(base, prompts[1:2], [2], steps=3)
    difference = np.asarray(together[1], dtype=int) - np.asarray(alone[0], dtype=int)
    assert np.abs(difference).max() <= 1  # float sums may round differently in another batch


def test_seed_and_negative_prompt_change_the_picture(base: DemoModel) -> None:
    prompts = ["a red circle"] * 3
    negatives = ["", "", "a blue star"]
    one, other, negative = sample(base, prompts, [1, 2, 1], negative_prompts=negatives, steps=3)
    assert one.tobytes() != other.tobytes()
    assert one.tobytes() != negative.tobytes()


@pytest.mark.parametrize(
    ("prompts", "seeds", "steps"),
    [(["a red circle"], [], 3), (["a red circle"], [1], 0), (["a red circle"], [1], 1001)],
    ids=["seed missing", "no steps", "too many steps"],
)
def test_sample_refuses_what_it_cannot_do(
    base: DemoModel, prompts: list[str], seeds: list[int], steps: int
) -> None:
    with pytest.raises(ValueError, match=r"seeds|steps"):
        sample(base, prompts, seeds, steps=steps)


def test_sample_of_nothing_is_empty(base: DemoModel) -> None:
    assert sample(base, [], []) == []


@pytest.mark.parametrize(
    ("name", "prompts"),
    [
        ("base", ["a red circle", "a yellow square", "a green cross", "a blue ring"]),
        ("shapes", ["a red star", "a yellow heart", "a green moon", "a blue arrow"]),
        ("colours", ["an orange circle", "a cyan square", "a purple ring", "a pink cross"]),
    ],
)
def test_checkpoints_draw_most_of_what_they_have_learned(
    name: str, prompts: list[str], judge: Judge
) -> None:
    model = DemoModel().eval()
    model.load_state_dict(load_file(assets.path(name)))
    pictures = sample(model, prompts * 3, range(12), steps=8)
    assert np.mean(judge.score(pictures, prompts * 3)) > 0.5


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_no_checkpoint_draws_new_colours_of_new_shapes(name: str, judge: Judge) -> None:
    model = DemoModel().eval()
    model.load_state_dict(load_file(assets.path(name)))
    prompts = ["an orange star", "a cyan moon", "a purple heart", "a pink arrow"] * 3
    pictures = sample(model, prompts, range(12), steps=8)
    assert np.mean(judge.score(pictures, prompts)) < 0.2


def test_judge_recognises_fresh_drawings(judge: Judge) -> None:
    rng = np.random.default_rng(12345)
    pairs = [(c, s) for c in COLOURS for s in SHAPES] * 3
    colour, shape = judge.probabilities([renderer.render(c, s, rng) for c, s in pairs])
    right_colour = [COLOURS[i] == c for i, (c, _) in zip(colour.argmax(1), pairs, strict=True)]
    right_shape = [SHAPES[i] == s for i, (_, s) in zip(shape.argmax(1), pairs, strict=True)]
    assert np.mean(right_colour) > 0.95
    assert np.mean(right_shape) > 0.95


def test_judge_scores_the_prompt_not_the_picture(judge: Judge) -> None:
    picture = renderer.render("red", "star", np.random.default_rng(3))
    prompts = ["a red star", "a star", "a blue star", "a red moon"]
    right, shape_only, wrong_colour, wrong_shape = judge.score([picture] * 4, prompts)
    assert min(right, shape_only) > 0.8
    assert max(wrong_colour, wrong_shape) < 0.1


def test_judge_names_the_prompt_it_does_not_understand(judge: Judge) -> None:
    picture = renderer.render("red", "star", np.random.default_rng(3))
    with pytest.raises(UnknownPromptError, match="a grey whale") as caught:
        judge.score([picture], ["a grey whale"])
    assert caught.value.prompt == "a grey whale"


def test_judge_scores_nothing_as_nothing(judge: Judge) -> None:
    assert judge.score([], []) == []
    with pytest.raises(ValueError, match="0 images, 1 prompts"):
        judge.score([], ["a red star"])


def test_tokenise_pads_cuts_and_knows_no_other_words() -> None:
    assert len(tokenise("")) == len(tokenise("a red circle " * 9)) == CONTEXT_LENGTH
    assert tokenise("a Red, circle!") == tokenise("a red circle")
    assert tokenise("whale") == tokenise("ship") != tokenise("")
