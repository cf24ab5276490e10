"""Control LoRAs of Flux: biases of factors, norms that are set, a first layer that takes more."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.formats import open_checkpoint

WIDTH, NOISE, PICTURE = 8, 64, 128
NORMS = [
    *(
        f"double_blocks.0.{side}_attn.norm.{of}_norm"
        for side in ("img", "txt")
        for of in ("query", "key")
    ),
    "single_blocks.0.norm.query_norm",
    "single_blocks.0.norm.key_norm",
]
PARTS = {"time_in": "timestep", "vector_in": "text", "guidance_in": "guidance"}
STREAM = {
    "attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH), "mod.lin": (6 * WIDTH, WIDTH),
    "mlp.0": (4 * WIDTH, WIDTH), "mlp.2": (WIDTH, 4 * WIDTH),
}  # fmt: skip
LINEAR = {
    "img_in": (WIDTH, NOISE), "txt_in": (WIDTH, 12), "final_layer.linear": (NOISE, WIDTH),
    "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
    **{f"{part}.{layer}_layer": (WIDTH, WIDTH) for part in PARTS for layer in ("in", "out")},
    **{f"double_blocks.0.{side}_{name}": shape
       for side in ("img", "txt") for name, shape in STREAM.items()},
    "single_blocks.0.linear1": (7 * WIDTH, WIDTH), "single_blocks.0.linear2": (WIDTH, 5 * WIDTH),
    "single_blocks.0.modulation.lin": (3 * WIDTH, WIDTH),
}  # fmt: skip
OUTSIDE = {
    "img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    **{f"{part}.{layer}_layer": f"time_text_embed.{name}_embedder.linear_{number}"
       for part, name in PARTS.items() for layer, number in (("in", 1), ("out", 2))},
}  # fmt: skip
DOUBLE = {
    "img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
    "img_mod.lin": "norm1.linear", "txt_mod.lin": "norm1_context.linear",
    "img_mlp.0": "ff.net.0.proj", "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj", "txt_mlp.2": "ff_context.net.2",
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
}  # fmt: skip
SINGLE = {
    "linear2": "proj_out", "modulation.lin": "norm.linear", "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}  # fmt: skip
FUSED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
}


def flux(rng):
    """Return a tiny Flux of one double and one single block."""
    arrays = {f"{name}.scale": rng.normal(size=4).astype("f4") for name in NORMS}
    for name, shape in LINEAR.items():
        arrays[f"{name}.weight"] = rng.normal(size=shape).astype("f4")
        arrays[f"{name}.bias"] = rng.normal(size=shape[:1]).astype("f4")
    return arrays


def control(rng, model, weight, *, start="", alpha=None):
    """Return a LoRA as BFL's are, and a model with it in float64."""
    lora, exact = {}, {key: array.astype("f8") for key, array in model.items()}
    for name in NORMS:
        lora[f"{start}{name}.scale"] = value = rng.normal(size=4).astype("f4")
        exact[f"{name}.scale"] += weight * (value - exact[f"{name}.scale"])
    for name, (rows, columns) in LINEAR.items():
        wider = PICTURE if name == "img_in" else columns
        up, down = rng.normal(size=(rows, 2)), rng.normal(size=(2, wider))
        bias = rng.normal(size=rows)
        factors = {"lora_B.weight": up, "lora_A.weight": down, "lora_B.bias": bias}
        stored = {role: array.astype("f4") for role, array in factors.items()}
        lora |= {f"{start}{name}.{role}": array for role, array in stored.items()}
        scale = weight
        if alpha is not None:
            lora[f"{start}{name}.alpha"], scale = np.array(alpha, "f4"), weight * alpha / 2
        up, down, bias = (array.astype("f8") for array in stored.values())
        before = exact[f"{name}.weight"]
        wide = np.zeros((rows, wider))
        wide[:, : before.shape[1]] = before
        exact[f"{name}.weight"] = wide + scale * up @ down
        exact[f"{name}.bias"] += scale * bias
    return lora, exact


def theirs(model):
    """Return a model in diffusers' layout, by hand."""
    made = {}
    for key, stored in model.items():
        name, _, role = key.replace("scale", "weight").rpartition(".")
        array = np.roll(stored, WIDTH, axis=0) if "adaLN" in name else stored
        if name in OUTSIDE:
            made[f"{OUTSIDE[name]}.{role}"] = array
            continue
        kind, _, inner = name.partition("_blocks.0.")
        block = "transformer_blocks.0" if kind == "double" else "single_transformer_blocks.0"
        names = FUSED.get(inner) or ((DOUBLE if kind == "double" else SINGLE)[inner],)
        cuts = [WIDTH, 2 * WIDTH, 3 * WIDTH][: len(names) - 1]
        for new, part in zip(names, np.split(array, cuts), strict=True):
            made[f"{block}.{new}.{role}"] = np.ascontiguousarray(part)
    return made


@pytest.fixture
def baked(bmerge, tmp_path):
    def run(model, lora, weight=1, *more):
        save_file(model, tmp_path / "m.safetensors")
        save_file(lora, tmp_path / "x.safetensors")
        out = tmp_path / "o.safetensors"
        called = bmerge(
            "merge", "add_difference", tmp_path / "m.safetensors", "--force",
            "--lora", f"{tmp_path / 'x.safetensors'}={weight}", "-o", out, *more,
        )  # fmt: skip
        assert called.status == 0, called.err
        return load_file(out), called.err

    return run


def assert_close(found, exact):
    assert found.keys() == exact.keys()
    for key, array in exact.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=2e-5, err_msg=key)


@pytest.mark.parametrize("executor", ["native", "torch"])
@pytest.mark.parametrize(("weight", "alpha", "start"), [
    (1, None, ""), (0.6, 3, "diffusion_model."),
])  # fmt: skip
def test_all_of_a_control_lora_is_baked(weight, alpha, start, executor, baked, tmp_path):
    rng = np.random.default_rng(0)
    model = flux(rng)
    lora, exact = control(rng, model, weight, start=start, alpha=alpha)
    found, said = baked(model, lora, weight, "--executor", executor)
    assert "left out" not in said
    assert_close(found, exact)
    if weight == 1:
        for name in NORMS:
            assert np.array_equal(found[f"{name}.scale"], lora[f"{name}.scale"]), name
    made = open_checkpoint(tmp_path / "o.safetensors").metadata
    assert made["modelspec.architecture"] == "Flux.1-dev/depth"


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_control_lora_by_the_original_names_changes_a_model_of_diffusers(executor, baked):
    rng = np.random.default_rng(1)
    model = flux(rng)
    lora, exact = control(rng, model, 1)
    found, said = baked(theirs(model), lora, 1, "--executor", executor)
    assert "left out" not in said
    assert_close(found, theirs(exact))


def test_control_lora_by_the_names_of_diffusers_changes_the_original(baked):
    rng = np.random.default_rng(1)
    model = flux(rng)
    start, ones = "transformer.transformer_blocks.0.attn", np.ones((WIDTH, 1), "f4")
    lora = {}
    for of in "qk":
        lora[f"{start}.norm_{of}.weight"] = np.full(4, 2, "f4")
        lora[f"{start}.norm_added_{of}.weight"] = np.ones(4, "f4")
        lora[f"{start}.to_{of}.lora_A.weight"] = np.ascontiguousarray(ones.T)
        lora[f"{start}.to_{of}.lora_B.weight"] = ones
        lora[f"{start}.to_{of}.lora_B.bias"] = np.arange(WIDTH, dtype="f4")
    found, said = baked(model, lora)
    assert "left out" not in said
    exact = {key: array.astype("f8") for key, array in model.items()}
    for of in ("query", "key"):
        exact[f"double_blocks.0.img_attn.norm.{of}_norm.scale"][:] = 2
        exact[f"double_blocks.0.txt_attn.norm.{of}_norm.scale"][:] = 1
    exact["double_blocks.0.img_attn.qkv.weight"][: 2 * WIDTH] += 1
    exact["double_blocks.0.img_attn.qkv.bias"][: 2 * WIDTH] += np.tile(np.arange(WIDTH), 2)
    assert_close(found, exact)


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_lora_of_the_noise_alone_changes_the_channels_of_the_noise(executor, baked):
    rng = np.random.default_rng(2)
    model = flux(rng)
    model["img_in.weight"] = rng.normal(size=(WIDTH, 384)).astype("f4")
    up, down = rng.normal(size=(WIDTH, 2)).astype("f4"), rng.normal(size=(2, NOISE)).astype("f4")
    lora = {"lora_unet_img_in.lora_up.weight": up, "lora_unet_img_in.lora_down.weight": down}
    found, _ = baked(model, lora, 0.5, "--executor", executor)
    exact = {key: array.astype("f8") for key, array in model.items()}
    exact["img_in.weight"][:, :NOISE] += 0.5 * up.astype("f8") @ down
    assert_close(found, exact)


def test_wider_and_narrower_loras_are_summed(bmerge, tmp_path):
    rng = np.random.default_rng(3)
    model = flux(rng)
    save_file(model, tmp_path / "m.safetensors")
    exact = np.zeros((WIDTH, PICTURE))
    exact[:, :NOISE] = model["img_in.weight"]
    words = []
    for name, columns in (("x", NOISE), ("y", PICTURE)):
        up, down = rng.normal(size=(WIDTH, 2)), rng.normal(size=(2, columns))
        factors = {"up": up.astype("f4"), "down": down.astype("f4")}
        save_file({f"lora_unet_img_in.lora_{k}.weight": v for k, v in factors.items()},
                  tmp_path / f"{name}.safetensors")  # fmt: skip
        exact[:, :columns] += factors["up"].astype("f8") @ factors["down"]
        words += ["--lora", tmp_path / f"{name}.safetensors"]
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "add_difference", tmp_path / "m.safetensors", *words, "-o", out)
    assert called.status == 0, called.err
    np.testing.assert_allclose(load_file(out)["img_in.weight"], exact, rtol=1e-5, atol=1e-5)


def test_bias_that_the_model_has_not_is_told(baked):
    rng = np.random.default_rng(4)
    model = flux(rng)
    lora, exact = control(rng, model, 1)
    del model["txt_in.bias"], exact["txt_in.bias"]
    found, said = baked(model, lora)
    assert "warning: x.safetensors: the model has no layer 'txt_in.bias': left out" in said
    assert_close(found, exact)


@pytest.mark.parametrize("command", ["resize", "merge"])
def test_loras_made_of_control_loras_have_their_biases(command, baked, bmerge, tmp_path):
    rng = np.random.default_rng(5)
    model = flux(rng)
    lora, exact = control(rng, model, 1, alpha=3)
    if command == "merge":  # which knows no values that are set
        lora = {key: array for key, array in lora.items() if not key.endswith(".scale")}
        exact |= {key: model[key].astype("f8") for key in model if key.endswith(".scale")}
    save_file(lora, tmp_path / "one.safetensors")
    size = ("--rank", 2) if command == "resize" else ()
    called = bmerge("lora", command, tmp_path / "one.safetensors", *size, "--dtype", "fp32",
                    "-o", tmp_path / "two.safetensors")  # fmt: skip
    assert called.status == 0, called.err
    found, said = baked(model, load_file(tmp_path / "two.safetensors"))
    assert "left out" not in said
    assert found.keys() == exact.keys()
    for key, array in exact.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-4, err_msg=key)
