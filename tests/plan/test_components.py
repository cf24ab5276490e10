"""Parts of a diffusion model that diffusers has as components of their own, and sound beside it.

The names of the original code are put together by the replacements of the scripts in diffusers'
repository that convert such models.
"""

from __future__ import annotations

import json
import re

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder, LTX2VocoderWithBWE
from safetensors.numpy import load_file, save_file

from bmerge.architectures import builtin, detect
from bmerge.formats import open_checkpoint

PICTURE = "model.diffusion_model."
SMALL = {"num_attention_heads": 2, "attention_head_dim": 4, "cross_attention_dim": 8,
         "audio_num_attention_heads": 2, "audio_attention_head_dim": 4, "caption_channels": 8,
         "audio_cross_attention_dim": 8, "num_layers": 2}  # fmt: skip
ACE = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4, "head_dim": 8,
       "num_key_value_heads": 2}  # fmt: skip
LISTENING = {**ACE, "num_lyric_encoder_hidden_layers": 2, "num_timbre_encoder_hidden_layers": 2}
SOUND = [("per_channel_statistics.mean-of-means", "latents_mean"),
         ("per_channel_statistics.std-of-means", "latents_std")]  # fmt: skip
VOCODER = [("ups.", "upsamplers."), ("resblocks", "resnets"), ("conv_pre", "conv_in"),
           ("conv_post", "conv_out"), ("act_post", "act_out")]  # fmt: skip
SENSES = [("transformer_1d_blocks", "transformer_blocks"), ("q_norm", "norm_q"),
          ("k_norm", "norm_k")]  # fmt: skip
TRANSFORMER = [
    ("patchify_proj.", "proj_in."), ("prompt_adaln_single.", "prompt_adaln."),
    ("av_ca_video_scale_shift_adaln_single.", "av_cross_attn_video_scale_shift."),
    ("av_ca_a2v_gate_adaln_single.", "av_cross_attn_video_a2v_gate."),
    ("av_ca_audio_scale_shift_adaln_single.", "av_cross_attn_audio_scale_shift."),
    ("av_ca_v2a_gate_adaln_single.", "av_cross_attn_audio_v2a_gate."),
    ("scale_shift_table_a2v_ca_video", "video_a2v_cross_attn_scale_shift_table"),
    ("scale_shift_table_a2v_ca_audio", "audio_a2v_cross_attn_scale_shift_table"),
    ("adaln_single.", "time_embed."), ("q_norm", "norm_q"), ("k_norm", "norm_k"),
]  # fmt: skip
ATTENTION = [("q_proj.", "to_q."), ("k_proj.", "to_k."), ("v_proj.", "to_v."),
             ("o_proj.", "to_out.0."), ("q_norm.", "norm_q."), ("k_norm.", "norm_k.")]  # fmt: skip


def replaced(name, pairs):
    for here, there in pairs:
        name = name.replace(there, here)
    return name


def ltx2_name(component, name):
    """Return the key of a tensor of a component in one file of LTX-2."""
    if component == "transformer":
        return PICTURE + replaced(name, TRANSFORMER)
    if component == "connectors":
        if "text_proj_in" in name:
            return "text_embedding_projection." + name.replace("text_proj_in", "aggregate_embed")
        name = re.sub(r"^(video|audio)_connector", r"\1_embeddings_connector", name)
        return PICTURE + replaced(name, SENSES)
    if component == "vocoder":
        name = name.replace("downsample.filter", "downsample.lowpass.filter")
        return "vocoder." + replaced(name, VOCODER)
    return "audio_vae." + replaced(name, SOUND)


def ace_name(component, name):
    """Return the key of a tensor of a component in the one file of ACE-Step 1.5."""
    if name == "null_condition_emb":
        return PICTURE + name
    start = {"transformer": "decoder.", "condition_encoder": "encoder.",
             "audio_tokenizer": "tokenizer.",
             "audio_token_detokenizer": "detokenizer."}[component]  # fmt: skip
    name = name.replace("proj_in_conv.", "proj_in.1.").replace("proj_out_conv.", "proj_out.1.")
    return PICTURE + start + replaced(name, ATTENTION)


def ltx2(*, newer):
    more = {"per_modality_projections": True, "proj_bias": True} if newer else {}
    modulated = {"cross_attn_mod": True, "audio_cross_attn_mod": True} if newer else {}
    return {
        "transformer": lambda: diffusers.LTX2VideoTransformer3DModel(**SMALL, **modulated),
        "connectors": lambda: LTX2TextConnectors(**more),
        "audio_vae": diffusers.AutoencoderKLLTX2Audio,
        "vocoder": LTX2VocoderWithBWE if newer else LTX2Vocoder,
    }


FAMILIES = {
    "ltx-2": (ltx2(newer=False), ltx2_name),
    "ltx-2 2.3": (ltx2(newer=True), ltx2_name),
    "ace-step 1.5": ({
        "transformer": lambda: diffusers.AceStepTransformer1DModel(**ACE, num_hidden_layers=2),
        "condition_encoder": lambda: diffusers.AceStepConditionEncoder(**LISTENING),
        "audio_tokenizer": lambda: diffusers.AceStepAudioTokenizer(**ACE),
        "audio_token_detokenizer": lambda: diffusers.AceStepAudioTokenDetokenizer(**ACE),
    }, ace_name),
}  # fmt: skip


def small(shape):
    return [max(4, extent // 64) if extent > 16 else extent for extent in shape]


def shapes_of(model):
    return {key: small(value.shape) for key, value in model.state_dict().items()}


@pytest.fixture(params=FAMILIES)
def model(request, tmp_path):
    """Return a model's name, its folders and files, and what is in two models of its kind."""
    components, named = FAMILIES[request.param]
    tables = {}
    for name, make in components.items():
        if "BWE" in getattr(make, "__name__", ""):  # its windows cannot be made without values
            tables[name] = shapes_of(make())
            continue
        with torch.device("meta"):
            tables[name] = shapes_of(make())
    found = []
    for seed, place in enumerate("ab"):
        random = np.random.default_rng(seed)
        folder = {
            (component, name): random.standard_normal(shape, "f4")
            for component, table in tables.items()
            for name, shape in table.items()
        }
        found.append(folder)
        save_file(original(folder, named), tmp_path / f"{place}.safetensors")
        for component in tables:
            own = {name: value for (where, name), value in folder.items() if where == component}
            (tmp_path / place / component).mkdir(parents=True)
            save_file(own, tmp_path / place / component / "diffusion_pytorch_model.safetensors")
            (tmp_path / place / component / "config.json").write_text("{}")
        entries = {component: ["diffusers", "Model"] for component in tables}
        (tmp_path / place / "model_index.json").write_text(json.dumps(entries))
    return request.param, found, named


def original(folder, named):
    """Return what one file has; the silence that ACE-Step has in a file of its own is not in it."""
    return {named(*key): array for key, array in folder.items() if key[1] != "silence_latent"}


def as_keys(folder):
    return {".".join(key): array for key, array in folder.items()}


def mixed(models):
    return {key: (0.7 * array + 0.3 * models[1][key]).astype("f4")
            for key, array in models[0].items()}  # fmt: skip


def assert_near(found, exact):
    assert found.keys() == exact.keys()
    for key, array in exact.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(("first", "other"), [("a", "b.safetensors"), ("a.safetensors", "b")])
def test_folder_and_file_merge_in_any_order(bmerge, model, tmp_path, first, other):
    name, models, named = model
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "weighted_sum", tmp_path / first, tmp_path / other, "--alpha", "0.3",
                    "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    exact = mixed(models)
    if first == "a":
        for key in exact:
            if key[1] == "silence_latent":
                exact[key] = models[0][key]
        exact = as_keys(exact)
    else:
        exact = original(exact, named)
    assert_near(load_file(out), exact)
    architectures = [detect(open_checkpoint(tmp_path / each).tensors, builtin())
                     for each in ("a", "a.safetensors")]  # fmt: skip
    assert {" ".join([each.id, *each.variant]) for each in architectures} == {name}
    blocks = {key: architectures[0].block_of(".".join(key)) for key in models[0]
              if key[1] != "silence_latent"}  # fmt: skip
    assert {key: architectures[1].block_of(named(*key)) for key in blocks} == blocks


def test_folder_becomes_a_file_and_a_file_a_folder(bmerge, model, tmp_path):
    kind, models, named = model
    out = tmp_path / "o.safetensors"
    called = bmerge("convert", tmp_path / "a", "--layout", "original", "-o", out)
    assert called.status == 0, called.err
    assert_near(load_file(out), original(models[0], named))
    called = bmerge("convert", tmp_path / "b.safetensors", "--layout", "diffusers",
                    "--configs", tmp_path / "a", "-o", tmp_path / "folder")  # fmt: skip
    assert called.status == 0, called.err
    needed = "b.safetensors has no 'condition_encoder.silence_latent', which the layout needs"
    assert (needed in called.err) is kind.startswith("ace-step")
    for component in {where for where, _ in models[1]}:
        own = {name: array for (where, name), array in models[1].items()
               if where == component and name != "silence_latent"}  # fmt: skip
        file = tmp_path / "folder" / component / "diffusion_pytorch_model.safetensors"
        assert_near(load_file(file), own)
