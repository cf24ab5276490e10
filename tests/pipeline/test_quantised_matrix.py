"""Formats of weights × formats × methods × what is written, against float64 and readers of our own.

Each layer of each model is of a format drawn by chance, as another program wrote it, padding
included; the output is read by what :mod:`coded` and :mod:`gguf_files` have, and by nothing of
bmerge.
"""

from __future__ import annotations

import json
import random
from functools import partial

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.dtypes import BITS, SIZES
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint, read_bytes
from bmerge.pipeline import Merger, merge_to_file
from bmerge.recipe import BlockWeights
from bmerge.testing.checkpoints import decode, write_checkpoint
from bmerge_plugins.methods.weighted_sum import weighted_sum
from coded import (
    awq,
    by_blocks,
    crop,
    four_bits,
    gptq,
    int8,
    llm_int8,
    mxfp8,
    nvfp4,
    raw_tensors,
    scaled_fp8,
    w4a4,
    weight_in,
)
from gguf_files import BLOCKS, F32, block_values, gguf, read
from loras import NETWORKS, low_rank
from merges import recipe_of
from oracle import METHODS as FIRST
from oracle import terms
from oracles import oracle
from quantised import write_layout

START = "model.diffusion_model."
LAYER = START + "layers.{}.attention.qkv"
SHAPES = {LAYER.format(n): (64, 256) for n in range(3)} | {LAYER.format(3): (72, 264)}
RAGGED = LAYER.format(3)
NORM = f"{START}layers.0.attention_norm1.weight"
FORMATS = {
    "fp8": scaled_fp8,
    "fp8 of e5m2": lambda rng, shape: scaled_fp8(rng, shape, "F8_E5M2", (1,)),
    "fp8 as until 2025": lambda rng, shape: scaled_fp8(rng, shape, role="scale_weight"),
    "fp8 by rows": lambda rng, shape: scaled_fp8(rng, shape, scale=(shape[0], 1)),
    "DeepSeek": by_blocks,
    "int8": lambda rng, shape: int8(rng, shape, (shape[0], 1)),
    "int8 with one scale": lambda rng, shape: int8(rng, shape, ()),
    "ConvRot": lambda rng, shape: int8(rng, shape, (shape[0], 1), 4),
    "ConvRot of 4 bits": lambda rng, shape: w4a4(rng, shape, 4),
    "mxfp8": lambda rng, shape: mxfp8(rng, shape, told=False),
    "nvfp4": nvfp4,
    "LLM.int8": llm_int8,
    "nf4": four_bits,
    "nested fp4": lambda rng, shape: four_bits(rng, shape, "fp4", nested=True),
    "GPTQ": lambda rng, shape: gptq(rng, shape, groups=2),
    "AWQ": awq,
}
PLAIN = ("F32", "F16", "BF16")
HALVES = {"Q6_K": [208], "Q8_0": [0], "Q4_0": [0], "Q5_0": [0]}
"""Where blocks of a type have their scales of 16 bits, if not at the start and after it."""
STEPS = {"Q8_0": 127, "Q4_0": 7, "Q5_0": 15, "Q4_1": 7, "Q5_1": 15, "Q4_K": 7, "Q5_K": 15,
         "Q6_K": 31}  # fmt: skip
"""How many steps the greatest magnitude of a block has."""
HALF = {"F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8}
PADDED = ("mxfp8", "nvfp4")
METHODS = {
    "weighted_sum": {"alpha": 0.3}, "add_difference": {"alpha": 0.6}, "slerp": {"alpha": 0.4},
    "sum_twice": {"alpha": 0.3, "beta": 0.2}, "nuslerp": {"alpha": 0.4}, "maximum": {},
    "train_difference": {"alpha": 0.5}, "multiply_difference": {"alpha": 0.5, "beta": 0.5},
}  # fmt: skip
MODELS = {"weighted_sum": 2, "slerp": 2, "nuslerp": 2, "maximum": 2}
OUTPUTS = [
    ([], "safetensors"), ([], "safetensors"), (["--quantise", "none"], "safetensors"),
    (["--dtype", "bf16"], "safetensors"), (["--dtype", "unet=fp32"], "safetensors"),
    *((["--quantise", name], "safetensors") for name in ("fp8_scaled", "mxfp8", "nvfp4", "int8")),
    ([], "gguf"), *((["--quantise", name], "gguf") for name in ("q8_0", "q4_0", "q5_k", "q6_k")),
]  # fmt: skip
"""Options, and the suffix of the file."""
LOOSE = {"slerp", "nuslerp", "multiply_difference"}
"""Methods of powers and sines, which are less exact in float32 than sums."""


def plain(rng, shape, dtype):
    """Return the entry of a plain tensor, and its values."""
    values = rng.standard_normal(shape).astype("f4") * 4
    data = {
        "F32": values.tobytes, "F16": lambda: values.astype("f2").tobytes(),
        "BF16": lambda: (values.view("u4") >> 16).astype("u2").tobytes(),
    }[dtype]()  # fmt: skip
    return (dtype, shape, data), np.asarray(decode(data, dtype, shape), "f8")


def model(path, rng, formats):
    """Write a model with a layer of each format, and a plain norm; return its values."""
    rows, contents, values = [], {}, {}
    for name, what in formats.items():
        if what in FORMATS:
            layer = FORMATS[what](rng, SHAPES[name])
            rows += layer.layout(name)
            contents |= layer.contents(name)
            values[f"{name}.weight"] = layer.values.astype("f8")
    others = {f"{name}.weight": what for name, what in formats.items() if what not in FORMATS}
    for key, dtype in (others | {NORM: "F32"}).items():
        shape = (64,) if key == NORM else SHAPES[key.removesuffix(".weight")]
        entry, values[key] = plain(rng, shape, dtype)
        rows.append((key, *entry[:2]))
        contents[key] = entry[2]
    write_layout(path, rows, contents=contents)
    return values


def blocks(path, rng, formats):
    """Write a GGUF model whose layers are of ggml's types, but for one; return its values."""
    rows, values = [], {}
    for name, what in formats.items():
        number, elements, size = BLOCKS[what]
        raw = rng.integers(0, 256, (np.prod(SHAPES[name]) // elements, size), np.uint8)
        for at in HALVES.get(what, [0, 2]):
            raw[:, at : at + 2] = rng.random((len(raw), 1)).astype("<f2").view("u1")
        rows.append((f"{name.removeprefix(START)}.weight", SHAPES[name], number, raw.tobytes()))
        values[f"{name}.weight"] = block_values(what, raw.tobytes(), SHAPES[name]).astype("f8")
    for key, shape in {f"{RAGGED}.weight": SHAPES[RAGGED], NORM: (64,)}.items():
        entry, values[key] = plain(rng, shape, "F32")
        rows.append((key.removeprefix(START), shape, F32, entry[2]))
    path.write_bytes(gguf(rows))
    return values


def drawn(folder, random, number):
    """Write models of formats drawn by chance; return their paths, values and formats."""
    rng = np.random.default_rng(random.randrange(1 << 30))
    paths, values, kinds = [], [], []
    for place in range(number):
        if random.random() < 0.2:
            formats = {name: random.choice(list(BLOCKS)) for name in SHAPES if name != RAGGED}
            path, write = folder / f"{place}.gguf", blocks
        else:
            formats = {name: random.choice([*FORMATS, *PLAIN]) for name in SHAPES}
            if place == 0:
                formats[RAGGED] = random.choice(PADDED)
            elif place == 1:  # which tells what of the others is padding
                formats[RAGGED] = random.choice(["int8", "fp8", *PLAIN])
            path, write = folder / f"{place}.safetensors", model
        values.append(write(path, rng, formats))
        paths.append(path)
        kinds.append(formats)
    return paths, values, kinds


def exact(name, tables):
    """Return what a method makes of models, in float64."""
    found = {}
    for key in tables[0]:
        inputs = [table[key] for table in tables]
        if name in FIRST:
            found[key] = sum(terms(name, inputs, METHODS[name]))
        else:
            found[key] = oracle(name)(*inputs, **METHODS[name])
    return found


def written(path, shapes):
    """Return the values of a file, and half a step of each, by key with the model's prefix."""
    if path.suffix == ".gguf":
        return written_blocks(path, shapes)
    raw = {START + key.removeprefix(START): entry for key, entry in raw_tensors(path)[0].items()}
    found = {}
    for key, shape in shapes.items():
        dtype, array = raw[key]
        if dtype in HALF:
            assert array.shape == shape, key
            found[key] = array.astype("f8"), np.abs(array.astype("f8")) * HALF[dtype] + 1e-24
        else:
            found[key] = weight_in(raw, key.removesuffix(".weight"), shape)
    return found


def written_blocks(path, shapes):
    names = {number: name for name, (number, *_) in BLOCKS.items()}
    found = {}
    for name, (shape, kind, data) in read(path.read_bytes())[1].items():
        key = START + name
        assert shape == shapes[key], key
        if kind in names:
            _, elements, size = BLOCKS[names[kind]]
            used = data[: np.prod(shape) // elements * size]
            values = block_values(names[kind], used, shape).astype("f8")
            part = values.reshape(-1, elements)
            half = np.abs(part).max(1, keepdims=True) / STEPS[names[kind]] * 1.2 + part * 0
            found[key] = values, half.reshape(shape)
        else:
            dtype = {0: "F32", 1: "F16", 30: "BF16"}[kind]
            values = decode(data[: np.prod(shape) * SIZES[dtype]], dtype, shape).astype("f8")
            found[key] = values, np.abs(values) * HALF[dtype] + 1e-24
    return found


def check(folder, seed, bmerge):
    """Merge models drawn by chance, and compare what is written."""
    rng = random.Random(seed)
    name = rng.choice(list(METHODS))
    paths, tables, kinds = drawn(folder, rng, MODELS.get(name, 3))
    wanted = exact(name, tables)
    words, suffix = rng.choice(OUTPUTS)
    out = folder / f"out.{suffix}"
    out.unlink(missing_ok=True)
    given = [word for key, value in METHODS[name].items() for word in (f"--{key}", value)]
    called = bmerge("merge", name, *paths, *given, *words, "-o", out,
                    "--executor", rng.choice(["native", "native", "torch"]))  # fmt: skip
    what = seed, name, words, suffix, kinds
    assert called.status == 0, (what, called.err)
    found = written(out, {key: array.shape for key, array in wanted.items()})
    for key, (values, half) in found.items():
        reach = max(np.abs(table[key]).max() for table in tables)
        loose = reach * (1e-3 if name in LOOSE else 4e-6)
        wrong = np.abs(values - wanted[key])
        assert (wrong <= half * 1.001 + loose).all(), (what, key, (wrong / (half + loose)).max())


@pytest.mark.parametrize("seed", range(12))
def test_any_formats_are_merged_as_what_they_stand_for(seed, bmerge, tmp_path):
    check(tmp_path, seed, bmerge)


@pytest.mark.parametrize(
    ("seed", "network"),
    [*((seed, None) for seed in range(4)), (4, "oft with a rescale"), (5, "boft"), (6, "glora")],
)
def test_any_formats_take_a_lora_and_are_told_apart(seed, network, bmerge, tmp_path):
    rng = random.Random(seed)
    (path, other), (values, others), _ = drawn(tmp_path, rng, 2)
    draws, changes, loras = np.random.default_rng(seed), {}, {}
    for name, shape in SHAPES.items():
        key = f"{name}.weight"
        build = NETWORKS[network][1] if network else partial(low_rank, alpha=2)
        roles, changes[key] = build(draws, others[key] if network else shape)
        flat = name.removeprefix(START).replace(".", "_")
        loras |= {f"lora_unet_{flat}.{role}": array for role, array in roles.items()}
    write_checkpoint(tmp_path / "lora.safetensors", loras)
    base, shapes = (other, others), {key: array.shape for key, array in values.items()}
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "add_difference", base[0], "--lora", tmp_path / "lora.safetensors=0.7",
                    "--dtype", "fp32", "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    for key, (found, _) in written(out, shapes).items():
        wanted = base[1][key] + 0.7 * changes.get(key, 0)
        assert np.abs(found - wanted).max() <= 4e-6 * np.abs(wanted).max(), key
    told = bmerge("diff", path, other, "--json")
    assert told.status == 0, told.err
    both = [np.concatenate([table[key].ravel() for key in sorted(values)])
            for table in (values, others)]  # fmt: skip
    distance = np.linalg.norm(both[1] - both[0]) / np.linalg.norm(both[0])
    assert json.loads(told.out)["total"]["distance"] == pytest.approx(distance, rel=1e-6)


@pytest.mark.parametrize("quantise", ["auto", "nvfp4", "none"])
def test_files_of_trials_that_are_made_of_one_another_are_whole(quantise, tmp_path):
    paths, *_ = drawn(tmp_path, random.Random(quantise), 2)
    checkpoints = [open_checkpoint(path) for path in paths]
    architecture = detect(checkpoints[0].tensors, builtin())
    merger = Merger(
        recipe_of(paths, quantise=quantise), method=weighted_sum, checkpoints=checkpoints,
        architecture=architecture, executor=NativeExecutor(threads=2), scratch=tmp_path / "scratch",
    )  # fmt: skip
    blocks = architecture.blocks
    weights = [{}, {blocks[0]: 0.0}, {blocks[0]: 0.7}, {blocks[0]: 0.7, blocks[1]: 0.0}, {}]
    alone = tmp_path / "alone.safetensors"
    for own in weights:
        with merger.model({"alpha": BlockWeights(0.5, own)}) as trial:
            merge_to_file(trial.plan, alone, executor=NativeExecutor(), hashes=False)
            found = raw_tensors(trial.file(lent=True))[0]
            expected = raw_tensors(alone)[0]
            assert list(found) == list(expected)
            for key, (dtype, array) in expected.items():
                assert (found[key][0], found[key][1].tobytes()) == (dtype, array.tobytes()), key
    merger.close()


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_padded_in_two_ways_is_merged_without_what_only_one_has(order, bmerge, tmp_path):
    """Rows and columns that are multiples of 32 and of 16, whose true numbers nothing tells."""
    paths, tables = [], []
    for number, what in enumerate(PADDED):
        paths.append(tmp_path / f"{number}.safetensors")
        tables.append(model(paths[-1], np.random.default_rng(number), dict.fromkeys(SHAPES, what)))
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "weighted_sum", *paths[::order], "--alpha", 0.5, "--dtype", "fp32",
                    "--quantise", "none", "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    for key, (dtype, array) in raw_tensors(out)[0].items():
        whole = SHAPES.get(key.removesuffix(".weight"), array.shape)
        assert (dtype, array.shape) == ("F32", tuple(-(-size // 16) * 16 for size in whole))
        wanted = (tables[0][key] + tables[1][key]) / 2
        assert np.abs(crop(array, wanted.shape) - wanted).max() <= 4e-6 * np.abs(wanted).max()
        assert not array.sum() - crop(array, wanted.shape).sum()


NEWER = sorted(BITS.keys() - {"F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64"})


@pytest.mark.parametrize("tag", NEWER)
def test_tensors_of_any_dtype_are_copied_and_inspected(tag, bmerge, tmp_path):
    draws, contents = np.random.default_rng(1), {}
    size = 8 * 3 * BITS[tag] // 8
    contents["order"] = draws.integers(0, 2, size, np.uint8).tobytes()
    rows = [("layers.0.a.weight", "F32", (4, 4)), ("order", tag, (8, 3)), ("none", tag, (0, 3))]
    one = write_layout(tmp_path / "a.safetensors", rows, contents=contents)
    other = write_layout(tmp_path / "b.safetensors", rows)
    for number, words in enumerate([
        ("merge", "weighted_sum", one, other), ("convert", one, "--dtype", "fp16"),
        ("convert", one, "--prune"),
    ]):  # fmt: skip
        out = tmp_path / f"{number}.safetensors"
        called = bmerge(*words, "-o", out)
        assert called.status == 0, called.err
        table = open_checkpoint(out).tensors
        assert (table["order"].dtype, table["order"].shape) == (tag, (8, 3))
        assert read_bytes(table["order"]) == contents["order"]
        assert table["none"].shape == (0, 3)
    told = bmerge("inspect", one, "--json")
    assert told.status == 0, told.err
    assert tag in told.out
