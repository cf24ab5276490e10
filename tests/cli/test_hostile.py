"""Broken files of every kind, through the command line: one line of error, or a whole result.

Each is a sound file in which some things are changed by chance. What a merge writes must be a sound
file; what it refuses must leave nothing.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil

import numpy as np
import pytest

from bmerge.dtypes import BITS
from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
from bmerge.testing.checkpoints import write_checkpoint
from coded import LAYERS, X
from loras import NETWORKS, SHAPES
from quantised import write_layout

ODD = [None, -1, 0, 3, 2**31, 2**63, 2**70, 1.5, 1e308, math.nan, math.inf, "", "x", "\n", "\0",
       "../x", "/etc/passwd", "a\nb", "\ud800", [], [64], {}, [None, None], ["diffusers", "X"],
       {"a": 1}, True, [[[]]], ["x"] * 3]  # fmt: skip
KEYS = [f"down_blocks.{n}.attentions.0.proj_in.weight" for n in range(3)]


def changed(chance, data):
    """Return JSON of which one place is something else, is gone, or is called otherwise."""
    places = [(holder, key) for holder, key in spots(data)]
    holder, key = chance.choice(places)
    what = chance.choice(["set", "set", "drop", "call", "add"])
    if what == "set":
        holder[key] = chance.choice(ODD)
    elif what == "drop":
        del holder[key]
    elif isinstance(holder, dict):
        holder[chance.choice(["x", "", "..", "unet", "a/b"])] = (
            holder.pop(key) if what == "call" else chance.choice(ODD)
        )
    return data


def spots(data):
    inner = enumerate(data) if isinstance(data, list) else ()
    for key, value in data.items() if isinstance(data, dict) else inner:
        yield data, key
        yield from spots(value)


@pytest.fixture
def judged(bmerge):
    """Call bmerge; return whether it refused, after a look at what it said and left."""

    def call(*words, out):
        if out.is_dir():
            shutil.rmtree(out)
        out.unlink(missing_ok=True)
        before = set(out.parent.iterdir())
        called = bmerge(*words, *(() if words[0] in {"inspect", "diff"} else ("-o", out)))
        assert "bug" not in called.err, (words, called.err)
        assert called.status in {0, 1}, (words, called.err)
        if called.status == 0:
            assert not out.exists() or open_checkpoint(out).tensors
            return False
        errors = [line for line in called.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, (words, called.err)
        assert len(errors[0]) < 1000
        assert set(out.parent.iterdir()) == before, words
        return True

    return call


def pipeline(folder):
    """Write a folder of diffusers whose UNet is in two shards."""
    shutil.rmtree(folder, ignore_errors=True)
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    parts = {"unet": KEYS[:2], "text_encoder": ["text_model.final_layer_norm.weight"]}
    for name, keys in parts.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
        file = shards[0] if name == "unet" else "model.safetensors"
        write_checkpoint(folder / name / file, {key: np.ones((4, 4), "f4") for key in keys})
    write_checkpoint(folder / "unet" / shards[1], {KEYS[2]: np.ones((4, 4), "f4")})
    places = {key: shards[key == KEYS[2]] for key in KEYS}
    index = {"metadata": {"total_size": 192}, "weight_map": places}
    entries = {"_class_name": "StableDiffusionPipeline", "safety_checker": [None, None],
               "scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", "UNet"],
               "text_encoder": ["transformers", "CLIPTextModel"]}  # fmt: skip
    names = [folder / "unet" / "diffusion_pytorch_model.safetensors.index.json",
             folder / "model_index.json"]  # fmt: skip
    for path, data in zip(names, (index, entries), strict=True):
        path.write_text(json.dumps(data))
    return names


def break_folder(chance, folder):
    names = pipeline(folder)
    file = chance.choice(sorted(each for each in folder.rglob("*") if each.is_file()))
    what = chance.choice(["json", "json", "json", "gone", "link", "loop", "folder", "twice", "cut"])
    if what == "json":
        path = chance.choice(names)
        path.write_text(json.dumps(changed(chance, json.loads(path.read_text()))))
    elif what == "twice":
        shutil.copy(file, file.with_name(chance.choice(["model.safetensors", "x.safetensors"])))
    elif what == "cut":
        data = file.read_bytes()
        file.write_bytes(data[: chance.randrange(len(data))])
    else:
        file.unlink()
        if what == "folder":
            file.mkdir()
        elif what != "gone" and os.name == "posix":
            target = chance.choice(["/etc/passwd", "/dev/zero", "nothing", "."])
            file.symlink_to(target if what == "link" else file.name)


def test_broken_folders_and_indices_are_one_line_or_a_whole_model(judged, tmp_path):
    chance, refused = random.Random(5), 0
    pipeline(tmp_path / "b")
    a, b = tmp_path / "a", tmp_path / "b"
    for _ in range(40):
        break_folder(chance, a)
        words = chance.choice([("inspect", a), ("merge", "weighted_sum", a, b), ("convert", a),
                               ("merge", "weighted_sum", b, a), ("inspect", a / "unet"),
                               ("convert", a / "unet"), ("diff", a, b)])  # fmt: skip
        refused += judged(*words, out=tmp_path / chance.choice(["o.safetensors", "o"]))
    assert 10 < refused < 39


def broken_lora(chance, path, base):
    """Write a LoRA of some network, of which a few things are changed."""
    network = chance.choice(list(NETWORKS))
    kind, build = NETWORKS[network]
    roles, _ = build(np.random.default_rng(1), base[f"layers.0.{kind}.weight"])
    start = f"lora_unet_layers_0_{kind}"
    layout = {f"{start}.{role}": ["F32", np.shape(array), np.asarray(array, "<f4").tobytes()]
              for role, array in roles.items()}  # fmt: skip
    for _ in range(chance.randint(0, 3)):
        key = chance.choice(list(layout) or [f"{start}.alpha"])
        dtype, shape, data = layout.get(key, ["F32", (), None])
        what = chance.choice(["dtype", "shape", "drop", "value", "name", "alpha"])
        tag, extents = chance.choice(list(BITS)), [*shape]
        if what == "shape":
            extents = [*shape, chance.choice([0, 1, 2])] if chance.random() < 0.4 else extents
            extents = [chance.choice([0, 1, 2, size]) for size in extents]
            layout[key] = [dtype, tuple(extents), None]
        elif what == "dtype" and math.prod(shape) * BITS[tag] % 8 == 0:
            layout[key] = [tag, shape, None]
        elif what == "drop" and len(layout) > 1:
            layout.pop(key, None)
        elif what == "value" and data and dtype == "F32":
            array = np.frombuffer(data, "<f4").copy()
            array[chance.randrange(array.size)] = chance.choice([np.nan, np.inf, 1e38, -5, 0])
            layout[key] = [dtype, shape, array.tobytes()]
        elif what == "name":
            layout[chance.choice([f"{key}.x", f"{key}_", key.removeprefix("lora_unet_")])] = [
                dtype, shape, data
            ]  # fmt: skip
        elif what == "alpha":
            layout[f"{start}.alpha"] = [chance.choice(["I64", "F8_E4M3", "BOOL"]), (), None]
    layout = {k: e for k, e in layout.items() if math.prod(e[1]) * BITS[e[0]] % 8 == 0}
    contents = {key: data for key, (_, _, data) in layout.items() if data is not None}
    return write_layout(path, [(k, d, s) for k, (d, s, _) in layout.items()], contents=contents)


CONFIG = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "use_rslora": False, "rank_pattern": {},
          "alpha_pattern": {"linear": 2}, "fan_in_fan_out": False, "bias": "none"}  # fmt: skip


def test_broken_loras_are_one_line_or_a_whole_model(judged, tmp_path):
    chance, refused, rng = random.Random(6), 0, np.random.default_rng(0)
    base = {f"layers.0.{k}.weight": rng.standard_normal(s).astype("f4") for k, s in SHAPES.items()}
    base |= {f"layers.0.{kind}.bias": np.zeros(s[0], "f4") for kind, s in SHAPES.items()}
    model = write_checkpoint(tmp_path / "m.safetensors", base)
    lora, config = tmp_path / "x.safetensors", tmp_path / "adapter_config.json"
    for _ in range(60):
        broken_lora(chance, lora, base)
        config.unlink(missing_ok=True)
        if chance.random() < 0.3:
            config.write_text(json.dumps(changed(chance, json.loads(json.dumps(CONFIG)))))
        bake = ("merge", "add_difference", model, "--lora", lora)
        words = chance.choice([bake, bake, ("inspect", lora), ("lora", "merge", lora, lora),
                               ("lora", "resize", lora, "--rank", 2)])  # fmt: skip
        refused += judged(*words, out=tmp_path / "o.safetensors")
    assert 10 < refused < 55


FLOATS = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-45, 3e38]


def test_scales_of_any_value_are_refused_or_merged_as_they_are(judged, tmp_path):
    """NaN and infinity are, and what they make; nothing else is."""
    chance, refused = random.Random(7), 0
    for _ in range(60):
        scaled = [what for what in LAYERS if "TQ" not in what and "AWQ" not in what]
        layer = LAYERS[chance.choice(scaled)](np.random.default_rng(chance.randrange(9)))
        tensors = dict(layer.tensors)
        role = chance.choice([role for role, (dtype, *_) in tensors.items() if dtype == "F32"])
        values = np.frombuffer(tensors[role][2], "<f4").copy()
        values[chance.randrange(values.size)] = chance.choice(FLOATS)
        layer.tensors[role] = (*tensors[role][:2], values.tobytes())
        q = write_layout(tmp_path / "q.safetensors", layer.layout(), contents=layer.contents())
        plain = {f"{X}.weight": np.ones(layer.values.shape, "f4")}
        p = write_checkpoint(tmp_path / "p.safetensors", plain)
        words = chance.choice([("merge", "weighted_sum", q, p), ("merge", "weighted_sum", p, q),
                               ("convert", q, "--dtype", "fp32"), ("diff", q, p), ("inspect", q),
                               ("convert", q, "--quantise", "nvfp4")])  # fmt: skip
        refused += judged(*words, out=tmp_path / "o.safetensors")
    assert 5 < refused < 40


METADATA = ["_quantization_metadata", "modelspec.architecture", "sd_merge_models", "recipe",
            "models", "sd_merge_recipe", "ss_network_args", "prompt"]  # fmt: skip
TEXTS = ["", "{}", "[]", "{", "[" * 5000, "null", "1", '"x"', "nan", "x\ny", "\u202e", '{"a":',
         '{"layers": []}', '{"models": [null]}', '{"layers": {"a": 3}}']  # fmt: skip


def test_metadata_of_any_text_is_one_line_or_read(judged, tmp_path):
    chance = random.Random(8)
    rows = [("layers.0.a.weight", "F32", (4, 4)), ("layers.1.a.weight", "F32", (4, 4))]
    x, y = tmp_path / "x.safetensors", write_layout(tmp_path / "y.safetensors", rows)
    assert not judged("merge", "weighted_sum", y, y, out=tmp_path / "o.safetensors")
    sound = dict(open_checkpoint(tmp_path / "o.safetensors").metadata)
    for _ in range(60):
        metadata = dict(sound)
        key = chance.choice([*sound, *METADATA])
        try:
            metadata[key] = json.dumps(changed(chance, json.loads(metadata[key])))
        except (KeyError, ValueError, TypeError, IndexError):
            metadata[key] = chance.choice(TEXTS)
        write_layout(x, rows, metadata=metadata)
        words = chance.choice([("inspect", x), ("inspect", x, "--lineage"), ("convert", x),
                               ("merge", "weighted_sum", x, y)])  # fmt: skip
        judged(*words, out=tmp_path / "o.safetensors")


def test_headers_of_any_json_are_refused_or_within_the_file(tmp_path):
    chance, read, path, refused = random.Random(9), 0, tmp_path / "x.safetensors", []
    fields = {
        "dtype": [*BITS, "F2", "", "f32"], "data_offsets": [[0, 0], [8, 0], [0, 2**63], [-1, 4]],
        "shape": [[], [0], [-1], [1.5], [2**63], [2**32, 2**32], "x", None, [True], [1] * 70],
    }  # fmt: skip
    for _ in range(300):
        header = {
            key: {"dtype": "F32", "shape": [2, 2], "data_offsets": [16 * n, 16 * n + 16]}
            for n, key in enumerate("abc")
        }
        header["__metadata__"] = {"format": "pt"}
        for _ in range(chance.randint(0, 2)):
            if chance.random() < 0.5:
                changed(chance, header)
            elif isinstance(entry := header.get(chance.choice("abc")), dict):
                name = chance.choice(list(fields))
                entry[name] = chance.choice(fields[name])
        text = json.dumps(header).encode()
        data = bytes(chance.choice([48, 48, 48, 47, 49, 0]))
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
        try:
            tensors = open_checkpoint(path).tensors
        except FormatError as error:
            refused.append(str(error))
            continue
        read += 1
        for info in tensors.values():
            assert 8 + len(text) <= info.offset <= info.offset + info.nbytes
            assert info.offset + info.nbytes <= path.stat().st_size
            assert math.prod(info.shape) * BITS[info.dtype] == 8 * info.nbytes
    assert 30 < read < 270
    assert all(str(path) in message and "\n" not in message for message in refused)
