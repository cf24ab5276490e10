"""LoRAs from checkpoints and from other LoRAs, held against whole singular value decompositions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge.formats import open_checkpoint, sha256_of
from bmerge.lora.decompose import Wanted, factorise, refactorise
from bmerge.testing import read_checkpoint, tiny_sd1, tiny_sdxl, write_checkpoint
from loras import NETWORKS, SHAPES, low_rank

UNET = "model.diffusion_model."
QUERY = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _energy(array):
    return float(np.sum(np.square(array, dtype="f8")))


@settings(max_examples=60)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    rank=st.none() | st.integers(1, 45),
    energy=st.none() | st.floats(0.01, 1),
    seed=st.integers(0, 1000),
)
def test_factors_are_those_of_the_decomposition(rows, columns, rank, energy, seed):
    if rank is None and energy is None:
        return
    random = np.random.default_rng(seed)
    weights = np.exp(random.normal(size=columns, scale=2))
    matrix = (random.normal(size=(rows, columns)) * weights).astype("f4")
    values = np.linalg.svd(matrix.astype("f8"), compute_uv=False) ** 2
    most = min(len(values), rank or len(values))
    low = high = most
    if energy is not None:  # what rounding of the sum decides may go either way
        limits = energy * values.sum() * np.array([1 - 1e-7, 1 + 1e-12])
        low, high = (min(int(n) + 1, most) for n in np.searchsorted(np.cumsum(values), limits))
    factors = factorise(matrix, Wanted(rank, energy))
    needed = factors.rank
    assert low <= needed <= high
    assert factors.up.shape == (rows, needed)
    assert factors.down.shape == (needed, columns)
    lost = _energy(matrix - factors.up.astype("f8") @ factors.down)
    assert lost <= values[needed:].sum() + 1e-6 * values.sum()
    assert factors.kept == pytest.approx(values[:needed].sum(), rel=1e-5)


@pytest.mark.parametrize("turned", [False, True], ids=["wide", "tall"])
@pytest.mark.parametrize("wanted", [Wanted(12), Wanted(None, 0.9), Wanted(8, 0.999)], ids=str)
def test_random_vectors_are_as_good_as_the_decomposition(wanted, turned):
    random = np.random.default_rng(0)
    strong = random.normal(size=(300, 12)) @ random.normal(size=(12, 400))
    matrix = (strong + 0.5 * random.normal(size=(300, 400))).astype("f4")
    values = np.linalg.svd(matrix, compute_uv=False).astype("f8") ** 2
    rank = 12 if wanted.rank is None else wanted.rank
    if wanted.energy is not None:
        shares = np.cumsum(values) / values.sum()
        rank = min(rank, int(np.searchsorted(shares, wanted.energy)) + 1)
    factors = factorise(matrix.T if turned else matrix, wanted)
    assert factors.rank == rank
    product = factors.up.astype("f8") @ factors.down
    lost = _energy(matrix - (product.T if turned else product))
    assert lost <= values[rank:].sum() * 1.001
    assert factors.total - factors.kept == pytest.approx(lost, rel=1e-3)


def test_energy_that_takes_many_ranks_is_kept_exactly():
    matrix = np.random.default_rng(0).normal(size=(200, 260)).astype("f4")
    values = np.linalg.svd(matrix, compute_uv=False).astype("f8") ** 2
    needed = int(np.searchsorted(np.cumsum(values), 0.97 * values.sum())) + 1
    assert factorise(matrix, Wanted(None, 0.97)).rank == needed


def test_product_is_resized_as_what_it_stands_for():
    random = np.random.default_rng(0)
    up, down = random.normal(size=(30, 9)).astype("f4"), random.normal(size=(9, 50)).astype("f4")
    direct, thin = factorise(up @ down, Wanted(4)), refactorise(up, down, Wanted(4))
    np.testing.assert_allclose(thin.up @ thin.down, direct.up @ direct.down, atol=1e-3)
    assert thin.kept / thin.total == pytest.approx(direct.kept / direct.total, rel=1e-5)


@pytest.mark.parametrize("make", [tiny_sd1, tiny_sdxl], ids=["sd1", "sdxl"])
def test_full_rank_gives_the_tuned_model_back(make, bmerge, folder):
    make(folder / "base.safetensors", 1)
    tuned = read_checkpoint(make(folder / "tuned.safetensors", 2))
    words = ("--rank", "9999", "--dtype", "fp32", "--everything", "-o", "x.safetensors")
    called = bmerge("lora", "extract", "base.safetensors", "tuned.safetensors", *words)
    assert called.status == 0, called.err
    baked = ("base.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *baked)
    assert called.status == 0, called.err
    assert "left out" not in called.err
    base = read_checkpoint(folder / "base.safetensors")
    for key, array in read_checkpoint(folder / "out.safetensors").items():
        if key.startswith("first_stage_model.") or array.dtype.kind != "f":
            assert np.array_equal(array, base[key]), key  # the VAE is no part of a LoRA
            continue
        exact = tuned[key].astype("f8")
        assert np.all(np.abs(array - exact) <= np.abs(exact) * 2.0**-10 + 2.0**-24), key


def _tuned(folder, changes, make=tiny_sd1):
    """Write a base and what changes make of it, both in F32."""
    base = make(folder / "base.safetensors", 1, "F32")
    tensors = read_checkpoint(base)
    tuned = {key: array + changes.get(key, 0) for key, array in tensors.items()}
    write_checkpoint(folder / "tuned.safetensors", tuned)
    return tensors


def test_layers_have_the_ranks_of_their_changes(bmerge, folder):
    rng = np.random.default_rng(0)
    conv = f"{UNET}middle_block.0.in_layers.2.weight"
    model = open_checkpoint(tiny_sd1(folder / "s.safetensors", 1))
    shapes = {key: info.shape for key, info in model.tensors.items()}
    changes = {
        QUERY: low_rank(rng, shapes[QUERY], rank=1)[1],
        conv: low_rank(rng, shapes[conv], rank=5)[1],
    }
    _tuned(folder, changes)
    words = ("--energy", "0.99999", "-o", "x.safetensors", "--json")
    called = bmerge("lora", "extract", "base.safetensors", "tuned.safetensors", *words)
    assert called.status == 0, called.err
    data = json.loads(called.out)
    names = {
        QUERY: "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        conv: "lora_unet_mid_block_resnets_0_conv1",
    }
    assert data["ranks"] == {names[QUERY]: 1, names[conv]: 5}
    assert data["energy"] > 0.99999
    lora = open_checkpoint("x.safetensors")
    assert set(lora.tensors) == {
        f"{name}.{role}"
        for name in names.values()
        for role in ("lora_up.weight", "lora_down.weight", "alpha")
    }
    assert lora.tensors[f"{names[conv]}.lora_down.weight"].shape == (5, *shapes[conv][1:])
    assert lora.tensors[f"{names[conv]}.lora_up.weight"].shape == (shapes[conv][0], 5, 1, 1)
    assert {info.dtype for info in lora.tensors.values()} == {"F16"}
    metadata = lora.metadata
    assert (metadata["ss_network_module"], metadata["ss_network_dim"]) == (
        "networks.lora",
        "Dynamic",
    )
    assert metadata["ss_base_model_version"] == "sd_v1"
    models = json.loads(metadata["bmerge.lora.extracted"])
    assert models["base"] == {
        "name": "base.safetensors", "sha256": sha256_of(folder / "base.safetensors"),
    }  # fmt: skip


def test_sdxl_has_the_names_of_kohya(bmerge, folder):
    tiny_sdxl(folder / "base.safetensors", 1)
    tiny_sdxl(folder / "tuned.safetensors", 2)
    words = ("--rank", "4", "-o", "x.safetensors")
    called = bmerge("lora", "extract", "base.safetensors", "tuned.safetensors", *words)
    assert called.status == 0, called.err
    lora = open_checkpoint("x.safetensors")
    names = {key.partition(".")[0] for key in lora.tensors}
    assert {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te2_text_model_encoder_layers_31_self_attn_v_proj",
    } <= names
    assert not any("norm" in name or "first_stage" in name for name in names)
    assert (lora.metadata["ss_network_dim"], lora.metadata["ss_network_alpha"]) == ("4", "4")
    assert lora.metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    spec = {key: text for key, text in lora.metadata.items() if key.startswith("modelspec.")}
    assert spec == {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": "tuned less base",
    }


@pytest.mark.parametrize(
    "words",
    [
        ("lora", "resize", "x.safetensors", "--rank", "1"),
        ("lora", "merge", "y.safetensors", "x.safetensors=0.5"),
        ("lora", "extract", "base.safetensors", "x.safetensors"),
        ("lora", "extract", "x.safetensors", "base.safetensors"),
        ("merge", "add_difference", "base.safetensors", "--lora", "x.safetensors"),
        ("rebasin", "base.safetensors", "x.safetensors"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_no_command_writes_over_what_it_reads(bmerge, folder, words):
    _tuned(folder, {QUERY: 1.0})
    made = ("lora", "extract", "base.safetensors", "tuned.safetensors", "-o", "x.safetensors")
    assert bmerge(*made, "--force").status == 0
    if words[0] == "rebasin" or words[1] == "extract":
        (folder / "tuned.safetensors").replace(folder / "x.safetensors")
    (folder / "x.safetensors").replace(folder / "z.safetensors")
    for name in ("x.safetensors", "y.safetensors"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("z.safetensors")
    before = (folder / "z.safetensors").read_bytes()
    refused = bmerge(*words, "-o", "z.safetensors", "--force")
    assert refused.status == 1
    assert "z.safetensors is one of the inputs" in refused.err
    assert (folder / "z.safetensors").read_bytes() == before


def test_changes_without_a_rank_are_told_or_stored(bmerge, folder):
    norm = f"{UNET}out.0.weight"
    bias = f"{UNET}out.2.bias"
    base = _tuned(folder, {QUERY: 1.0, norm: 2.0, bias: 3.0})
    words = ("lora", "extract", "base.safetensors", "tuned.safetensors", "-o", "x.safetensors")
    called = bmerge(*words)
    assert called.status == 0
    assert f"2 tensors ('{norm}', …) differ and have no rank" in called.err
    assert bmerge(*words, "--force", "--everything").status == 0
    assert {"lora_unet_conv_norm_out.w_norm", "lora_unet_conv_out.diff_b"} <= set(
        open_checkpoint("x.safetensors").tensors
    )
    bmerge("merge", "add_difference", "base.safetensors", "--lora", "x.safetensors",
           "-o", "out.safetensors")  # fmt: skip
    merged = read_checkpoint(folder / "out.safetensors")
    for key, change in ((norm, 2), (bias, 3), (QUERY, 1)):
        np.testing.assert_allclose(merged[key], base[key] + change, rtol=2e-3)


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_resize_at_full_rank_changes_nothing(network, bmerge, folder):
    kind, build = NETWORKS[network]
    base = np.random.default_rng(0).normal(size=SHAPES[kind]).astype("f4")
    write_checkpoint(folder / "model.safetensors", {"a.0.l.weight": base, "a.1.l.weight": base})
    roles, change = build(np.random.default_rng(1), base)
    write_checkpoint(
        folder / "x.safetensors",
        {f"lora_unet_a_1_l.{role}": array for role, array in roles.items()},
    )
    words = ("-o", "y.safetensors", "--rank", "99", "--dtype", "fp32")
    called = bmerge("lora", "resize", "x.safetensors", *words)
    assert called.status == 0, called.err
    called = bmerge("merge", "add_difference", "model.safetensors", "--lora", "y.safetensors",
                    "-o", "out.safetensors")  # fmt: skip
    assert called.status == 0, called.err
    merged = read_checkpoint(folder / "out.safetensors")["a.1.l.weight"]
    np.testing.assert_allclose(merged, base + change, rtol=2e-4, atol=2e-4)


def test_lora_of_an_inpainting_model_is_one_for_its_family(bmerge, folder):
    for seed, name in enumerate(("base", "tuned")):
        tiny_sd1(folder / f"{name}.safetensors", seed, in_channels=9)
    words = ("--rank", "2", "-o", "x.safetensors")
    called = bmerge("lora", "extract", "base.safetensors", "tuned.safetensors", *words)
    assert called.status == 0, called.err
    metadata = open_checkpoint("x.safetensors").metadata
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"


def test_resize_keeps_names_and_metadata_and_the_energy(bmerge, folder):
    rng = np.random.default_rng(0)
    strong, _ = low_rank(rng, (60, 50), rank=2, names=("lora_B.weight", "lora_A.weight"))
    weak, _ = low_rank(rng, (60, 50), rank=6, names=("lora_B.weight", "lora_A.weight"))
    factors = [np.concatenate([strong[n], 0.01 * weak[n]], axis=axis)
               for n, axis in (("lora_B.weight", 1), ("lora_A.weight", 0))]  # fmt: skip
    tensors = {f"unet.x.lora_{n}.weight": f for n, f in zip("BA", factors, strict=True)}
    config = {"lora_adapter_metadata": '{"unet.lora_alpha": 16, "unet.r": 8}', "author": "me"}
    write_checkpoint(folder / "x.safetensors", tensors, metadata=config)
    words = ("-o", "y.safetensors", "--energy", "0.99", "--dtype", "fp32", "--json")
    called = bmerge("lora", "resize", "x.safetensors", *words)
    assert called.status == 0, called.err
    assert json.loads(called.out)["ranks"] == {"unet.x": 2}
    resized, metadata = (
        read_checkpoint(folder / "y.safetensors"),
        open_checkpoint("y.safetensors").metadata,
    )
    assert metadata["author"] == "me"
    assert "lora_adapter_metadata" not in metadata  # its scale is in the factors now
    product = resized["unet.x.lora_B.weight"] @ resized["unet.x.lora_A.weight"]
    exact = 16 / 8 * factors[0] @ factors[1]
    assert _energy(product - exact) < 0.01 * _energy(exact)


def test_merged_loras_do_what_they_do_together(bmerge, folder):
    rng = np.random.default_rng(0)
    base = {f"a.{i}.l.weight": rng.normal(size=(6, 8)).astype("f4") for i in range(3)}
    write_checkpoint(folder / "model.safetensors", base)
    for name, layers in (("x", (0, 1)), ("y", (1, 2))):
        tensors = {}
        for i in layers:
            roles, _ = low_rank(rng, (6, 8), rank=2, alpha=1)
            tensors |= {f"lora_unet_a_{i}_l.{role}": array for role, array in roles.items()}
        write_checkpoint(folder / f"{name}.safetensors", tensors)
    words = ("x.safetensors=0.8", "y.safetensors=-0.3", "-o", "z.safetensors", "--dtype", "fp32")
    called = bmerge("lora", "merge", *words)
    assert called.status == 0, called.err
    assert "3 layers, ranks 2 to 4" in called.out
    for out, loras in (("one", words[:2]), ("two", ("z.safetensors",))):
        named = [word for lora in loras for word in ("--lora", lora)]
        bmerge("merge", "add_difference", "model.safetensors", *named, "-o", f"{out}.safetensors")
    one, two = (read_checkpoint(folder / f"{name}.safetensors") for name in ("one", "two"))
    for key, array in one.items():
        np.testing.assert_allclose(two[key], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("key", "shape"),
    [("a\nb.weight", (4, 4)), ("", (4, 4)), ("none.bias", (0,)), ("none.weight", (3, 0, 2))],
    ids=["line break", "empty", "no elements", "no columns"],
)
def test_odd_tensors_are_no_hindrance(key, shape, bmerge, folder):
    rng, layer = np.random.default_rng(1), "blocks.0.attn.proj.weight"
    for name in "xy":
        arrays = {layer: rng.standard_normal((8, 8)), key: rng.standard_normal(shape)}
        write_checkpoint(folder / f"{name}.safetensors", arrays)
    words = ("lora", "extract", "x.safetensors", "y.safetensors", "--rank", "2")
    called = bmerge(*words, "-o", "lora.safetensors")
    assert called.status == 0, called.err
    assert any(name.endswith("lora_up.weight") for name in read_checkpoint("lora.safetensors"))
    words = ("x.safetensors", "--lora", "lora.safetensors", "-o", "baked.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    assert "warning" not in called.err


def test_mistakes_are_one_line(bmerge, folder):
    tiny_sd1(folder / "base.safetensors", 1)
    tiny_sdxl(folder / "sdxl.safetensors", 1)
    extract = ("lora", "extract", "base.safetensors")
    called = bmerge(*extract, "base.safetensors", "-o", "x.safetensors")
    assert (called.status, "are equal in all layers" in called.err) == (1, True)
    assert not (folder / "x.safetensors").exists()
    called = bmerge(*extract, "base.safetensors", "-o", "nowhere/x.safetensors")
    assert (called.status, "cannot write nowhere/x.safetensors" in called.err) == (1, True)
    called = bmerge(*extract, "base.safetensors", "-o", "sdxl.safetensors")
    assert (called.status, "sdxl.safetensors exists" in called.err) == (1, True)
    called = bmerge(*extract, "sdxl.safetensors", "-o", "x.safetensors", "--dtype", "fp8")
    assert (called.status, "fp16, bf16 or fp32, not fp8" in called.err) == (1, True)
    called = bmerge("lora", "resize", "base.safetensors", "-o", "x.safetensors")
    assert (called.status, "base.safetensors is not a LoRA" in called.err) == (1, True)
    roles = {f"a.{role}": np.ones((2, 2), "f4") for role in ("hada_w1_a", "hada_w1_b", "hada_w2_a",
                                                             "hada_w2_b")}  # fmt: skip
    write_checkpoint(folder / "loha.safetensors", roles)
    called = bmerge("lora", "merge", "loha.safetensors", "-o", "x.safetensors")
    assert (called.status, "is not a plain LoRA layer" in called.err) == (1, True)
    called = bmerge("lora", "merge", "loha.safetensors=much", "-o", "x.safetensors")
    assert (called.status, "must be a number" in called.err) == (1, True)


@pytest.mark.parametrize(
    ("network", "spoiled", "words"),
    [
        ("LoRA", "lora_up.weight", ("merge", "good.safetensors")),
        ("LoRA", "lora_down.weight", ("merge", "good.safetensors")),
        ("LoRA", "lora_up.weight", ("resize", "--rank", "2")),
        ("LoHa", "hada_w1_a", ("resize", "--rank", "2")),
    ],
)
def test_loras_that_hold_nan_are_refused(network, spoiled, words, bmerge, folder):
    rng = np.random.default_rng(0)
    good, _ = low_rank(rng, (6, 8), rank=2, alpha=1)
    roles = {f"hada_w{i}_{side}": rng.normal(size=shape).astype("f4") for i in (1, 2)
             for side, shape in (("a", (6, 2)), ("b", (2, 8)))}  # fmt: skip
    bad = dict(good) if network == "LoRA" else roles
    bad[spoiled] = bad[spoiled] * np.float32("nan")
    for name, tensors in (("good", good), ("bad", bad)):
        named = {f"lora_unet_a.{role}": array for role, array in tensors.items()}
        write_checkpoint(folder / f"{name}.safetensors", named)
    called = bmerge("lora", words[0], "bad.safetensors", *words[1:], "-o", "x.safetensors")
    assert called.status == 1
    assert "'lora_unet_a' holds NaN or infinity in bad.safetensors" in called.err
    assert not (folder / "x.safetensors").exists()


@pytest.mark.parametrize("network", ["lora", "loha"])
def test_loras_whose_products_are_beyond_float32_are_refused(network, bmerge, folder):
    roles, _ = NETWORKS[network][1](np.random.default_rng(0), np.zeros(SHAPES["linear"], "f4"))
    named = {f"lora_unet_a.{r}": a * (1e30 if a.ndim else 1) for r, a in roles.items()}
    write_checkpoint(folder / "big.safetensors", {k: a.astype("f4") for k, a in named.items()})
    called = bmerge("lora", "resize", "big.safetensors", "--rank", "2", "-o", "x.safetensors")
    assert called.status == 1
    assert "holds NaN or infinity in big.safetensors, or is beyond float32" in called.err
    assert not (folder / "x.safetensors").exists()


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "1e400"])
def test_weights_of_loras_are_finite(weight, bmerge, folder):
    roles, _ = low_rank(np.random.default_rng(0), (6, 8), rank=2, alpha=1)
    named = {f"lora_unet_a.{role}": array for role, array in roles.items()}
    write_checkpoint(folder / "good.safetensors", named)
    called = bmerge("lora", "merge", f"good.safetensors={weight}", "-o", "x.safetensors")
    assert (called.status, "must be a number" in called.err) == (1, True)


@pytest.mark.parametrize(("dtype", "weight"), [("fp16", 1e6), ("bf16", 3.4e38), ("fp32", 1e39)])
def test_values_that_the_number_format_cannot_hold_are_refused(dtype, weight, bmerge, folder):
    named = {
        f"lora_unet_a.{role}": np.ones((2, 2), "f4")
        for role in ("lora_up.weight", "lora_down.weight")
    }
    write_checkpoint(folder / "good.safetensors", named)
    words = (f"good.safetensors={weight}", "-o", "x.safetensors", "--dtype", dtype)
    called = bmerge("lora", "merge", *words)
    assert called.status == 1
    assert "lora_unet_a" in called.err
    assert "Warning" not in called.err
    assert not (folder / "x.safetensors").exists()
    good = f"good.safetensors={weight / 100}"
    if dtype != "fp32":
        assert bmerge("lora", "merge", good, *words[1:]).status == 0


def test_position_ids_that_a_tool_has_cast_are_no_layer(bmerge, folder):
    ids = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    tensors = read_checkpoint(tiny_sd1(folder / "sd1.safetensors", 1))
    drifted = {ids: np.arange(77, dtype="f4")[None] * 1.01, QUERY: tensors[QUERY] + 1}
    write_checkpoint("base.safetensors", {**tensors, ids: np.arange(77, dtype="f4")[None]})
    write_checkpoint("tuned.safetensors", {**tensors, **drifted})
    words = ("base.safetensors", "tuned.safetensors", "-o", "x.safetensors", "--everything")
    called = bmerge("lora", "extract", *words)
    assert called.status == 0, called.err
    names = {key.partition(".")[0] for key in read_checkpoint("x.safetensors")}
    assert names == {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"}
