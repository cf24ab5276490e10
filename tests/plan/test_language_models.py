"""Language models by the names that transformers, and those who take them out of it, give them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.formats import open_checkpoint
from bmerge.formats.layouts import in_layout
from bmerge.formats.one_layout import in_one_layout
from layouts import values

LAYERS = {f"layers.{i}.{name}.weight": shape for i in range(2) for name, shape in
          {"self_attn.q_proj": (8, 8), "self_attn.k_norm": (4,), "mlp.up_proj": (16, 8),
           "input_layernorm": (8,), "post_attention_layernorm": (8,)}.items()}  # fmt: skip
WORDS = {**LAYERS, "embed_tokens.weight": (32, 8), "norm.weight": (8,)}
EYES = {"patch_embed.proj.weight": (8, 3, 2, 2), "blocks.0.attn.qkv.weight": (24, 8)}
FORMS = {
    "own": ("model.", "visual.", "lm_head.weight"),
    "newer": ("model.language_model.", "model.visual.", "lm_head.weight"),
    "older": ("language_model.model.", "visual.", "language_model.lm_head.weight"),
    "no words": ("language_model.", "visual.", None),
    "bare": ("", None, None),
}
"""What is before the words and the eyes, and what gives words."""
PICTURE = {"transformer_blocks.0.img_mlp.net.0.proj.weight": (8, 8), "txt_norm.weight": (3584,),
           "transformer_blocks.0.attn.to_q.weight": (8, 8), "img_in.weight": (8, 8)}  # fmt: skip
STARTS = {"text_encoder.": "transformer.",
          "text_encoders.qwen25_7b.transformer.": "model.diffusion_model."}  # fmt: skip


def language_model(form):
    """Return name → what it is called by and its shape, of a language model in a form."""
    words, eyes, head = FORMS[form]
    found = {words + name: (name, shape) for name, shape in WORDS.items()}
    if eyes is not None:
        found |= {eyes + name: (f"eyes {name}", shape) for name, shape in EYES.items()}
    return found | ({head: ("head", (32, 8))} if head else {})


def whole(start, form, seed):
    """Return a model's tensors, by their keys, and what each is."""
    found = {start + key: value for key, value in language_model(form).items()}
    if start:
        found |= {STARTS[start] + key: (f"picture {key}", s) for key, s in PICTURE.items()}
    values = {}
    for what, shape in found.values():
        random = np.random.default_rng([seed, *what.encode()])
        values[what] = random.standard_normal(shape, "f4")
    return {key: values[what] for key, (what, _) in found.items()}, {
        key: what for key, (what, _) in found.items()
    }


@pytest.mark.parametrize(
    ("first", "other"), [*itertools.permutations(FORMS, 2), ("own", "own")], ids="-".join
)
def test_each_form_of_a_text_encoder_is_each_other(tmp_path, first, other):
    for start, there in [*itertools.product(STARTS, repeat=2), ("", "")]:
        models = [whole(start, first, 1), whole(there, other, 2)]
        for place, (tensors, _) in zip("ab", models, strict=True):
            save_file(tensors, tmp_path / f"{place}.safetensors")
        found = in_one_layout([open_checkpoint(tmp_path / f"{p}.safetensors") for p in "ab"])[1]
        names, called = ({what: key for key, what in each.items()} for _, each in models)
        for what in names.keys() & called.keys():
            tensor = found.tensors[names[what]]
            assert np.array_equal(values(tensor), models[1][0][called[what]]), what


@pytest.mark.parametrize("other", FORMS)
def test_text_encoder_of_a_folder_merges_with_that_of_a_file(bmerge, tmp_path, other):
    one, called = whole("text_encoders.qwen25_7b.transformer.", "own", 1)
    two, names = whole("text_encoder.", other, 2)
    save_file(one, tmp_path / "a.safetensors")
    save_file(two, tmp_path / "b.safetensors")
    done = bmerge("merge", "weighted_sum", tmp_path / "a.safetensors", tmp_path / "b.safetensors",
                  "--alpha", "0.5", "-o", tmp_path / "o.safetensors")  # fmt: skip
    assert done.status == 0, done.err
    found = load_file(tmp_path / "o.safetensors")
    assert found.keys() == one.keys()
    theirs = {what: two[key] for key, what in names.items()}
    for key, array in one.items():
        exact = (array + theirs[called[key]]) / 2 if called[key] in theirs else array
        np.testing.assert_allclose(found[key], exact, rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("form", ["newer", "older"])
def test_folder_becomes_a_file_with_the_names_that_comfyui_reads(bmerge, tmp_path, form):
    tensors, _ = whole("text_encoder.", form, 1)
    for component, name in (("transformer", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (tmp_path / "a" / component).mkdir(parents=True)
        own = {key.removeprefix(f"{component}."): array for key, array in tensors.items()
               if key.startswith(f"{component}.")}  # fmt: skip
        save_file(own, tmp_path / "a" / component / f"{name}.safetensors")
        (tmp_path / "a" / component / "config.json").write_text("{}")
    entries = {"transformer": ["diffusers", "Model"], "text_encoder": ["transformers", "Model"]}
    (tmp_path / "a" / "model_index.json").write_text(json.dumps(entries))
    out = tmp_path / "o.safetensors"
    called = bmerge("convert", tmp_path / "a", "--layout", "comfy", "-o", out)
    assert called.status == 0, called.err
    exact, _ = whole("text_encoders.qwen25_7b.transformer.", "own", 1)
    found = load_file(out)
    assert found.keys() == exact.keys()
    assert all(np.array_equal(found[key], exact[key]) for key in exact)


@pytest.mark.parametrize("form", ["own", "newer", "bare"])
def test_file_of_a_text_encoder_is_put_to_a_model_that_has_none(bmerge, tmp_path, form):
    exact, called = whole("text_encoders.qwen25_7b.transformer.", "own", 1)
    picture = {key: array for key, array in exact.items() if called[key].startswith("picture")}
    save_file(picture, tmp_path / "a.safetensors")
    encoder, names = whole("", form, 1)
    save_file(encoder, tmp_path / "te.safetensors")
    done = bmerge("merge", "weighted_sum", tmp_path / "a.safetensors", tmp_path / "a.safetensors",
                  "--alpha", "0.5", "--text-encoder", tmp_path / "te.safetensors",
                  "-o", tmp_path / "o.safetensors")  # fmt: skip
    assert done.status == 0, done.err
    found = load_file(tmp_path / "o.safetensors")
    given = {key for key in exact if key in picture or called[key] in names.values()}
    assert found.keys() == given
    assert all(np.array_equal(found[key], exact[key]) for key in given)


def test_names_of_gguf_files_are_those_of_any_form(tmp_path):
    for form in ("own", "newer", "older", "bare"):
        tensors, _ = whole("", form, 1)
        save_file(tensors, tmp_path / "a.safetensors")
        found = in_layout(dict(open_checkpoint(tmp_path / "a.safetensors").tensors), "gguf")
        assert {"blk.1.attn_q.weight", "token_embd.weight", "output_norm.weight"} <= found.keys()
