"""What each network type adds to a layer, against float64, through whole merges."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from bmerge import _native
from bmerge.formats import open_checkpoint
from bmerge.lora.apply import Change
from bmerge.lora.names import LayerPlace
from bmerge.lora.parsing import open_lora
from bmerge.lora.patch import float_blocks, write_floats
from bmerge.lora.patched import PatchedTensor
from bmerge.lora.streamed import files_of, is_streamed, streamed_input
from bmerge.testing import read_checkpoint, write_checkpoint
from loras import NETWORKS, SHAPES, dora, ia3, low_rank, oft, oft_of_inputs


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A model with one layer of each kind, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    tensors = {}
    for kind, shape in SHAPES.items():
        tensors[f"layers.0.{kind}.weight"] = rng.normal(size=shape).astype("f4")
        tensors[f"layers.0.{kind}.bias"] = rng.normal(size=shape[:1]).astype("f4")
    write_checkpoint(tmp_path / "model.safetensors", tensors)
    return tensors


def _write(folder, layer, roles, name="x.safetensors", **options):
    tensors = {f"{layer}.{role}": array for role, array in roles.items()}
    return write_checkpoint(folder / name, tensors, **options)


@pytest.mark.parametrize("executor", ["native", "torch"])
@pytest.mark.parametrize("network", NETWORKS)
def test_bake_adds_the_weighted_change_of(network, executor, base, bmerge, tmp_path):
    kind, build = NETWORKS[network]
    key = f"layers.0.{kind}.weight"
    roles, change = build(np.random.default_rng(1), base[key])
    _write(tmp_path, f"lora_unet_layers_0_{kind}", roles)
    words = ("model.safetensors", "--lora", "x.safetensors=0.7", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", executor)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    exact = base[key].astype("f8") + 0.7 * change
    np.testing.assert_allclose(merged[key], exact, rtol=1e-5, atol=1e-5)
    for other in base.keys() - {key, f"layers.0.{kind}.bias" if "ia3" in network else key}:
        assert np.array_equal(merged[other], base[other]), other


FLAT = {
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2_a",
    "lokr_w2_b",
    "lora_embedding_A",
    "lora_embedding_B",
    "a1.weight",
    "a2.weight",
}


FLAT_NETWORKS = [
    name
    for name, (kind, build) in NETWORKS.items()
    if FLAT & build(np.random.default_rng(1), np.ones(SHAPES[kind], "f4"))[0].keys()
]


@pytest.mark.parametrize("executor", ["native", "torch"])
@pytest.mark.parametrize("network", FLAT_NETWORKS)
def test_factors_may_have_dimensions_of_one_more(network, executor, base, bmerge, tmp_path):
    kind, build = NETWORKS[network]
    roles, _ = build(np.random.default_rng(1), base[f"layers.0.{kind}.weight"])
    longer = {role: a[..., None] if role in FLAT else a for role, a in roles.items()}
    written = []
    for each in (roles, longer):
        _write(tmp_path, f"lora_unet_layers_0_{kind}", each)
        baked = ("merge", "add_difference", "model.safetensors", "--lora", "x.safetensors=0.7")
        resized = ("lora", "resize", "x.safetensors", "--rank", "2")
        for words in ((*baked, "--executor", executor), resized):
            called = bmerge(*words, "-o", "out.safetensors", "--force")
            assert called.status == 0, called.err
            written.append(read_checkpoint(tmp_path / "out.safetensors"))
    for one, other in zip(written[:2], written[2:], strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(np.squeeze(other[key]), np.squeeze(one[key]))


@pytest.mark.parametrize(("role", "kind"), [("diff_b", "conv"), ("b_norm", "norm")])
def test_bias_has_a_change_of_its_own(role, kind, base, bmerge, tmp_path):
    change = np.arange(6, dtype="f4")
    _write(tmp_path, f"lora_unet_layers_0_{kind}", {role: change})
    words = ("model.safetensors", "--lora", "x.safetensors=2", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")
    key = f"layers.0.{kind}.bias"
    np.testing.assert_allclose(merged[key], base[key] + 2 * change, rtol=1e-6)
    assert np.array_equal(merged[f"layers.0.{kind}.weight"], base[f"layers.0.{kind}.weight"])


def test_bias_beside_a_weight_is_changed_too_whatever_stands_first(base, bmerge, tmp_path):
    roles, change = low_rank(np.random.default_rng(1), (6, 8))
    bias = np.arange(6, dtype="f4")
    _write(tmp_path, "lora_unet_layers_0_linear", {"diff_b": bias, **roles})
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")
    for key, added in (("weight", change), ("bias", bias)):
        exact = base[f"layers.0.linear.{key}"] + added
        np.testing.assert_allclose(merged[f"layers.0.linear.{key}"], exact, rtol=1e-5, atol=1e-5)


def test_large_tensors_are_computed_by_rows(base, bmerge, tmp_path, monkeypatch):
    monkeypatch.setattr("bmerge.lora.patch._BLOCK", 40)  # one row of the convolution
    tensors, changes = {}, {}
    for kind in ("linear", "conv"):
        roles, changes[kind] = low_rank(np.random.default_rng(2), SHAPES[kind], alpha=2)
        tensors |= {f"layers_0_{kind}.{role}": array for role, array in roles.items()}
    write_checkpoint(tmp_path / "x.safetensors", tensors)
    words = ("model.safetensors", "--lora", "x.safetensors=0.7", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words, "--executor", "torch").status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")
    for kind, change in changes.items():
        exact = base[f"layers.0.{kind}.weight"] + 0.7 * change
        np.testing.assert_allclose(merged[f"layers.0.{kind}.weight"], exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", ["lora", "loha", "lokr whole", "full"])
def test_change_goes_to_rows_with_halves_swapped(network, tmp_path):
    """As adaLN's scale and shift of SD3, and to a part of the rows."""
    kind, build = NETWORKS[network]
    rng = np.random.default_rng(4)
    roles, change = build(rng, np.zeros(SHAPES[kind], "f4"))
    rows = len(change)
    base = rng.standard_normal((rows + 3, *change.shape[1:])).astype("f4")
    write_checkpoint(tmp_path / "model.safetensors", {"weight": base})
    _write(tmp_path, "layer", roles)
    (module,) = open_lora(tmp_path / "x.safetensors").modules
    stored = open_checkpoint(tmp_path / "model.safetensors").tensors["weight"]
    for first, turn in ((0, "halves swapped"), (2, "halves swapped"), (3, "")):
        place = LayerPlace("weight", (first, first + rows), turn)
        tensor = PatchedTensor(stored, (Change(module, place, weight=0.7),))
        exact = base.astype("f8")
        turned = np.roll(change, rows // 2, axis=0) if turn else change
        exact[first : first + rows] += 0.7 * turned
        found = np.concatenate([block.reshape(-1) for block in float_blocks(tensor)])
        np.testing.assert_allclose(found.reshape(exact.shape), exact, rtol=1e-5, atol=1e-5)
        assert is_streamed(tensor) == (not turn or network != "lokr whole")
        if is_streamed(tensor):
            files = list(dict.fromkeys(files_of(tensor)))
            target = bytearray(4 * base.size)
            _native.decode(files, streamed_input(tensor, files.index), target)
            values = np.frombuffer(target, "f4").reshape(exact.shape)
            np.testing.assert_allclose(values, exact, rtol=1e-5, atol=1e-5)


def test_products_are_added_to_transposed_weights_while_they_are_read(tmp_path):
    """As to the text_projection of OpenCLIP."""
    rng = np.random.default_rng(4)
    roles, change = low_rank(rng, (6, 8))
    base = rng.standard_normal((8, 6)).astype("f4")
    write_checkpoint(tmp_path / "model.safetensors", {"weight": base})
    _write(tmp_path, "layer", roles)
    (module,) = open_lora(tmp_path / "x.safetensors").modules
    stored = open_checkpoint(tmp_path / "model.safetensors").tensors["weight"]
    place = LayerPlace("weight", None, "transposed")
    tensor = PatchedTensor(stored, (Change(module, place, weight=0.7),))
    assert is_streamed(tensor)
    files = list(dict.fromkeys(files_of(tensor)))
    target = bytearray(4 * base.size)
    _native.decode(files, streamed_input(tensor, files.index), target)
    values = np.frombuffer(target, "f4").reshape(base.shape)
    np.testing.assert_allclose(values, base + 0.7 * change.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
@pytest.mark.parametrize("turn", ["transposed", "halves swapped"])
def test_lengths_are_given_as_the_layer_was_trained(turn, axis, tmp_path):
    rng = np.random.default_rng(4)
    trained = rng.standard_normal((6, 10)).astype("f4")
    roles, change = dora(axis)(rng, trained)
    turned = {"transposed": np.transpose, "halves swapped": lambda x: np.roll(x, 3, axis=0)}[turn]
    write_checkpoint(tmp_path / "model.safetensors", {"weight": np.array(turned(trained))})
    _write(tmp_path, "layer", roles)
    (module,) = open_lora(tmp_path / "x.safetensors").modules
    stored = open_checkpoint(tmp_path / "model.safetensors").tensors["weight"]
    tensor = PatchedTensor(stored, (Change(module, LayerPlace("weight", None, turn), weight=0.7),))
    exact = turned(trained + 0.7 * change)
    (found,) = float_blocks(tensor)
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    # A column's length needs both halves, which are computed one after the other.
    assert is_streamed(tensor) == (turn == "transposed" or axis == 0)
    if is_streamed(tensor):
        files, target = list(dict.fromkeys(files_of(tensor))), bytearray(4 * exact.size)
        _native.decode(files, streamed_input(tensor, files.index), target)
        values = np.frombuffer(target, "f4").reshape(exact.shape)
        np.testing.assert_allclose(values, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("band", [8, 30, 1000])
@pytest.mark.parametrize("network", ["boft", "boft of wider blocks", "boft of a convolution"])
def test_rows_that_are_mixed_are_computed_some_columns_at_a_time(
    network, band, tmp_path, monkeypatch
):
    monkeypatch.setattr("bmerge.lora.patch._BLOCK", 20)
    monkeypatch.setattr("bmerge.lora.bands._BLOCK", 40)
    monkeypatch.setattr("bmerge.lora.bands._BAND", band)
    kind, build = NETWORKS[network]
    rng = np.random.default_rng(4)
    base = rng.standard_normal((11, *SHAPES[kind][1:])).astype("f4")
    roles, change = build(rng, base[2:10])
    write_checkpoint(tmp_path / "model.safetensors", {"weight": base})
    _write(tmp_path, "layer", roles)
    (module,) = open_lora(tmp_path / "x.safetensors").modules
    stored = open_checkpoint(tmp_path / "model.safetensors").tensors["weight"]
    change_of_rows = Change(module, LayerPlace("weight", (2, 10)), weight=0.7)
    with (tmp_path / "floats").open("wb") as out:
        write_floats(PatchedTensor(stored, (change_of_rows,)), out)
    found = np.fromfile(tmp_path / "floats", "f4").reshape(base.shape)
    exact = base.astype("f8")
    exact[2:10] += 0.7 * change
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


def test_no_more_than_one_band_of_columns_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr("bmerge.lora.bands._BLOCK", 1 << 12)
    monkeypatch.setattr("bmerge.lora.bands._BAND", 1 << 16)
    base = np.ones((64, 1 << 13), "f4")
    write_checkpoint(tmp_path / "model.safetensors", {"weight": base})
    _write(tmp_path, "layer", {"oft_blocks": np.full((2, 16, 4, 4), 0.1, "f4")})
    (module,) = open_lora(tmp_path / "x.safetensors").modules
    stored = open_checkpoint(tmp_path / "model.safetensors").tensors["weight"]
    tensor = PatchedTensor(stored, (Change(module, LayerPlace("weight", None), weight=1.0),))
    monkeypatch.setattr("bmerge.lora.patch._BLOCK", 1 << 12)
    with (tmp_path / "floats").open("wb") as out:
        tracemalloc.start()
        write_floats(tensor, out)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert 4 << 16 < most < 1.5 * (4 << 16)  # bytes of a band


@pytest.mark.parametrize("network", ["oft", "oft with a rescale", "boft", "glora"])
@pytest.mark.parametrize("turn", ["", "halves swapped"])
def test_change_of_a_weight_is_of_the_rows_that_it_is_for(network, turn, tmp_path):
    """And of the values that are stored, whatever another change of the same rows is."""
    _, build = NETWORKS[network]
    rng = np.random.default_rng(4)
    base = rng.standard_normal((29, 8)).astype("f4")
    write_checkpoint(tmp_path / "model.safetensors", {"weight": base})
    stored = open_checkpoint(tmp_path / "model.safetensors").tensors["weight"]
    place, half = LayerPlace("weight", (3, 27), turn), 12 if turn else 0
    exact, changes = base.astype("f8"), []
    for number, weight in enumerate((0.7, -1.5)):
        roles, change = build(rng, np.roll(base[3:27], half, axis=0))
        _write(tmp_path, "layer", roles, f"{number}.safetensors")
        (module,) = open_lora(tmp_path / f"{number}.safetensors").modules
        changes.append(Change(module, place, weight=weight))
        exact[3:27] += weight * np.roll(change, half, axis=0)
    tensor = PatchedTensor(stored, tuple(changes))
    found = np.concatenate([block.reshape(-1) for block in float_blocks(tensor)])
    np.testing.assert_allclose(found.reshape(exact.shape), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", ["oft", "boft", "glora"])
def test_weights_that_are_stored_transposed_are_turned_as_they_were_trained(network, tmp_path):
    _, build = NETWORKS[network]
    rng = np.random.default_rng(4)
    base = rng.standard_normal((24, 8)).astype("f4")
    write_checkpoint(tmp_path / "model.safetensors", {"weight": np.ascontiguousarray(base.T)})
    stored = open_checkpoint(tmp_path / "model.safetensors").tensors["weight"]
    roles, change = build(rng, base)
    _write(tmp_path, "layer", roles)
    (module,) = open_lora(tmp_path / "x.safetensors").modules
    place = LayerPlace("weight", turn="transposed")
    (found,) = float_blocks(PatchedTensor(stored, (Change(module, place, weight=0.7),)))
    np.testing.assert_allclose(found.T, base + 0.7 * change, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("executor", "value", "message"),
    [
        (
            "torch",
            8e37,
            "'lora_unet_layers_0_linear.oft_blocks' holds numbers too large for a rotation",
        ),
        ("native", 8e37, "'layers.0.linear.weight' holds NaN or infinity in model.safetensors"),
        ("native", np.inf, "'layers.0.linear.weight' holds NaN or infinity in model.safetensors"),
    ],
)
def test_rotation_that_cannot_be_computed_is_an_error(
    executor, value, message, base, bmerge, tmp_path
):
    blocks = np.arange(18, dtype="f4").reshape(2, 3, 3) % 5
    blocks[blocks > 0] *= np.float32(value)
    _write(tmp_path, "lora_unet_layers_0_linear", {"oft_blocks": blocks})
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", executor)
    assert (called.status, message in called.err) == (1, True), called.err
    assert "Warning" not in called.err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("executor", ["native", "torch"])
@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"use_cayley_neumann": False}, {"terms": 0}),
        ({"num_cayley_neumann_terms": 2}, {"terms": 2}),
        ({"num_cayley_neumann_terms": 3}, {"terms": 4}),
        ({"coft": True, "eps": 0.5}, {"bound": 0.5}),
        ({"coft": False, "eps": 0.5, "num_cayley_neumann_terms": 7}, {"terms": 7}),
    ],
    ids=str,
)
def test_how_peft_makes_rotations_stands_beside(config, options, executor, base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    build = oft_of_inputs(2, 4, **options)
    roles, change = build(np.random.default_rng(3), base[key])
    folder = tmp_path / "adapter"
    folder.mkdir()
    _write(folder, "base_model.model.layers.0.linear", roles, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "OFT", **config}))
    words = ("model.safetensors", "--lora", "adapter=0.7", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", executor)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + 0.7 * change, rtol=1e-5, atol=1e-5)


def test_what_is_told_beside_is_not_lost_by_a_resize(base, bmerge, tmp_path):
    roles, _ = oft_of_inputs(2, 4)(np.random.default_rng(3), base["layers.0.linear.weight"])
    folder = tmp_path / "adapter"
    folder.mkdir()
    _write(folder, "base_model.model.layers.0.linear", roles, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "OFT", "coft": true}')
    called = bmerge("lora", "resize", "adapter", "-o", "out.safetensors")
    assert called.status == 1
    assert "'base_model.model.layers.0.linear' is of OFTv2, which has no rank" in called.err
    assert not (tmp_path / "out.safetensors").exists()


def test_parts_of_a_layer_are_rotated_if_they_are_all_of_its_rows(base, bmerge, tmp_path):
    roles, _ = NETWORKS["oft in parts"][1](np.random.default_rng(1), base["layers.0.linear.weight"])
    roles |= {"oft_blocks.2": roles["oft_blocks.0"]}
    _write(tmp_path, "oft_unet_layers_0_linear", roles)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 1
    assert "'oft_unet_layers_0_linear' changes 2 x 8 numbers, and " in called.err


@pytest.mark.parametrize("executor", ["native", "torch"])
@pytest.mark.parametrize("modules", [["conv"], r"layers\.0\.conv", []], ids=str)
def test_ia3_of_a_convolution_is_of_inputs_where_it_is_a_feedforward(
    modules, executor, base, bmerge, tmp_path
):
    """Its outputs' biases are multiplied too: PEFT multiplies what the layer gives."""
    key, bias = "layers.0.conv.weight", "layers.0.conv.bias"
    of_rows = not modules
    roles, change = ia3("ia3_l", of_rows=of_rows)(np.random.default_rng(3), base[key])
    numbers = roles["ia3_l"].reshape(1, -1, 1, 1)
    folder = tmp_path / "adapter"
    folder.mkdir()
    layer = "base_model.model.layers.0.conv"
    _write(folder, layer, {"ia3_l": numbers}, "adapter_model.safetensors")
    config = {"peft_type": "IA3", "feedforward_modules": modules}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    words = ("model.safetensors", "--lora", "adapter=0.7", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", executor)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    np.testing.assert_allclose(merged[key], base[key] + 0.7 * change, rtol=1e-5, atol=1e-5)
    factors = 1 + 0.7 * (numbers.reshape(-1) - 1) if of_rows else 1
    np.testing.assert_allclose(merged[bias], base[bias] * factors, rtol=1e-5, atol=1e-5)


def test_blocks_that_are_rotated_some_at_a_time_have_one_bound(base, bmerge, tmp_path, monkeypatch):
    monkeypatch.setattr("bmerge.lora.reparametrised._BATCH", 1)
    key = "layers.0.conv.weight"
    roles, change = oft(3, 0.1)(np.random.default_rng(1), base[key])
    _write(tmp_path, "lora_unet_layers_0_conv", roles)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", "torch")
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    np.testing.assert_allclose(merged[key], base[key] + change, rtol=1e-5, atol=1e-5)


def test_several_loras_are_summed_whatever_their_order(base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    changes = []
    for number, name in enumerate("xyz"):
        kind, build = NETWORKS[("lora", "dora of rows", "loha")[number]]
        roles, change = build(np.random.default_rng(number), base[key])
        _write(tmp_path, f"lora_unet_layers_0_{kind}", roles, f"{name}.safetensors")
        changes.append(change)
    weights = (0.5, -0.3, 1.25)
    named = [(f"{n}.safetensors={w}") for n, w in zip("xyz", weights, strict=True)]
    exact = base[key].astype("f8") + sum(
        weight * change for weight, change in zip(weights, changes, strict=True)
    )
    for order, out in ((named, "one.safetensors"), (named[::-1], "two.safetensors")):
        words = [word for lora in order for word in ("--lora", lora)]
        called = bmerge("merge", "add_difference", "model.safetensors", *words, "-o", out)
        assert called.status == 0, called.err
        np.testing.assert_allclose(
            read_checkpoint(tmp_path / out)[key], exact, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize("executor", ["native", "torch"])
def test_result_is_rounded_once(dtype, executor, base, bmerge, tmp_path):
    key = "layers.0.conv.weight"
    write_checkpoint(tmp_path / "model.safetensors", base, dtype=dtype)
    stored = read_checkpoint(tmp_path / "model.safetensors")[key].astype("f8")
    roles, change = low_rank(np.random.default_rng(3), stored.shape, alpha=0.01)
    _write(tmp_path, "lora_unet_layers_0_conv", roles)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", executor)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")[key].astype("f8")
    bits = {"F16": 11, "BF16": 8}[dtype]
    exact = stored + change
    assert np.all(np.abs(merged - exact) <= np.abs(exact) * 2.0**-bits * 1.01 + 1e-7)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_factors_may_be_of_any_float_dtype(dtype, base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    roles, _ = low_rank(np.random.default_rng(3), (6, 8), alpha=2)
    file = _write(tmp_path, "lora_unet_layers_0_linear", roles, dtype=dict.fromkeys(
        (f"lora_unet_layers_0_linear.{role}" for role in roles), dtype))  # fmt: skip
    stored = {k.partition(".")[2]: a.astype("f8") for k, a in read_checkpoint(file).items()}
    change = stored["lora_up.weight"] @ stored["lora_down.weight"] * stored["alpha"] / 3
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + change, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ending", ["", ".weight", ".default.weight"])
def test_factors_may_be_bare_parameters(ending, base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    names = (f"lora_B{ending}", f"lora_A{ending}")
    roles, change = low_rank(np.random.default_rng(3), (6, 8), names=names)
    _write(tmp_path, "diffusion_model.layers.0.linear", roles)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + change, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("network", "executor"), [("oft", "native"), ("glora", "torch")])
def test_networks_are_known_without_a_word_of_them_in_the_names(
    network, executor, base, bmerge, tmp_path
):
    key = "layers.0.linear.weight"
    roles, change = NETWORKS[network][1](np.random.default_rng(3), base[key])
    _write(tmp_path, "diffusion_model.layers.0.linear", roles)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", executor)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + change, rtol=1e-5, atol=1e-5)
    named = "GLoRA" if network == "glora" else "OFT"
    assert f"networks      {named}" in bmerge("inspect", "x.safetensors").out
    models = ("model.safetensors", "x.safetensors")
    called = bmerge("merge", "weighted_sum", *models, "-o", "other.safetensors")
    assert "x.safetensors is a LoRA, not a model" in called.err


def test_alpha_of_peft_stands_beside_the_file(base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    names = ("lora_B.weight", "lora_A.weight")
    roles, change = low_rank(np.random.default_rng(3), (6, 8), names=names)
    folder = tmp_path / "adapter"
    folder.mkdir()
    _write(folder, "base_model.model.layers.0.linear", roles, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"lora_alpha": 12, "r": 3, "use_rslora": true}')
    words = ("model.safetensors", "--lora", "adapter=0.5", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    exact = base[key] + 0.5 * 12 / 3**0.5 * change
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, exact, rtol=1e-5, atol=1e-5)


def test_alpha_of_diffusers_stands_in_the_metadata(base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    names = ("lora_B.weight", "lora_A.weight")
    roles, change = low_rank(np.random.default_rng(3), (6, 8), names=names)
    config = '{"unet.lora_alpha": 6, "unet.alpha_pattern": {"0.linear": 9}, "unet.r": 3}'
    metadata = {"lora_adapter_metadata": config}
    _write(tmp_path, "unet.layers.0.linear", roles, metadata=metadata)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + 9 / 3 * change, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "scale"), [("loha", 5 / 2), ("lokr with one product", 5 / 3), ("lokr whole", 5 / 4)]
)
@pytest.mark.parametrize("pattern", [False, True], ids=["for all", "of its own"])
def test_alpha_of_loha_and_lokr_by_peft_stands_beside(
    network, scale, pattern, base, bmerge, tmp_path
):
    """As its LoHaConfig and LoKrConfig are saved; the rank is told where no factor has it."""
    key = "layers.0.linear.weight"
    roles, change = NETWORKS[network][1](np.random.default_rng(3), base[key])
    given = {"loha": 0.5 / 2, "lokr with one product": 5 / 3}.get(network, 1.0)
    del roles["alpha"]
    config = {"peft_type": "LOHA", "alpha": 5, "r": 4}
    if pattern:
        own = {r"layers\.\d\.linear": 5, "other": 3}
        config |= {"alpha": 2, "alpha_pattern": own, "r": 9, "rank_pattern": {"0.linear": 4}}
    folder = tmp_path / "adapter"
    folder.mkdir()
    _write(folder, "base_model.model.layers.0.linear", roles, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    words = ("model.safetensors", "--lora", "adapter", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + change / given * scale, rtol=1e-5, atol=1e-5)


def test_embedding_of_peft(base, bmerge, tmp_path):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 6)).astype("f4"), rng.normal(size=(8, 2)).astype("f4")
    roles = {"lora_embedding_A": a, "lora_embedding_B": b}
    _write(tmp_path, "base_model.model.layers.0.linear", roles)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    key = "layers.0.linear.weight"
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + (b @ a).T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "square"])
@pytest.mark.parametrize("where", ["beside", "metadata"])
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_weights_that_are_stored_transposed_get_transposed_changes(
    kind, where, dora, base, bmerge, tmp_path
):
    """The Conv1D of GPT-2: PEFT's delta is (B @ A).T there, and its lengths are of columns."""
    key = f"layers.0.{kind}.weight"
    names = ("lora_B.weight", "lora_A.weight")
    trained = base[key].T.astype("f8")
    roles, change = low_rank(np.random.default_rng(3), trained.shape, names=names)
    change *= 6 / 3
    if dora:
        lengths = np.arange(1, len(trained) + 1, dtype="f4")
        roles["lora_magnitude_vector"] = lengths
        after = trained + change
        norms = np.linalg.norm(after, axis=1, keepdims=True)
        change = lengths[:, None] * after / norms - trained
    config = {"lora_alpha": 6, "fan_in_fan_out": True, "r": 3}
    folder = tmp_path / "adapter"
    folder.mkdir()
    layer = f"base_model.model.layers.0.{kind}"
    if where == "beside":
        _write(folder, layer, roles, "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(config))
    else:
        metadata = {"lora_adapter_metadata": json.dumps(config)}
        _write(folder, layer, roles, "adapter_model.safetensors", metadata=metadata)
    words = ("model.safetensors", "--lora", "adapter=0.5", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + 0.5 * change.T, rtol=1e-5, atol=1e-5)


def test_layers_that_are_not_stored_transposed_are_changed_as_they_are(base, bmerge, tmp_path):
    """PEFT writes one word for all layers; GPT-2's head is an ordinary linear layer."""
    roles, change = low_rank(
        np.random.default_rng(3), (6, 8), names=("lora_B.weight", "lora_A.weight")
    )
    metadata = {"lora_adapter_metadata": '{"lora_alpha": 3, "fan_in_fan_out": true}'}
    _write(tmp_path, "base_model.model.layers.0.linear", roles, metadata=metadata)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    key = "layers.0.linear.weight"
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + change, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("command", ["resize", "merge"])
def test_files_made_of_such_loras_say_so_too(command, base, bmerge, tmp_path):
    key = "layers.0.square.weight"
    names = ("lora_B.weight", "lora_A.weight")
    roles, change = low_rank(np.random.default_rng(3), (6, 6), names=names)
    metadata = {"lora_adapter_metadata": '{"lora_alpha": 6, "fan_in_fan_out": true}'}
    _write(tmp_path, "base_model.model.layers.0.square", roles, metadata=metadata)
    words = ("--rank", "3") if command == "resize" else ()
    made = ("-o", "y.safetensors", "--dtype", "fp32")
    called = bmerge("lora", command, "x.safetensors", *words, *made)
    assert called.status == 0, called.err
    words = ("model.safetensors", "--lora", "y.safetensors", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + 2 * change.T, rtol=1e-4, atol=1e-4)


def test_loras_that_are_stored_both_ways_are_not_merged(base, bmerge, tmp_path):
    names = ("lora_B.weight", "lora_A.weight")
    roles, _ = low_rank(np.random.default_rng(3), (6, 6), names=names)
    for name, said in (("x", "true"), ("y", "false")):
        metadata = {"lora_adapter_metadata": f'{{"lora_alpha": 6, "fan_in_fan_out": {said}}}'}
        _write(tmp_path, "a.square", roles, f"{name}.safetensors", metadata=metadata)
    called = bmerge("lora", "merge", "x.safetensors", "y.safetensors", "-o", "z.safetensors")
    assert called.status == 1
    assert "stored transposed, others are not" in called.err
    assert not (tmp_path / "z.safetensors").exists()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["I64", "I32", "I16", "I8", "U8", "F64", "F32", "F16", "BF16"])
def test_alpha_may_be_a_number_of_any_dtype(dtype, shape, base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    roles, change = low_rank(np.random.default_rng(3), (6, 8))
    kinds = {"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1"}
    alpha = 200 if dtype == "U8" else -12  # whose highest bit is a sign, or is none
    roles["alpha"] = np.full(shape, alpha, kinds.get(dtype, "f4"))
    layer = "lora_unet_layers_0_linear"
    dtypes = {} if dtype in kinds else {"dtype": {f"{layer}.alpha": dtype}}
    file = _write(tmp_path, layer, roles, **dtypes)
    assert open_checkpoint(file).tensors[f"{layer}.alpha"].dtype == dtype
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + alpha / 3 * change, rtol=1e-5, atol=1e-4)


def _ones(*shape, dtype="f4"):
    return np.ones(shape, dtype)


PAIR = {"lora_up.weight": _ones(6, 2), "lora_down.weight": _ones(2, 8)}


def _glora(**others):
    """Return a GLoRA of the linear layer, some of whose factors are of other shapes."""
    shapes = {"a1": (8, 2), "a2": (2, 8), "b1": (6, 2), "b2": (2, 8), **others}
    return {f"{name}.weight": _ones(*shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"lora_up.weight": _ones(6, 0), "lora_down.weight": _ones(0, 8)}, "has a rank of 0: up"),
        (
            {f"hada_w{n}_a": _ones(6, 0) for n in (1, 2)}
            | {f"hada_w{n}_b": _ones(0, 8) for n in (1, 2)},
            "has a rank of 0: hada_w1_a",
        ),
        (
            {"lokr_w1": _ones(2, 2), "lokr_w2_a": _ones(3, 0), "lokr_w2_b": _ones(0, 4)},
            "has a rank of 0: lokr_w2_a",
        ),
        ({"lora_up.weight": _ones(0, 2), "lora_down.weight": _ones(2, 8)}, "holds no numbers"),
        ({"diff": _ones(6, 0)}, "has a diff of shape [6, 0], which holds no numbers"),
        ({**PAIR, "lora_up.weight": _ones(6, 2, 1, 1, 1, 1)}, "up of shape [6, 2, 1, 1, 1, 1]"),
        ({**PAIR, "lora_down.weight": _ones(2, 8, 1, 1, 1, 1)}, "which has too many dimensions"),
        ({**PAIR, "lora_up.weight": _ones(6, 2, 3, 3)}, "which has too many dimensions"),
        (
            {f"hada_w{n}_{s}": _ones(2, 6, 8) for n in (1, 2) for s in "ab"},
            "hada_w1_a of shape [2, 6, 8], which has too many",
        ),
        ({"oft_blocks": _ones(6, 6)}, "oft_blocks of shape [6, 6], which are not square blocks"),
        ({"oft_blocks": _ones(2, 3, 2)}, "of shape [2, 3, 2], which are not square blocks"),
        ({"oft_blocks": _ones(1, 1, 2, 3, 3)}, "which are not square blocks"),
        ({"oft_blocks": _ones(1, 2, 3, 3)}, "which are not the stages of a butterfly"),
        ({"oft_blocks": _ones(2, 3, 2, 2)}, "which are not the stages of a butterfly"),
        ({"oft_blocks": _ones(2, 0, 0)}, "oft_blocks of shape [2, 0, 0], which holds no numbers"),
        ({"oft_blocks": _ones(0, 3, 2, 2)}, "which holds no numbers"),
        ({"oft_blocks": _ones(2, 3, 3), "rescale": _ones(5, 1)}, "rescale of shape [5, 1] for 6"),
        ({"oft_blocks": _ones(2, 3, 3), "alpha": _ones(6)}, "which is not one number"),
        ({"oft_blocks": _ones(2, 3, 3, dtype="i8")}, "oft_blocks of the dtype I64, not of floats"),
        ({"a1.weight": _ones(8, 2), "a2.weight": _ones(2, 8)}, "has no b1"),
        (_glora(a1=(8,)), "has a a1 of shape [8], which is not a matrix"),
        (_glora(a1=(8, 3)), "do not fit each other: a1 [8, 3], a2 [2, 8]"),
        (_glora(b2=(3, 8)), "do not fit each other: b1 [6, 2], b2 [3, 8]"),
        (_glora(a1=(8, 0), a2=(0, 8)), "has a rank of 0: a1"),
        (_glora(a1=(4, 2)), "has factors of different inputs: a1 [4, 2], a2 [2, 8], b2 [2, 8]"),
        (_glora(a1=(4, 2), a2=(2, 4)), "has factors of different inputs: a1 [4, 2], a2 [2, 4]"),
        (_glora(a1=(8, 2, 3, 3)), "has a1 of shape [8, 2, 3, 3], which has too many dimensions"),
        (_glora(b1=(6, 2, 3, 3)), "has b1 of shape [6, 2, 3, 3], which has too many dimensions"),
        ({**PAIR, "alpha": _ones(2)}, "has alpha of shape [2], which is not one number"),
        ({**PAIR, "alpha": _ones(0)}, "has alpha of shape [0], which is not one number"),
        ({**PAIR, "alpha": _ones(dtype="?")}, "has alpha of the dtype BOOL, not of floats"),
        ({**PAIR, "lora_up.weight": _ones(6, 2, dtype="i8")}, "up of the dtype I64, not of floats"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["merge", "resize"])
def test_factors_that_mean_nothing_are_refused_before_anything_is_written(
    command, roles, message, base, bmerge, tmp_path
):
    _write(tmp_path, "lora_unet_layers_0_linear", roles)
    out = ("-o", "out.safetensors")
    if command == "merge":
        words = ("merge", "add_difference", "model.safetensors", "--lora", "x.safetensors", *out)
    else:
        words = ("lora", "resize", "x.safetensors", *out)
    called = bmerge(*words)
    assert called.status == 1
    assert message in called.err
    assert "x.safetensors: 'lora_unet_layers_0_linear' has " in called.err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("alpha", [np.nan, np.inf])
def test_alpha_that_is_no_number_is_an_error(alpha, base, bmerge, tmp_path):
    _write(tmp_path, "lora_unet_layers_0_linear", {**PAIR, "alpha": np.float32(alpha)})
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 1
    assert f"'lora_unet_layers_0_linear.alpha' is {alpha}" in called.err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"lora_alpha": "x"}', "lora_alpha must be a number, not 'x'"),
        ('{"lora_alpha": 1, "alpha_pattern": {"linear": []}}', "alpha_pattern must be a number"),
        ("{", "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
    ],
)
def test_mistakes_in_a_configuration_are_named(config, message, base, bmerge, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    _write(folder, "base_model.model.layers.0.linear", PAIR, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes(
        config if isinstance(config, bytes) else config.encode()
    )
    words = ("model.safetensors", "--lora", "adapter", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 1
    assert message in called.err
    assert "adapter_config.json" in called.err
    assert called.err.count("\n") == 1


def test_factors_of_two_loras_in_one_file_are_refused_unless_they_are_equal(base, bmerge, tmp_path):
    key = "layers.0.linear.weight"
    roles, change = low_rank(np.random.default_rng(3), (6, 8), alpha=3)
    peft = {f"lora_{letter}.weight": roles[f"lora_{side}.weight"]
            for letter, side in (("B", "up"), ("A", "down"))}  # fmt: skip
    words = ("merge", "add_difference", "model.safetensors", "--lora", "x.safetensors")
    _write(tmp_path, "lora_unet_layers_0_linear", {**roles, **peft})
    assert bmerge(*words, "-o", "out.safetensors").status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, base[key] + change, rtol=1e-5, atol=1e-5)
    _write(tmp_path, "lora_unet_layers_0_linear", {**roles, "lora_B.weight": _ones(6, 3)})
    called = bmerge(*words, "-o", "other.safetensors")
    assert called.status == 1
    assert "lora_up.weight' and 'lora_unet_layers_0_linear.lora_B.weight' are both up" in called.err
    assert not (tmp_path / "other.safetensors").exists()


def test_a_layer_under_the_names_of_two_programs_is_refused(base, bmerge, tmp_path):
    roles, _ = low_rank(np.random.default_rng(3), (6, 8), alpha=3)
    names = ("lora_unet_layers_0_linear", "layers.0.linear")
    tensors = {f"{name}.{role}": array for name in names for role, array in roles.items()}
    write_checkpoint(tmp_path / "x.safetensors", tensors)
    words = ("add_difference", "model.safetensors", "--lora", "x.safetensors")
    called = bmerge("merge", *words, "-o", "out.safetensors")
    assert called.status == 1
    assert "error: x.safetensors: " in called.err
    assert " are one layer\n" in called.err
    assert not (tmp_path / "out.safetensors").exists()
