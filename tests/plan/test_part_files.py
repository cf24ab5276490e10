"""A VAE or text encoder in a file of its own, as it lies about, as a part of a merge."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.architectures import builtin
from bmerge.architectures.generic import generic
from bmerge.formats import in_one_layout, open_checkpoint
from bmerge.plan.alike import AlikeKeys
from bmerge.plan.parts import Parts
from bmerge.testing import read_checkpoint, write_checkpoint
from layouts import small_model

UNET, VAE = "model.diffusion_model.", "first_stage_model."
ENCODER = {
    "embeddings.token_embedding.weight": (9, 4), "encoder.layers.0.mlp.fc1.weight": (8, 4),
    "final_layer_norm.weight": (4,),
}  # fmt: skip
AUTOENCODER = {
    "encoder.conv_in.weight": (8, 3, 3, 3), "decoder.conv_in.weight": (8, 4, 3, 3),
    "decoder.up.0.block.0.conv1.weight": (8, 8, 3, 3), "quant_conv.weight": (8, 8, 1, 1),
}  # fmt: skip
OPEN_CLIP = {"ln_final.weight": (6,), "transformer.resblocks.0.attn.in_proj_weight": (18, 6)}


def under(start, shapes):
    return {start + name: shape for name, shape in shapes.items()}


def unet(start=UNET, levels=9):
    blocks = {f"input_blocks.{i}.0.in_layers.2.weight": (4, 4, 3, 3) for i in range(levels)}
    return under(start, {"label_emb.0.0.weight": (4, 4), "out.2.weight": (4, 4), **blocks})


SDXL = {
    **unet(), **under(VAE, AUTOENCODER),
    **under("conditioner.embedders.0.transformer.text_model.", ENCODER),
    **under("conditioner.embedders.1.model.", OPEN_CLIP),
}  # fmt: skip
L, G = "text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer."
LARGE = {name: tuple(2 * extent for extent in shape) for name, shape in ENCODER.items()}
SD3 = {
    **under(UNET, {f"joint_blocks.{i}.x_block.attn.qkv.weight": (6, 2) for i in range(3)}),
    **under(L + "text_model.", ENCODER), **under(G + "text_model.", LARGE),
    G + "text_projection.weight": (8, 8), "text_encoders.clip_g.logit_scale": (),
    **under("vae.", AUTOENCODER),
}  # fmt: skip


def write(path, shapes, seed):
    random = np.random.default_rng(seed)
    tensors = {key: random.standard_normal(shape).astype("f4") for key, shape in shapes.items()}
    return write_checkpoint(path, tensors), tensors


@pytest.fixture
def bake(bmerge, tmp_path):
    """Return what merges two models, and takes a part of the result from a third file."""

    def run(model, shapes, part, *, kind="vae", first=False):
        write(tmp_path / "a.safetensors", model, 1)
        write(tmp_path / "b.safetensors", model, 2)
        _, tensors = write(tmp_path / "part.safetensors", shapes, 3)
        models = ["a: a.safetensors", "b: b.safetensors"]
        models.insert(0 if first else 2, "part: part.safetensors")
        (tmp_path / "r.yaml").write_text(
            f"models: {{{', '.join(models)}}}\n"
            "steps:\n  mixed: {method: weighted_sum, models: [a, b]}\n"
            f"  out: {{pick: {{'*': mixed, {part or kind}: part}}}}\nresult: out\n"
        )
        return bmerge("merge", tmp_path / "r.yaml", "-o", tmp_path / "o.safetensors"), tensors

    return run


def assert_baked(folder, keys, tensors):
    """Check that these keys are the part's tensors, and all others the merged model's."""
    a, b, found = (read_checkpoint(folder / f"{name}.safetensors") for name in "abo")
    assert found.keys() == a.keys()
    for key, array in found.items():
        exact = tensors[keys[key]] if key in keys else (a[key] + b[key]) / 2
        np.testing.assert_allclose(array, exact, atol=1e-6, err_msg=key)


TRAINING = {"loss.logvar": (), "loss.discriminator.main.0.weight": (4, 3), "model_ema.decay": ()}


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize(
    ("model", "start", "own"),
    [(SDXL, VAE, ""), (SDXL, VAE, "vae."), (SDXL, VAE, VAE), (SD3, "vae.", ""), (SD3, "vae.", VAE)],
)
def test_a_vae_alone_is_baked(bake, tmp_path, model, start, own, first):
    called, tensors = bake(model, {**under(own, AUTOENCODER), **TRAINING}, "vae", first=first)
    assert called.status == 0, called.err
    assert "warning" not in called.err
    assert_baked(tmp_path, {start + name: own + name for name in AUTOENCODER}, tensors)


@pytest.mark.parametrize(
    ("model", "start", "own", "shapes"),
    [
        (SDXL, "conditioner.embedders.0.transformer.text_model.", "text_model.", ENCODER),
        (SDXL, "conditioner.embedders.0.transformer.text_model.", "", ENCODER),
        (SDXL, "conditioner.embedders.0.transformer.text_model.",
         "cond_stage_model.transformer.text_model.", ENCODER),
        (SDXL, "conditioner.embedders.1.model.", "", OPEN_CLIP),
        (SD3, L + "text_model.", "text_model.", ENCODER),
        (SD3, G + "text_model.", "text_model.", LARGE),
    ],
    ids=["clip l", "of new transformers", "of sd1", "open clip", "l of sd3", "g of sd3"],
)  # fmt: skip
def test_one_text_encoder_alone_leaves_the_others(bake, tmp_path, model, start, own, shapes):
    called, tensors = bake(model, under(own, shapes), "text_encoder")
    if start.startswith(G):
        assert called.status == 1  # it comes with its projection
        assert f"part.safetensors lacks tensor '{G}text_projection.weight'" in called.err
        more = {"text_projection.weight": (8, 8)}
        called, tensors = bake(model, {**under(own, shapes), **more}, "text_encoder")
        keys = {G + "text_projection.weight": "text_projection.weight"}
    else:
        keys = {}
    assert called.status == 0, called.err
    keys |= {start + name: own + name for name in shapes}
    assert_baked(tmp_path, keys, tensors)


def test_projection_that_the_model_does_not_use_is_left_out(bake, tmp_path):
    shapes = {**under("text_model.", ENCODER), "text_projection.weight": (4, 4)}
    called, tensors = bake(SDXL, shapes, "text_encoder")
    assert called.status == 0, called.err
    assert "tensor 'text_projection.weight' only in part.safetensors: left out" in called.err
    start = "conditioner.embedders.0.transformer.text_model."
    assert_baked(tmp_path, {start + name: "text_model." + name for name in ENCODER}, tensors)


def changed(name, shape):
    return {**AUTOENCODER, name: shape}


NARROW = {name: shape for name, shape in AUTOENCODER.items() if name != "quant_conv.weight"}


WIDE = changed("decoder.conv_in.weight", (8, 16, 3, 3))
DEEP = changed("decoder.up.4.block.0.conv1.weight", (8, 8, 3, 3))
T5 = {"shared.weight": (4, 4), "encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4)}
FIT = "part.safetensors does not fit a.safetensors"
REFUSED = {
    "sizes": (WIDE, "vae", f"{FIT}: '{VAE}decoder.conv_in.weight' has shape [8, 16, 3, 3], not"),
    "deeper": (DEEP, "vae", f"{FIT}, which has no tensor '{VAE}decoder.up.4.block.0.conv1.weight'"),
    "incomplete": (NARROW, "vae", f"lacks tensor '{VAE}quant_conv.weight' of 'vae' in"),
    "lacking": (T5, "text_encoder", "part.safetensors holds no part of a.safetensors"),
    "a vae": (AUTOENCODER, "text_encoder", "part.safetensors has no tensors of 'text_encoder'"),
    "a text encoder": (under("text_model.", ENCODER), "vae", "part.safetensors has no tensors of"),
    "a unet": (unet(levels=2), "vae", "part.safetensors has no tensors of 'vae'"),
}  # fmt: skip


@pytest.mark.parametrize(("shapes", "part", "message"), REFUSED.values(), ids=REFUSED)
def test_a_part_that_does_not_fit_is_refused(bake, tmp_path, shapes, part, message):
    called, _ = bake(SDXL, shapes, part)
    assert called.status == 1
    assert message in called.err
    assert "Traceback" not in called.err
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize("start", ["net.", UNET, ""])
@pytest.mark.parametrize("other", ["net.", UNET, ""])
def test_diffusion_models_merge_whatever_is_before_their_keys(bmerge, tmp_path, start, other):
    blocks = {f"blocks.{i}.attn.q.weight": (4, 4) for i in range(3)}
    paths, tensors = zip(
        write(tmp_path / "a.safetensors", under(start, blocks), 1),
        write(tmp_path / "b.safetensors", under(other, blocks), 2),
        strict=True,
    )
    called = bmerge("merge", "weighted_sum", *paths, "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    found = read_checkpoint(tmp_path / "o.safetensors")
    assert list(found) == [start + name for name in blocks]
    for name in blocks:
        exact = (tensors[0][start + name] + tensors[1][other + name]) / 2
        np.testing.assert_allclose(found[start + name], exact, atol=1e-6)


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_part_alone_goes_by_the_model_after_it_or_leads(tmp_path, whole_first):
    paths = [
        write(tmp_path / "part.safetensors", AUTOENCODER, 1)[0],
        write(tmp_path / "model.safetensors", SDXL, 2)[0],
    ]
    files = [open_checkpoint(path) for path in paths]
    part, model = in_one_layout(files, whole_first=whole_first)
    assert list(part.tensors) == list(under(VAE if whole_first else "", AUTOENCODER))
    assert (model == files[1]) is whole_first
    assert len(part.tensors.keys() & model.tensors.keys()) == len(AUTOENCODER)


def test_a_vae_may_be_merged_with_that_of_a_model(bmerge, tmp_path):
    vae, own = write(tmp_path / "v.safetensors", AUTOENCODER, 1)
    model, others = write(tmp_path / "a.safetensors", SDXL, 2)
    called = bmerge("merge", "weighted_sum", vae, model, "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    assert "only in a.safetensors: left out" in called.err
    found = read_checkpoint(tmp_path / "o.safetensors")
    assert found.keys() == own.keys()
    for key, array in found.items():
        np.testing.assert_allclose(array, (own[key] + others[VAE + key]) / 2, atol=1e-6)


@pytest.mark.parametrize("order", ["auv", "uav", "vua", "uva"])
def test_parts_of_any_files_are_put_together_by_the_names_of_the_whole_one(bmerge, tmp_path, order):
    files = {"a": SDXL, "u": unet(""), "v": AUTOENCODER}
    tensors = {
        name: write(tmp_path / f"{name}.safetensors", shapes, seed)[1]
        for seed, (name, shapes) in enumerate(files.items())
    }
    models = ", ".join(f"{name}: {name}.safetensors" for name in order)
    (tmp_path / "r.yaml").write_text(
        f"models: {{{models}}}\nsteps: {{out: {{pick: {{'*': a, unet: u, vae: v}}}}}}\n"
    )
    called = bmerge("merge", tmp_path / "r.yaml", "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    found = read_checkpoint(tmp_path / "o.safetensors")
    exact = tensors["a"] | under(UNET, tensors["u"]) | under(VAE, tensors["v"])
    assert found.keys() == exact.keys()
    assert all((found[key] == array).all() for key, array in exact.items())


def test_a_bare_diffusion_model_is_all_unet(bmerge, tmp_path):
    tensors = [small_model("qwen_image", seed) for seed in range(2)]
    for name, model in zip("ab", tensors, strict=True):
        write_checkpoint(tmp_path / f"{name}.safetensors", model)
    (tmp_path / "r.yaml").write_text(
        "models: {a: a.safetensors, b: b.safetensors}\n"
        "steps:\n"
        "  mixed: {method: weighted_sum, models: [a, b]}\n"
        "  out: {pick: {unet: b, 'img_in.*': mixed}}\n"
    )
    called = bmerge("merge", tmp_path / "r.yaml", "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    found = read_checkpoint(tmp_path / "o.safetensors")
    assert found.keys() == tensors[1].keys()
    for key, array in tensors[1].items():
        of_both = (tensors[0][key] + array) / 2 if key.startswith("img_in.") else array
        np.testing.assert_allclose(found[key], of_both, atol=1e-6)


@pytest.mark.parametrize("key", ["encoder.proj.weight", "decoder.layers.0.mlp.up_proj.weight"])
def test_a_bare_diffusion_model_may_call_its_keys_as_a_vae_does(key):
    architecture = next(known for known in builtin() if known.id == "ace-step")
    assert Parts(["unet", "*"], architecture).of(key) == "unet"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("text_encoder: b", "b.safetensors has no tensors of 'text_encoder'"),
        ("unet: b", "a.safetensors has no tensors of '*'"),
    ],
)
def test_a_bare_diffusion_model_has_no_other_part_to_pick(bmerge, tmp_path, part, said):
    for seed, name in enumerate("ab"):
        model = small_model("qwen_image", seed)
        write_checkpoint(tmp_path / f"{name}.safetensors", model)
    (tmp_path / "r.yaml").write_text(
        "models: {a: a.safetensors, b: b.safetensors}\n"
        f"steps: {{out: {{pick: {{'*': a, {part}}}}}}}\n"
    )
    called = bmerge("merge", tmp_path / "r.yaml", "-o", tmp_path / "o.safetensors")
    assert called.status != 0
    assert said in called.err


def test_parts_may_be_put_together_before_a_merge(bmerge, tmp_path):
    start = "conditioner.embedders.0.transformer.text_model."
    _, part = write(tmp_path / "l.safetensors", under("text_model.", ENCODER), 1)
    (a, b) = (write(tmp_path / f"{n}.safetensors", SDXL, i)[1] for i, n in enumerate("ab"))
    (tmp_path / "r.yaml").write_text("""
        models: {a: a.safetensors, b: b.safetensors, l: l.safetensors}
        steps:
          other: {pick: {text_encoder: l, "*": b}}
          out: {method: weighted_sum, models: [a, other]}
    """)
    called = bmerge("merge", tmp_path / "r.yaml", "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    assert "warning" not in called.err
    b |= {start + name: part["text_model." + name] for name in ENCODER}
    for key, array in read_checkpoint(tmp_path / "o.safetensors").items():
        np.testing.assert_allclose(array, (a[key] + b[key]) / 2, atol=1e-6, err_msg=key)


def test_what_a_vae_was_trained_with_is_no_part_of_another_model(bake, tmp_path):
    shapes = {**under(VAE, AUTOENCODER), VAE + "loss.logvar": ()}
    called, tensors = bake(SDXL, shapes, "vae")
    assert called.status == 0, called.err
    found = read_checkpoint(tmp_path / "o.safetensors")
    assert all((found[key] == tensors[key]).all() for key in under(VAE, AUTOENCODER))
    (tmp_path / "o.safetensors").unlink()
    called, _ = bake({**SDXL, VAE + "loss.logvar": ()}, AUTOENCODER, "vae")
    assert called.status == 0, called.err


def test_names_of_diffusers_stay_where_the_model_has_them_too(tmp_path):
    names = ("conv_in", *(f"up_blocks.{i}.resnets.0.conv1" for i in range(2)))
    own = {f"decoder.{name}.weight": (4, 4, 3, 3) for name in names}
    model, _ = write(tmp_path / "a.safetensors", {**unet(), **under("vae.", own)}, 1)
    part, _ = write(tmp_path / "v.safetensors", own, 2)
    found = in_one_layout([open_checkpoint(model), open_checkpoint(part)])[1]
    assert list(found.tensors) == list(under("vae.", own))


def test_each_text_encoder_may_come_from_a_file_of_its_own(bmerge, tmp_path):
    large = {**under("text_model.", LARGE), "text_projection.weight": (8, 8)}
    a, b, g, part = (
        write(tmp_path / f"{name}.safetensors", shapes, seed)[1]
        for seed, (name, shapes) in enumerate(
            [("a", SD3), ("b", SD3), ("g", large), ("l", under("text_model.", ENCODER))]
        )
    )
    files = [tmp_path / f"{name}.safetensors" for name in "abglo"]
    encoders = ("--text-encoder", files[2], "--text-encoder", files[3])
    called = bmerge("merge", "weighted_sum", *files[:2], *encoders, "-o", files[4])
    assert called.status == 0, called.err
    exact = {key: (a[key] + b[key]) / 2 for key in a}
    exact |= under(G, g) | under(L, part)
    found = read_checkpoint(tmp_path / "o.safetensors")
    assert found.keys() == exact.keys()
    for key, array in found.items():
        np.testing.assert_allclose(array, exact[key], atol=1e-6, err_msg=key)


def test_keys_of_two_text_encoders_are_never_alike(tmp_path):
    path, _ = write(tmp_path / "a.safetensors", {L + "w": (4,), G + "w": (4,), G + "v": (4,)}, 1)
    tensors = open_checkpoint(path).tensors
    alike = AlikeKeys([tensors], [Parts(("text_encoder", "*"), generic(tensors))])
    looked = []

    def look(key):
        looked.append(key)
        return alike.leaf(0, key)

    rule_of = alike.rules(look)
    for key in tensors:
        rule = rule_of(key)
        assert rule.found([tensors], key).info == tensors[key]
    assert looked == [L + "w", G + "w"]
