"""GGUF files, read and written, against files made by hand from the specification."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.errors import FormatError
from bmerge.formats import in_one_layout, open_checkpoint, values_of
from bmerge.formats.gguf import _contents
from bmerge.formats.gguf_values import Bytes, GgufError
from gguf_files import BF16, F16, F32, Q8_0, gguf, pair, q8_0, q8_0_values, read, row, text
from layouts import small_model
from quantised import write_layout

RANDOM = np.random.default_rng(5)
WIDE = RANDOM.standard_normal((4, 64)).astype("f4")
TALL = RANDOM.standard_normal((3, 2)).astype("f4")
SOUND = gguf(
    [
        ("a.weight", (4, 64), Q8_0, q8_0(WIDE)),
        ("b.weight", (3, 2), F16, TALL.astype("f2").tobytes()),
        ("c", (2,), BF16, struct.pack("<2H", 0x3F80, 0xC000)),
        ("d", (1,), F32, struct.pack("<f", 2.5)),
    ],
    [
        pair("general.architecture", 8, "sdxl"), pair("general.file_type", 4, 7),
        pair("x.list", 9, struct.pack("<IQ", 4, 100) + bytes(400)),
        pair("x.words", 9, struct.pack("<IQ", 8, 2) + text("one") + text("two")),
    ],
)  # fmt: skip


def opened(tmp_path, data, name="m.gguf"):
    (tmp_path / name).write_bytes(data)
    return open_checkpoint(tmp_path / name)


def floats(tensor):
    return np.frombuffer(values_of(tensor), "f4").reshape(tensor.shape)


@pytest.mark.parametrize("version", [2, 3])
def test_tensors_have_the_shapes_and_values_that_they_stand_for(tmp_path, version):
    checkpoint = opened(tmp_path, SOUND[:4] + struct.pack("<I", version) + SOUND[8:])
    assert {key: tensor.shape for key, tensor in checkpoint.tensors.items()} == {
        "a.weight": (4, 64), "b.weight": (3, 2), "c": (2,), "d": (1,),
    }  # fmt: skip
    expected = [q8_0_values(q8_0(WIDE), (4, 64)), TALL.astype("f2"), [1, -2], [2.5]]
    for tensor, array in zip(checkpoint.tensors.values(), expected, strict=True):
        assert (floats(tensor) == array).all()
    assert checkpoint.metadata == {"general.architecture": "sdxl"}


def test_shape_before_blocks_is_restored(tmp_path):
    shape = pair("comfy.gguf.orig_shape.a", 9, struct.pack("<IQ4i", 5, 4, 2, 16, 4, 2))
    file = gguf([("a", (1, 256), Q8_0, q8_0(WIDE))], [shape])
    checkpoint = opened(tmp_path, file)
    assert checkpoint.tensors["a"].shape == (2, 16, 4, 2)
    assert (floats(checkpoint.tensors["a"]).ravel() == q8_0_values(q8_0(WIDE), 256)).all()


def changed(old, new):
    assert old in SOUND
    return SOUND.replace(old, new, 1)


HUGE = struct.pack("<Q", 1 << 62)
HOSTILE = {
    "empty": (b"", "truncated"),
    "other magic": (b"GGML" + SOUND[4:], "not a GGUF file"),
    "version 1": (SOUND[:4] + struct.pack("<I", 1) + SOUND[8:], "version 1, not 2 or 3"),
    "big-endian": (SOUND[:4] + struct.pack(">I", 3) + SOUND[8:], "big-endian"),
    "many tensors": (SOUND[:8] + HUGE + SOUND[16:], "too short for"),
    "many pairs": (SOUND[:16] + HUGE + SOUND[24:], "too short for"),
    "cut in the header": (SOUND[:150], "truncated"),
    "cut in the data": (SOUND[:-1], "beyond the end"),
    "long name": (changed(text("a.weight"), HUGE + b"a.weight"), "a name of"),
    "not UTF-8": (changed(b"a.weight", b"\xff.weight"), "not UTF-8"),
    "long list": (changed(struct.pack("<IQ", 4, 100), struct.pack("<IQ", 4, 1 << 60)), "truncated"),
    "many words": (changed(struct.pack("<IQ", 8, 2), struct.pack("<IQ", 8, 1 << 60)), "too short"),
    "unknown entry": (changed(struct.pack("<IQ", 8, 2), struct.pack("<IQ", 77, 2)), "type 77"),
    "twice": (changed(b"b.weight", b"a.weight"), "two tensors are called 'a.weight'"),
    "overflow": (changed(row("b.weight", (3, 2), F16, 288),
                         row("b.weight", (1 << 32, 1 << 32), F16, 288)), "more elements"),
    "beyond": (changed(row("c", (2,), BF16, 320), row("c", (2,), BF16, 1 << 40)), "beyond the end"),
    "not aligned": (changed(row("c", (2,), BF16, 320), row("c", (2,), BF16, 321)), "multiple of"),
    "across": (changed(row("c", (2,), BF16, 320), row("c", (2,), BF16, 0)), "lie across"),
    "part of a block": (gguf([("a", (2, 48), Q8_0, bytes(102))]), "not whole blocks"),
    "other type": (gguf([("a", (256,), 23, bytes(136))]), "of IQ4_XS, which"),
    "unknown type": (gguf([("a", (256,), 99, bytes(136))]), "of type 99"),
    "no tensors": (gguf([]), "holds no tensors"),
    "alignment 0": (gguf([("a", (1,), F32, bytes(4))], [pair("general.alignment", 4, 0)]),
                    "not a power of two"),
    "alignment of text": (gguf([("a", (1,), F32, bytes(4))], [pair("general.alignment", 8, "x")]),
                          "not a power of two"),
    "deep lists": (gguf([("a", (1,), F32, bytes(4))],
                        [pair("x", 9, struct.pack("<IQ", 9, 1) * 9)]), "type 9"),
    "other shape": (gguf([("a", (256,), Q8_0, q8_0(WIDE))], [pair("comfy.gguf.orig_shape.a", 9,
                    struct.pack("<IQ2i", 5, 2, 16, 17))]), "cannot have had"),
    "llama": (gguf([("blk.0.attn_q.weight", (1,), F32, bytes(4))],
                   [pair("general.architecture", 8, "llama")]), "cannot have None heads"),
    "llama of experts": (gguf([("blk.0.ffn_gate_exps.weight", (1,), F32, bytes(4))],
                              [pair("general.architecture", 8, "llama")]), "no name that is known"),
    "odd heads": (gguf([("blk.0.attn_k.weight", (9, 2), F32, bytes(72))],
                       [pair("general.architecture", 8, "llama"),
                        pair("llama.attention.head_count", 4, 3)]), "cannot have 3 heads"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_in_one_line(tmp_path, name):
    data, message = HOSTILE[name]
    with pytest.raises(FormatError, match=message) as caught:
        opened(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_ten_thousand_broken_headers_are_errors_or_lie_within_the_file():
    random = np.random.default_rng(1)
    path, sound, end = Path("m.gguf"), np.frombuffer(SOUND, "u1"), SOUND.index(b"\0" * 400) + 700
    read_well = 0
    for _ in range(10_000):
        broken = sound.copy()
        for _ in range(random.integers(1, 4)):
            place = random.integers(0, min(end, len(broken)))
            broken[place] = random.choice([0, 1, 8, 127, 128, 255, random.integers(256)])
        data = broken[: random.integers(20, len(broken) + 1)] if random.random() < 0.2 else broken
        content = data.tobytes()
        try:
            _, tensors = _contents(Bytes(io.BytesIO(content), len(content)), path)
        except GgufError:
            continue
        read_well += 1
        for tensor in tensors.values():
            for part in getattr(tensor, "parts", (tensor,)):
                assert 0 <= part.offset <= part.offset + part.nbytes <= len(content)
    assert 100 < read_well < 9_900


def test_merge_takes_a_quantised_unet_as_the_floats_that_it_stands_for(bmerge, tmp_path):
    a = small_model("sdxl_unet", 1, layers=0)
    b = small_model("sdxl_unet_noprefix", 2, layers=0)
    wide = [key for key, array in b.items() if array.ndim == 2 and array.shape[-1] % 32 == 0]
    assert wide
    rows = [
        (key, v.shape, Q8_0, q8_0(v)) if key in wide else (key, v.shape, F32, v.tobytes())
        for key, v in b.items()
    ]
    (tmp_path / "b.gguf").write_bytes(gguf(rows))
    save_file(a, tmp_path / "a.safetensors")
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", tmp_path / "a.safetensors", tmp_path / "b.gguf",
                    "--alpha", "0.25", "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    for key, merged in load_file(out).items():
        name = key.removeprefix("model.diffusion_model.")
        other = q8_0_values(q8_0(b[name]), b[name].shape) if name in wide else b[name]
        expected = 0.75 * a[key].astype("f8") + 0.25 * other.astype("f8")
        assert np.abs(merged - expected).max() < 1e-6


@pytest.mark.parametrize("first", ["a.safetensors", "b.gguf"])
def test_dimensions_that_gguf_leaves_out_are_those_of_the_other_model(bmerge, tmp_path, first):
    a, b = small_model("wan21_t2v_1_3b", 1, layers=1), small_model("wan21_t2v_1_3b", 2, layers=1)
    a, b = ({k: v for k, v in each.items() if v.ndim < 5} for each in (a, b))
    a["logit_scale"], b["logit_scale"] = np.array(2, "f4"), np.array(3, "f4")
    rows = []
    for key, array in b.items():
        shape = array.shape
        while len(shape) > 1 and shape[0] == 1:
            shape = shape[1:]
        rows.append((key, shape or (1,), F32, array.tobytes()))
    assert [shape for key, shape, *_ in rows if key == "head.modulation"] == [(2, 24)]
    (tmp_path / "b.gguf").write_bytes(gguf(rows))
    save_file(a, tmp_path / "a.safetensors")
    second = "b.gguf" if first == "a.safetensors" else "a.safetensors"
    called = bmerge("merge", "weighted_sum", tmp_path / first, tmp_path / second,
                    "-o", tmp_path / "o.safetensors")  # fmt: skip
    assert called.status == 0, called.err
    merged = load_file(tmp_path / "o.safetensors")
    assert {key: array.shape for key, array in merged.items()} == {k: v.shape for k, v in a.items()}
    assert all(np.allclose(merged[key], (a[key] + b[key]) / 2, atol=1e-6) for key in a)


def test_written_file_is_one_of_the_specification(bmerge, tmp_path):
    a = small_model("sdxl", 1, layers=0)
    save_file(a, tmp_path / "a.safetensors")
    out = tmp_path / "o.gguf"
    whole = bmerge("convert", tmp_path / "a.safetensors", "-o", out)
    assert whole.status == 1
    assert "bmerge convert MODEL --parts unet" in whole.err
    called = bmerge("convert", tmp_path / "a.safetensors", "--parts", "unet", "--dtype", "fp16",
                    "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    pairs, tensors = read(out.read_bytes())
    assert pairs["general.architecture"] == "sdxl"
    assert (pairs["general.file_type"], pairs["general.quantization_version"]) == (1, 2)
    start = "model.diffusion_model."
    assert tensors.keys() == {k.removeprefix(start) for k in a if k.startswith(start)}
    for name, (shape, kind, data) in tensors.items():
        expected = a[start + name].astype("f2")
        assert (shape, kind) == (expected.shape, F16)
        assert data.startswith(expected.tobytes())
    again = tmp_path / "again.safetensors"
    assert bmerge("convert", out, "-o", again).status == 0
    assert load_file(again).keys() == tensors.keys()


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("F8_E4M3", "--dtype bf16 converts it"),
        *((tag, "write a .safetensors file") for tag in ("BOOL", "U8", "C64", "F8_E8M0", "F4")),
    ],
)
def test_dtype_that_gguf_has_not_is_refused_with_what_helps(bmerge, tmp_path, tag, hint):
    layout = [("x.0.weight", "F16", (2, 2)), ("x.1.odd", tag, (2,))]
    write_layout(tmp_path / "m.safetensors", layout)
    words = ("convert", tmp_path / "m.safetensors", "-o", tmp_path / "m.gguf")
    called = bmerge(*words)
    assert f"GGUF has no {tag}, which 'x.1.odd' is of" in called.err
    assert f"hint: {hint}" in called.err
    assert (bmerge(*words, "--dtype", "bf16").status == 0) == ("bf16" in hint)


def test_text_encoders_of_llama_cpp_have_the_names_of_transformers(tmp_path):
    names = {"token_embd.weight": (9, 32), "enc.blk.0.attn_q.weight": (4, 32),
             "enc.blk.0.ffn_down.weight": (4, 32), "enc.output_norm.weight": (32,)}  # fmt: skip
    rows = [(name, shape, F32, bytes(4 * int(np.prod(shape)))) for name, shape in names.items()]
    wanted = {
        "shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight",
        "encoder.block.0.layer.1.DenseReluDense.wo.weight", "encoder.final_layer_norm.weight",
    }  # fmt: skip
    shapes = dict(zip(sorted(wanted), [(4, 32), (4, 32), (32,), (9, 32)], strict=True))
    start = "text_encoders.t5xxl.transformer."
    whole = {start + name: np.zeros(shape, "f4") for name, shape in shapes.items()}
    whole["model.diffusion_model.x.weight"] = np.zeros(2, "f4")
    save_file(whole, tmp_path / "a.safetensors")
    models = (open_checkpoint(tmp_path / "a.safetensors"), opened(tmp_path, gguf(rows)))
    found = in_one_layout(models)[1]
    assert found.tensors.keys() == {start + name for name in wanted}


def woven(rows, heads):
    """Return rows as llama.cpp has those of queries and keys."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def test_language_models_of_llama_have_the_rows_and_names_of_transformers(tmp_path, bmerge):
    rng = np.random.default_rng(8)
    shapes = {"self_attn.q_proj": (16, 32), "self_attn.k_proj": (8, 32), "mlp.up_proj": (6, 32)}
    layer = "model.layers.0."
    whole = {f"{layer}{name}.weight": rng.standard_normal(s).astype("f4")
             for name, s in shapes.items()}  # fmt: skip
    whole |= {"model.embed_tokens.weight": rng.standard_normal((9, 32)).astype("f4"),
              f"{layer}self_attn.q_proj.bias": np.arange(16, dtype="f4")}  # fmt: skip
    q, k, up, embedding, bias = whole.values()
    rows = [("token_embd.weight", F32, embedding), ("blk.0.attn_q.weight", Q8_0, woven(q, 4)),
            ("blk.0.attn_k.weight", F32, woven(k, 2)), ("blk.0.ffn_up.weight", F32, up),
            ("blk.0.attn_q.bias", F32, woven(bias[:, None], 4)[:, 0])]  # fmt: skip
    file = gguf(
        [(name, v.shape, kind, q8_0(v) if kind == Q8_0 else v.tobytes()) for name, kind, v in rows],
        [pair("general.architecture", 8, "llama"), pair("llama.attention.head_count", 4, 4),
         pair("llama.attention.head_count_kv", 4, 2)],
    )  # fmt: skip
    (tmp_path / "m.gguf").write_bytes(file)
    out = tmp_path / "m.safetensors"
    called = bmerge("convert", tmp_path / "m.gguf", "--dtype", "fp32", "-o", out)
    assert called.status == 0, called.err
    found = load_file(out)
    assert found.keys() == whole.keys()
    for key, values in whole.items():
        exact = q8_0_values(q8_0(values), values.shape) if values is q else values
        assert (found[key] == exact).all()
    assert bmerge("convert", tmp_path / "m.gguf", "-o", tmp_path / "again.gguf").status == 0
    pairs, tensors = read((tmp_path / "again.gguf").read_bytes())
    assert "general.architecture" not in pairs
    shape, kind, data = tensors[f"{layer}self_attn.q_proj.weight"]
    assert (shape, kind) == (q.shape, Q8_0)
    assert data.startswith(q8_0(q8_0_values(q8_0(q), q.shape)))
