"""Merges of quantised models, which are floats to every method."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.expr import trace
from bmerge.formats import CodedTensor, decoded, open_checkpoint, values_of
from bmerge.pipeline import merge_to_file
from bmerge.plan import Jobs, encoded
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint
from coded import LAYERS, by_blocks, f32, int8, raw_tensors, scaled_fp8, weight_in
from merges import names_in, plan_of
from quantised import write_layout

EXECUTORS = pytest.mark.parametrize(
    "executor", [NativeExecutor(threads=2), TorchExecutor()], ids=["native", "torch"]
)
MARKED = "fp8 as until 2025"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model with a layer of every format, a plain one, and the weights of both in float32."""
    folder, rng = tmp_path_factory.mktemp("quantised"), np.random.default_rng(3)
    layout, contents, first, second = [], {}, {}, {}
    for number, (what, make) in enumerate(LAYERS.items()):
        layer = make(rng)
        if what == MARKED:  # whose marker is for all of a model
            continue
        name = f"blocks.{number}.proj"
        layout += layer.layout(name)
        contents |= layer.contents(name)
        first[f"{name}.weight"] = layer.values
        if "bias" in layer.tensors:
            first[f"{name}.bias"] = np.zeros(len(layer.values), "f4")
    for key, values in first.items():
        second[key] = rng.standard_normal(values.shape).astype("f4")
    write_layout(folder / "a.safetensors", layout, contents=contents)
    write_checkpoint(folder / "b.safetensors", second, dtype="F32")
    return folder / "a.safetensors", folder / "b.safetensors", first, second


def near(values, exact):
    """Assert equality to the bit, or nearly, where sums were in another order."""
    if exact.dtype == np.float64:
        assert np.abs(values - exact).max() <= 4e-7 * np.abs(exact).max()
    else:
        assert values.tobytes() == exact.tobytes()


@EXECUTORS
def test_every_format_is_merged_as_the_floats_that_it_stands_for(models, executor, tmp_path):
    a, b, first, second = models
    plan = plan_of([a, b], 0.3, dtype="F32", quantise="none")
    report = merge_to_file(plan, tmp_path / "m.safetensors", executor=executor)
    assert report.execution.nonfinite == ()
    merged = load_file(tmp_path / "m.safetensors")
    assert merged.keys() == first.keys()
    low, high = np.float32(1 - 0.3), np.float32(0.3)
    for key, values in first.items():
        near(merged[key], values * low + second[key] * high)


@EXECUTORS
def test_a_layer_that_is_kept_is_rounded_to_what_it_stands_for(models, executor, tmp_path):
    a, b, first, _ = models
    plan = plan_of([a, b], 0.0, quantise="none")
    merge_to_file(plan, tmp_path / "m.safetensors", executor=executor)
    kept = read_checkpoint(tmp_path / "m.safetensors")
    for key, values in first.items():
        if values.dtype == np.float32:
            bits = values.view(np.uint32).astype(np.uint64)
            rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32)
            expected = rounded.view(np.float32)
            if plan_dtype(plan, key) == "F16":
                expected = values.astype(np.float16)
            assert np.array_equal(np.asarray(kept[key], np.float32), expected.astype(np.float32)), (
                key
            )


def plan_dtype(plan, key):
    return next(output.dtype for output in plan.outputs if output.key == key)


def test_inputs_without_quantised_weights_are_as_before(models, tmp_path):
    _, b, _, second = models
    plan = plan_of([b, b], 0.5)
    assert all(output.dtype == "F32" for output in plan.outputs)
    merge_to_file(replace(plan), tmp_path / "m.safetensors", executor=NativeExecutor())
    merged = load_file(tmp_path / "m.safetensors")
    assert all(np.array_equal(merged[key], values) for key, values in second.items())


WRITTEN = [what for what in LAYERS if what not in {
    MARKED, "nf4", "nested fp4", "LLM.int8", "ConvRot of 4 bits", "nvfp4 with factors",
} and "TQ" not in what and "AWQ" not in what]  # fmt: skip


def assert_within_a_step(path, exact, names):
    """Assert that weights are those expected, by a reader of the tests' own, to half a step."""
    tensors, _ = raw_tensors(path)
    for name in names:
        values, half = weight_in(tensors, name, exact[f"{name}.weight"].shape)
        wrong = np.abs(values - exact[f"{name}.weight"])
        assert (wrong <= half * 1.001 + 1e-12).all(), (name, (wrong / (half + 1e-30)).max())


@EXECUTORS
def test_a_merge_is_written_as_the_first_model_is(models, executor, tmp_path):
    a, b, first, second = models
    output = tmp_path / "m.safetensors"
    merge_to_file(plan_of([a, b], 0.3), output, executor=executor)
    before, _ = raw_tensors(a)
    after, _ = raw_tensors(output)
    exact = {key: 0.7 * first[key].astype("f8") + 0.3 * second[key] for key in first}
    names = [f"blocks.{list(LAYERS).index(what)}.proj" for what in WRITTEN]
    assert_within_a_step(output, exact, names)
    for name in names:  # as they were, but that input scales do not hold any more
        old = {key for key in before if key.startswith(f"{name}.")}
        assert {key for key in after if key.startswith(f"{name}.")} == old
        assert all(after[key][0] == before[key][0] for key in old)
        assert all(after[key][1].shape == before[key][1].shape for key in old)
    others = set(first) - {f"{name}.weight" for name in names}
    assert {after[key][0] for key in others} == {"BF16", "F16", "F32"}
    for executor_, threads in (("native", 1), ("native", 3)):
        again = tmp_path / f"{executor_}{threads}.safetensors"
        merge_to_file(plan_of([a, b], 0.3), again, executor=NativeExecutor(threads=threads))
        assert raw_tensors(again)[0].keys() == after.keys()
        assert again.read_bytes() == output.read_bytes()


def test_rows_that_share_a_scale_do_so_whatever_their_length(tmp_path):
    rng = np.random.default_rng(5)
    made = {
        "sixteen": scaled_fp8(rng, (40, 16)), "thirty two": scaled_fp8(rng, (64, 32)),
        "e5m2": scaled_fp8(rng, (64, 32), "F8_E5M2"), "int8": int8(rng, (64, 32), ()),
        "blocks": by_blocks(rng, (96, 128), block=32), "small": by_blocks(rng, (48, 32), block=16),
    }  # fmt: skip
    layout, contents = [], {}
    for name, layer in made.items():
        layout += layer.layout(name)
        contents |= layer.contents(name)
    a = write_layout(tmp_path / "a.safetensors", layout, contents=contents)
    second = {
        f"{name}.weight": rng.standard_normal(layer.values.shape).astype("f4")
        for name, layer in made.items()
    }
    b = write_checkpoint(tmp_path / "b.safetensors", second, dtype="F32")
    output = tmp_path / "m.safetensors"
    merge_to_file(plan_of([a, b], 0.3), output, executor=NativeExecutor())
    exact = {
        f"{name}.weight": 0.7 * layer.values.astype("f8") + 0.3 * second[f"{name}.weight"]
        for name, layer in made.items()
    }
    assert_within_a_step(output, exact, made)


def test_weights_that_do_not_change_are_copied_with_all_that_belongs_to_them(tmp_path):
    rng = np.random.default_rng(4)
    made = {"x": scaled_fp8(rng, role="scale_weight", marked=True), "y": scaled_fp8(rng)}
    del made["y"].tensors["weight_scale"]
    made["y"].tensors["scale_weight"] = f32(0.5)
    made["x"].tensors["scale_input"] = f32(0.25)
    layout, contents = [], {}
    for name, layer in made.items():
        layout += layer.layout(name)
        contents |= layer.contents(name)
    a = write_layout(tmp_path / "a.safetensors", layout, contents=contents)
    second = {f"{name}.weight": rng.standard_normal((33, 40)) for name in made}
    write_checkpoint(tmp_path / "b.safetensors", second, dtype="F32")
    output = tmp_path / "m.safetensors"
    plan = plan_of([a, tmp_path / "b.safetensors"], 0.0)
    report = merge_to_file(plan, output, executor=NativeExecutor())
    before, after = raw_tensors(a)[0], raw_tensors(output)[0]
    assert after.keys() == before.keys()
    for key, (dtype, array) in before.items():
        assert (after[key][0], after[key][1].tobytes()) == (dtype, array.tobytes()), key
    assert report.execution.bytes_written == 0
    merge_to_file(plan_of([a, tmp_path / "b.safetensors"], 0.5), output, executor=NativeExecutor())
    changed = raw_tensors(output)[0]
    assert set(before) - set(changed) == {"x.scale_input"}
    assert changed["scaled_fp8"][1].tobytes() == before["scaled_fp8"][1].tobytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two models of plain weights: large ones of layers, one with odd extents, and others."""
    folder, rng = tmp_path_factory.mktemp("plain"), np.random.default_rng(6)
    start = "model.diffusion_model.layers"
    shapes = {
        f"{start}.0.attention.qkv.weight": (192, 64), f"{start}.1.attention.qkv.weight": (130, 72),
        f"{start}.0.attention_norm1.weight": (64,), f"{start}.1.feed_forward.w1.weight": (256, 640),
        "model.diffusion_model.x_embedder.weight": (64, 64),
    }  # fmt: skip
    paths, values = [], []
    for name in "ab":
        tensors = {key: rng.standard_normal(shape) for key, shape in shapes.items()}
        tensors[f"{start}.1.attention.qkv.weight"][3] = 0
        write_checkpoint(folder / f"{name}.safetensors", tensors, dtype="F32")
        paths.append(folder / f"{name}.safetensors")
        values.append({key: array.astype("f4").astype("f8") for key, array in tensors.items()})
    exact = {key: 0.7 * array + 0.3 * values[1][key] for key, array in values[0].items()}
    large = [key for key, shape in shapes.items() if "layers" in key and len(shape) == 2]
    return paths, exact, [key.removesuffix(".weight") for key in large]


@pytest.mark.parametrize("name", ["fp8_scaled", "mxfp8", "nvfp4", "int8"])
def test_layers_of_a_plain_model_are_quantised_on_request(plain, tmp_path, name):
    paths, exact, layers = plain
    files = []
    for threads in (1, 3):
        files.append(tmp_path / f"{threads}.safetensors")
        plan = plan_of(paths, 0.3, quantise=name)
        merge_to_file(plan, files[-1], executor=NativeExecutor(threads=threads))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert_within_a_step(files[0], exact, layers)
    tensors, _ = raw_tensors(files[0])
    said = {"fp8_scaled": "float8_e4m3fn", "int8": "int8_tensorwise"}.get(name, name)
    for layer in layers:
        told = json.loads(bytes(tensors[f"{layer}.comfy_quant"][1]))
        padded = (
            {"orig_shape": [130, 72]} if name in {"mxfp8", "nvfp4"} and "1.att" in layer else {}
        )
        assert told == {"format": said, **padded}
    assert {
        key for key, (dtype, _) in tensors.items() if dtype == "F32" and "scale" not in key
    } == (set(exact) - {f"{layer}.weight" for layer in layers})
    again = decoded(open_checkpoint(files[0]))
    assert {type(again.tensors[f"{layer}.weight"]) for layer in layers} == {CodedTensor}
    ragged = f"{layers[1]}.weight"
    multiple = {"mxfp8": 32, "nvfp4": 16}.get(name, 1)
    expected = tuple(-(-size // multiple) * multiple for size in (130, 72))
    stored = tensors[ragged][1].shape
    assert (stored[0], stored[1] * (2 if name == "nvfp4" else 1)) == expected
    assert again.tensors[ragged].shape == (130, 72)
    values = np.frombuffer(values_of(again.tensors[ragged]), "<f4").reshape(130, 72)
    near(values, weight_in(tensors, layers[1], (130, 72))[0])


@pytest.mark.parametrize("name", ["fp8_scaled", "nvfp4", "mxfp8", "int8", "q8_0", "q4_k"])
def test_a_format_that_no_weight_would_have_is_refused(bmerge, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    small = {
        "model.diffusion_model.input_blocks.1.1.proj_in.weight": np.ones((24, 24), "f4"),
        "first_stage_model.decoder.up.1.proj.weight": np.ones((256, 256), "f4"),
    }
    if name.startswith("q"):
        del small["first_stage_model.decoder.up.1.proj.weight"]
    write_checkpoint(tmp_path / "small.safetensors", small, dtype="F16")
    out = "out.gguf" if name.startswith("q") else "out.safetensors"
    called = bmerge("convert", "small.safetensors", "--quantise", name, "-o", out)
    assert called.status == 1
    assert f"error: no weight of small.safetensors would be written in {name}\n" in called.err
    assert names_in(tmp_path) == ["small.safetensors"]


def test_layers_of_a_t5_are_quantised_and_of_a_clip_are_not(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    t5 = {
        "shared.weight": np.ones((80, 64), "f4"),
        "encoder.block.0.layer.0.SelfAttention.q.weight": np.ones((64, 64), "f4"),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": np.ones((32, 64)),
        "encoder.block.0.layer.0.layer_norm.weight": np.ones(64, "f4"),
        "encoder.block.0.layer.1.DenseReluDense.wo.weight": np.ones((64, 128), "f4"),
    }
    clip = {
        "text_model.embeddings.position_embedding.weight": np.ones((77, 64), "f4"),
        "text_model.encoder.layers.0.self_attn.q_proj.weight": np.ones((64, 64), "f4"),
    }
    write_checkpoint(tmp_path / "t5.safetensors", t5, dtype="F16")
    write_checkpoint(tmp_path / "clip.safetensors", clip, dtype="F16")
    asked = ("--quantise", "fp8_scaled", "-o")
    assert bmerge("convert", "t5.safetensors", *asked, "t5-fp8.safetensors").status == 0
    written, _ = raw_tensors(tmp_path / "t5-fp8.safetensors")
    coded = {key for key, (dtype, _) in written.items() if dtype == "F8_E4M3"}
    assert coded == {key for key in t5 if key.endswith(("q.weight", "wo.weight"))}
    for key in coded:
        told = bytes(written[key.removesuffix("weight") + "comfy_quant"][1])
        assert json.loads(told) == {"format": "float8_e4m3fn"}
    called = bmerge("convert", "clip.safetensors", *asked, "clip-fp8.safetensors")
    assert (called.status, names_in(tmp_path).count("clip-fp8.safetensors")) == (1, 0)


def test_a_zero_weight_is_quantised(tmp_path):
    key = "model.diffusion_model.layers.0.attention.qkv.weight"
    write_checkpoint(tmp_path / "a.safetensors", {key: np.zeros((64, 64))}, dtype="F32")
    for name in ("fp8_scaled", "mxfp8", "nvfp4", "int8"):
        plan = plan_of([tmp_path / "a.safetensors"] * 2, 0.3, quantise=name)
        merge_to_file(plan, tmp_path / "m.safetensors", executor=NativeExecutor())
        tensor = decoded(open_checkpoint(tmp_path / "m.safetensors")).tensors[key]
        assert np.frombuffer(values_of(tensor), "<f4").tolist() == [0.0] * 4096


def test_a_weight_that_is_computed_of_the_first_alone_is_not_copied(models):
    a, b, *_ = models
    plan = plan_of([a, b], 0.0)
    negated = trace(lambda x: -x, 1, ())
    jobs = [replace(job, graph=negated) if job.base else job for job in plan.merges]
    outputs = [out for out in plan.outputs if out.key in {job.key for job in jobs}]
    changed = encoded(replace(plan, jobs=Jobs.of(jobs), outputs=outputs))
    assert any(job.encoding for job in changed.merges)
    assert not changed.copies
    assert encoded(plan).copies


@pytest.mark.parametrize("name", ["mxfp8", "nvfp4"])
def test_padding_goes_by_a_model_that_has_none(bmerge, plain, tmp_path, name):
    (a, b), _, layers = plain
    padded, out = tmp_path / "a.safetensors", tmp_path / "m.safetensors"
    assert bmerge("convert", a, "--quantise", name, "-o", padded).status == 0
    told = b', "orig_shape": [130, 72]'  # as no other program says it
    padded.write_bytes(padded.read_bytes().replace(told, b" " * len(told)))
    there, second = raw_tensors(padded)[0], raw_tensors(b)[0]
    whole = {key: array.astype("f8") for key, (_, array) in second.items()}
    decoded_there = {
        f"{layer}.weight": weight_in(there, layer, whole[f"{layer}.weight"].shape)[0]
        for layer in layers
    }
    mixed = {key: (whole[key] + array) / 2 for key, array in decoded_there.items()}
    called = bmerge("merge", "weighted_sum", b, padded, "--alpha", 0.5, "-o", out)
    assert called.status == 0, called.err
    found, _ = raw_tensors(out)
    for key, array in mixed.items():
        assert found[key][1].shape == array.shape
        assert np.abs(found[key][1] - array).max() < 1e-6
    called = bmerge("merge", "weighted_sum", padded, b, "--alpha", 0.5, "--force", "-o", out)
    assert called.status == 0, called.err
    assert_within_a_step(out, mixed, layers)
    shapes = {key: array.shape for key, (_, array) in there.items()}
    assert {key: array.shape for key, (_, array) in raw_tensors(out)[0].items()} == shapes
