from __future__ import annotations

import re
from pathlib import Path

import pytest

import bmerge.architectures
from bmerge.architectures import (
    Architecture,
    Rule,
    builtin,
    detect,
    load_architecture,
    resolve,
)
from bmerge.architectures.patterns import Contents, starts_of
from bmerge.errors import ArchitectureError

FOLDER = Path(bmerge.architectures.__file__).parent
OURS = """
id: mine
name: My model
blocks: [BASE, L0-L1, END]
detect: ["net.layers.1."]
rules:
  "net.layers.{i}.": L{i}
  "[net.]head.": END
  "": BASE
follows: {END: BASE}
lists: {3: [L0-L1, END]}
"""


@pytest.mark.parametrize(
    ("rule", "key", "block"),
    [
        (Rule("a.{i}.", "IN{i:02}"), "a.7.w", "IN07"),
        (Rule("a.{i}.", "IN{i:02}"), "a.x.w", None),
        (Rule("a.{i}.", "IN{i:02}"), "b.a.7.w", None),
        (Rule("[p.]a.", "A"), "p.a.w", "A"),
        (Rule("[p.]a.", "A"), "a.w", "A"),
        (Rule("a.", "A"), "axw", None),
        (Rule("", "REST"), "anything", "REST"),
        (Rule("a.(x|y).", "A"), "a.y.w", "A"),
        (Rule("a.(x|y).", "A"), "a.w", None),
        (Rule("[p.|q.]a.", "A"), "q.a.w", "A"),
        (Rule("~a.", "A"), "model.diffusion_model.a.w", "A"),
        (Rule("~a.", "A"), "net.a.w", "A"),
        (Rule("~a.", "A"), "a.w", "A"),
        (Rule("~a.", "A"), "other.a.w", None),
        (Rule("~(a|b).{i}.", "B{i}"), "net.b.3.w", "B3"),
        (Rule("~(a|b).{i}.", "B{i}"), "c.3.w", None),
        (Rule("(a|[c.]b).", "A"), "c.b.w", "A"),
    ],
)
def test_rule_matches_the_start_of_a_key(rule, key, block):
    assert rule.match(key) == block


@pytest.mark.parametrize("architecture", builtin(), ids=lambda each: each.id)
def test_the_first_rule_that_matches_decides(architecture):
    heads = [re.sub(r"[\[\]()~]", "", rule.key.replace("{i}", "0")) for rule in architecture.rules]
    names = {name for head in heads for name in head.split("|")}
    for prefix in ("", "model.diffusion_model.", "model.model.", "other."):
        for key in (f"{prefix}{name}{end}" for name in names for end in ("", "0.weight", ".a.b")):
            found = (rule.match(key) for rule in architecture.rules)
            block = next(block for block in found if block is not None)
            if block in architecture.blocks:
                assert architecture.block_of(key) == block


@pytest.mark.parametrize("pattern", ["a.{j}.", "a.{i}.{i}.", "a.[b", "a{", "a.~b", "a.(b"])
def test_bad_pattern_is_refused(pattern):
    with pytest.raises(ArchitectureError, match="bad key pattern"):
        Rule(pattern, "A").match("a.0.")


def test_loaded_architecture_maps_keys_and_is_detected():
    ours = load_architecture(OURS)
    keys = ["net.layers.0.w", "net.layers.1.w", "head.w", "other"]
    assert [ours.block_of(key) for key in keys] == ["L0", "L1", "END", "BASE"]
    assert detect(keys, [*builtin(), ours]) is ours
    assert ours.lists == {3: ("L0", "L1", "END")}


def test_architecture_can_be_loaded_from_a_file(tmp_path):
    (tmp_path / "a.yaml").write_text(OURS)
    assert load_architecture(tmp_path / "a.yaml") == load_architecture(OURS)


STACK = """
id: mine
name: My transformer
detect: ["~double.0.", "!~odd."]
layouts: [["~two.0.attn."]]
layers: {(double|two): D, single: S}
out: [final.]
encoders: {CLIP: clip_l., T5: t5}
lists: {5: [CLIP+VAE, T5, D00-D01, S00]}
variants:
  wide: {detect: ["~in.weight (_, 8)"], modelspec: mine-wide}
  square: {detect: ["~in.weight (n, n)"]}
  three: {detect: ["(in|stem).weight (3n, n)"]}
  flagged: {detect: [v_pred]}
modelspec: {modelspec.architecture: mine}
"""


class Shaped:
    def __init__(self, *shape):
        self.shape = shape


def test_short_form_has_the_blocks_of_the_layers_that_a_file_has():
    keys = ["net.in.w", "net.double.0.w", "net.double.1.w", "net.single.10.w", "net.final.w"]
    keys += ["text_encoders.clip_l.w", "text_encoders.t5xxl.w", "text_encoders.new.w", "vae.w"]
    found = detect(keys, [load_architecture(STACK)])
    assert found.blocks == ("CLIP", "T5", "IN", "D00", "D01", "S10", "OUT", "VAE")
    blocks = ["IN", "D00", "D01", "S10", "OUT", "CLIP", "T5", "T5", "VAE"]
    assert [found.block_of(key) for key in keys] == blocks
    assert found.lists == {}  # there is no S00
    with pytest.raises(ArchitectureError, match="S00, which mine does not have"):
        found.block_of("net.single.0.w")
    assert detect(["double.0.w", "double.1.w", "single.0.w"], [load_architecture(STACK)]).lists
    assert resolve("mine", keys, [load_architecture(STACK)]).blocks == found.blocks


def test_blocks_are_in_the_order_of_their_numbers():
    keys = [f"double.{i}.w" for i in (100, 64, 3, 0, 33)]
    blocks = detect(keys, [load_architecture(STACK)]).blocks
    assert blocks[3:-2] == ("D00", "D03", "D33", "D64", "D100")


def test_first_variant_with_a_name_in_the_modelspec_gives_it():
    text = STACK.replace("flagged: {detect: [v_pred]}", "flagged: {detect: [v_pred], modelspec: x}")
    keys = {"double.0.w": Shaped(2), "in.weight": Shaped(2, 8), "v_pred": Shaped()}
    found = detect(keys, [load_architecture(text)])
    assert found.variant == ("wide", "flagged")
    assert found.modelspec_of(Contents(keys)) == {"modelspec.architecture": "mine-wide"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["double.0.w"], "mine"),
        (["model.model.double.0.w"], "mine"),
        (["unet.two.0.attn.w", "odd.w"], "mine"),
        (["double.0.w", "net.odd.w"], "generic"),
        (["two.0.w"], "generic"),
        (["x.double.0.w"], "generic"),
    ],
)
def test_every_condition_of_one_layout_must_hold(keys, expected):
    assert detect(keys, [load_architecture(STACK)]).id == expected


@pytest.mark.parametrize(
    ("key", "shape", "expected"),
    [
        ("in.weight", (4, 8), ("wide",)),
        ("net.in.weight", (8, 8), ("wide", "square")),
        ("in.weight", (8, 8, 1), ()),
        ("in.weight", (8, 4), ()),
        ("stem.weight", (9, 3), ("three",)),
        ("stem.weight.x", (9, 3), ()),
        ("v_pred", (), ("flagged",)),
    ],
)
def test_variants_are_told_by_keys_and_shapes(key, shape, expected):
    keys = {"double.0.w": Shaped(2, 2), key: Shaped(*shape)}
    found = detect(keys, [load_architecture(STACK)])
    assert found.variant == expected
    assert found.modelspec_of(Contents(keys))["modelspec.architecture"] == (
        "mine-wide" if "wide" in expected else "mine"
    )
    assert "wide" not in detect(list(keys), [load_architecture(STACK)]).variant


def test_file_takes_from_another_what_it_does_not_say():
    like = load_architecture("{like: sdxl, id: mine, name: Mine}")
    sdxl = next(known for known in builtin() if known.id == "sdxl")
    assert (like.id, like.blocks, like.lists) == ("mine", sdxl.blocks, sdxl.lists)
    with pytest.raises(ArchitectureError, match="like 'sdlx', which does not come with bmerge"):
        load_architecture("{like: sdlx, id: mine, name: Mine}")


def test_block_number_that_does_not_exist_is_refused():
    with pytest.raises(ArchitectureError, match="block L7, which mine does not have"):
        load_architecture(OURS).block_of("net.layers.7.w")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "not a mapping"),
        ("id: [", "cannot be read"),
        ("id: x", "missing or of the wrong type: 'name'"),
        (OURS + "extra: 1", "unknown 'extra'"),
        (STACK.replace("out: [final.]", ""), "missing or of the wrong type: 'out'"),
        (OURS.replace("3:", "4:"), "list of 4 names 3 blocks"),
        (OURS.replace('"": BASE', '"x": BASE'), "the last rule must have the key ''"),
        (OURS.replace("END: BASE", "END: NIX"), "no block 'NIX'"),
        (OURS.replace("[BASE, L0", "[BASE, BASE, L0"), "name at least one block, each once"),
    ],
    ids=["list", "yaml", "missing", "unknown", "short", "count", "catch-all", "follows", "twice"],
)
def test_unsound_architecture_is_refused(text, message):
    with pytest.raises(ArchitectureError, match=message):
        load_architecture(text)


def test_architectures_that_ask_for_more_are_preferred():
    def asking(name, *patterns):
        return Architecture(name, name, ("A",), (Rule("", "A"),), detect=patterns)

    known = [asking("one", "x."), asking("two", "x.", "y."), asking("also", "x.")]
    assert detect(["x.w", "y.w"], known).id == "two"
    assert detect(["x.w"], known).id == "one"


@pytest.mark.parametrize(
    ("name", "expected"), [(None, "sd1"), ("sdxl", "sdxl"), ("generic", "generic:x.2")]
)
def test_resolve_takes_the_named_or_the_detected(name, expected):
    keys = [f"model.diffusion_model.{part}_blocks.11.w" for part in ("input", "output")]
    keys += ["model.diffusion_model.middle_block.0.w"]
    if name == "generic":
        keys = ["x.0.w", "x.1.w"]
    assert resolve(name, keys, builtin()).id == expected


def test_resolve_hints_at_the_nearest_name():
    with pytest.raises(ArchitectureError, match="unknown architecture 'sdlx'") as caught:
        resolve("sdlx", ["a"], builtin())
    assert caught.value.hint == "did you mean 'sdxl'?"


LAYER = ("self_attn.q_proj.weight", "input_layernorm.weight", "post_attention_layernorm.weight")
PAINTERS = {
    "bagel": (
        "language_model.model.",
        ("layers.0.self_attn.q_proj_moe_gen.weight", "norm_moe_gen.weight"),
        ("vae2llm.weight", "llm2vae.weight", "vit_model.vision_model.encoder.layers.0.mlp.fc1.w"),
    ),
    "sensenova-u1_5": (
        "language_model.model.",
        ("layers.0.self_attn.q_proj_mot_gen.weight", "norm_mot_gen.weight"),
        (
            "vision_model.embeddings.patch_embedding.weight",
            "fm_modules.vision_model_mot_gen.embeddings.patch_embedding.weight",
        ),
    ),
    "yue2": (
        "model.",
        ("layers.0.self_attn.qkv_proj.weight",),
        ("vae2llm.weight", "llm2vae.weight", "latent_pos_embed.pe"),
    ),
    "omnigen": (
        "llm.", ("layers.0.self_attn.qkv_proj.weight",),
        ("input_x_embedder.proj.weight", "time_token.mlp.0.weight"),
    ),
}  # fmt: skip
"""Model → what is before the names of its language model, what it has in it, and beside it."""


@pytest.mark.parametrize("name", PAINTERS)
def test_language_models_that_paint_are_not_called_language_models(name):
    start, inside, beside = PAINTERS[name]
    plain = [f"layers.{i}.{part}" for i in range(2) for part in LAYER] + ["embed_tokens.weight"]
    language = [start + key for key in (*plain, *inside, "norm.weight")]
    found = detect([*language, *beside], builtin())
    assert found.id == name
    blocks = [found.block_of(key) for key in language]
    assert blocks[:7] == [*["L00"] * 3, *["L01"] * 3, "IN"]
    assert set(blocks[8:]) <= {"L00", "OUT"}
    assert detect(["model." + key for key in plain], builtin()).id == "llama"


@pytest.mark.parametrize(
    ("pattern", "starts"),
    [
        ("out.", ["out."]),
        ("in.{i}.w", ["in."]),
        ("(a|b).{i}.", ["a.", "b."]),
        ("[a.|b.]c.(d|e)", ["a.c.", "b.c.", "c."]),
        ("[a.](b|c).d", ["a.", "b.d", "c.d"]),
        ("[a.][b.]c", ["a.", "b.c", "c"]),
    ],
)
def test_starts_of_a_pattern_are_those_of_the_keys_it_speaks_of(pattern, starts):
    assert list(starts_of(pattern)) == starts
    under_prefix = starts_of(f"~{pattern}")
    assert set(starts) < set(under_prefix)
    assert {f"net.{start}" for start in starts} < set(under_prefix)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_own_files_are_read_as_those_of_plugins(file):
    assert load_architecture(file) in builtin()
