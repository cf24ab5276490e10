"""ImageReward on a small random model in the published layout, against transformers' BLIP."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bmerge import ScorerError
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.blip import WordPiece
from bmerge_plugins.scorers.imagereward import ImageReward

PROMPTS = ("a red circle", "Black!", "grey noise, high-quality, naïve " * 9)
WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "circle", "black", "grey", "noise", "high"),
    *("quality", "na", "##ive", "##ly", "!", ",", "-", "(", ")", ".", "##s", "##c", "##d", "b"),
    *("c", "d", "1", "##2", "日", "本"),
)
WIDE, NARROW, LAYERS, PATCH, SIDE = 128, 64, 2, 8, 32


def tensors():
    """Return random weights by the names and in the shapes of ImageReward.pt, only smaller."""
    draw = torch.Generator().manual_seed(0)
    out = {}

    def add(name, *shape, scale=0.1, mean=0.0):
        out[f"blip.{name}"] = mean + scale * torch.randn(*shape, generator=draw)

    def linear(name, inputs, outputs):
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs)

    def norm(name, width):
        add(f"{name}.weight", width, mean=1.0)
        add(f"{name}.bias", width)

    vision, text = "visual_encoder.", "text_encoder."
    add(f"{vision}cls_token", 1, 1, WIDE)
    add(f"{vision}pos_embed", 1, 1 + (SIDE // PATCH) ** 2, WIDE)
    add(f"{vision}patch_embed.proj.weight", WIDE, 3, PATCH, PATCH)
    add(f"{vision}patch_embed.proj.bias", WIDE)
    norm(f"{vision}norm", WIDE)
    for n in range(LAYERS):
        block = f"{vision}blocks.{n}."
        norm(f"{block}norm1", WIDE)
        norm(f"{block}norm2", WIDE)
        linear(f"{block}attn.qkv", WIDE, 3 * WIDE)
        linear(f"{block}attn.proj", WIDE, WIDE)
        linear(f"{block}mlp.fc1", WIDE, 4 * WIDE)
        linear(f"{block}mlp.fc2", 4 * WIDE, WIDE)
    out[f"blip.{text}embeddings.position_ids"] = torch.arange(64)[None]
    add(f"{text}embeddings.word_embeddings.weight", len(WORDS), NARROW)
    add(f"{text}embeddings.position_embeddings.weight", 64, NARROW)
    norm(f"{text}embeddings.LayerNorm", NARROW)
    for n in range(LAYERS):
        layer = f"{text}encoder.layer.{n}."
        for part, width in (("attention", NARROW), ("crossattention", WIDE)):
            linear(f"{layer}{part}.self.query", NARROW, NARROW)
            linear(f"{layer}{part}.self.key", width, NARROW)
            linear(f"{layer}{part}.self.value", width, NARROW)
            linear(f"{layer}{part}.output.dense", NARROW, NARROW)
            norm(f"{layer}{part}.output.LayerNorm", NARROW)
        linear(f"{layer}intermediate.dense", NARROW, 4 * NARROW)
        linear(f"{layer}output.dense", 4 * NARROW, NARROW)
        norm(f"{layer}output.LayerNorm", NARROW)
    linear("vision_proj", WIDE, 16)
    linear("text_proj", NARROW, 16)
    for n, (inputs, outputs) in zip(
        (0, 2, 4, 6, 7), ((NARROW, 32), (32, 16), (16, 8), (8, 4), (4, 1)), strict=True
    ):
        out[f"mlp.layers.{n}.weight"] = torch.randn(outputs, inputs, generator=draw)
        out[f"mlp.layers.{n}.bias"] = torch.randn(outputs, generator=draw)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("reward")
    for name in ("ImageReward", "bert-base-uncased"):
        (root / name).mkdir()
    torch.save(tensors(), root / "ImageReward" / "ImageReward.pt")
    (root / "bert-base-uncased" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return root


def make(folder, **options):
    return ImageReward(scorer_model_dir=str(folder), device="cpu", **options)


def reference(pictures, folder):
    """Return what transformers' BLIP says, with the head in numpy."""
    transformers = pytest.importorskip("transformers")
    import open_clip

    known = {k.removeprefix("blip."): v for k, v in tensors().items()}
    vision = transformers.BlipVisionModel(
        transformers.BlipVisionConfig(
            hidden_size=WIDE, intermediate_size=4 * WIDE, num_hidden_layers=LAYERS,
            num_attention_heads=WIDE // 64, image_size=SIDE, patch_size=PATCH, layer_norm_eps=1e-6,
        )
    ).eval()  # fmt: skip
    renames = (
        (r"cls_token", "embeddings.class_embedding"),
        (r"pos_embed", "embeddings.position_embedding"),
        (r"patch_embed\.proj", "embeddings.patch_embedding"), (r"^norm\.", "post_layernorm."),
        (r"blocks\.", "encoder.layers."), (r"attn\.qkv", "self_attn.qkv"),
        (r"attn\.proj", "self_attn.projection"), (r"norm(\d)", r"layer_norm\1"),
    )  # fmt: skip
    theirs = {}
    for name, tensor in known.items():
        if name.startswith("visual_encoder."):
            new_name = name.removeprefix("visual_encoder.")
            for pattern, new in renames:
                new_name = re.sub(pattern, new, new_name)
            theirs[new_name] = tensor
    vision.load_state_dict(theirs)
    text = transformers.BlipTextModel(
        transformers.BlipTextConfig(
            vocab_size=len(WORDS), hidden_size=NARROW, encoder_hidden_size=WIDE,
            intermediate_size=4 * NARROW, num_hidden_layers=LAYERS, num_attention_heads=1,
            max_position_embeddings=64, layer_norm_eps=1e-12, is_decoder=True,
        ),
        add_pooling_layer=False,
    ).eval()  # fmt: skip
    missing = text.load_state_dict(
        {k.removeprefix("text_encoder."): v for k, v in known.items() if k.startswith("text_enc")},
        strict=False,
    )
    assert not [key for key in missing.missing_keys if "position_ids" not in key]
    tokens = WordPiece(folder / "bert-base-uncased" / "vocab.txt")
    preprocess = open_clip.image_transform(
        SIDE, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD
    )
    scores = []
    for picture in pictures:  # one by one, without padding
        ids = torch.tensor([tokens.encode(picture.payload.prompt, 35)])
        with torch.no_grad():
            seen = vision(preprocess(picture.image)[None]).last_hidden_state
            x = text(ids, encoder_hidden_states=seen, is_decoder=False).last_hidden_state[0, 0]
        x = x.double().numpy()
        for n in (0, 2, 4, 6, 7):
            x = known[f"mlp.layers.{n}.weight"].double().numpy() @ x
            x = x + known[f"mlp.layers.{n}.bias"].double().numpy()
        scores.append((float(x[0]) - 0.16717362830052426) / 1.0333394966054072)
    return scores


def test_score_is_that_of_an_independent_blip(folder):
    pictures = sample_pictures(PROMPTS)
    expected = reference(pictures, folder)
    assert np.ptp(expected) > 0.1
    assert make(folder).score(pictures) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    check_scorer(make(folder), prompts=PROMPTS)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_comes_close(folder, precision):
    pictures = sample_pictures(PROMPTS)
    exact = make(folder).score(pictures)
    spread = np.ptp(exact)
    assert make(folder, precision=precision).score(pictures) == pytest.approx(
        exact, abs=0.1 * spread
    )


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_score_does_not_depend_on_the_batch(folder, batch):
    pictures = sample_pictures(PROMPTS)
    exact = make(folder).score(pictures)
    assert make(folder, batch=batch).score(pictures) == pytest.approx(exact, rel=1e-4, abs=1e-4)


def test_weights_may_be_safetensors(folder):
    from safetensors.torch import save_file

    save_file(tensors(), folder / "reward.safetensors")
    pictures = sample_pictures(PROMPTS)
    assert make(folder, weights="reward.safetensors").score(pictures) == make(folder).score(
        pictures
    )


def test_what_is_missing_is_named_with_the_command(tmp_path):
    with pytest.raises(ScorerError, match=r"needs the file .*ImageReward.pt") as info:
        make(tmp_path)
    assert "bmerge scorers fetch imagereward" in info.value.hint
    (tmp_path / "ImageReward").mkdir()
    torch.save(tensors(), tmp_path / "ImageReward" / "ImageReward.pt")
    with pytest.raises(ScorerError, match=r"needs the file .*vocab.txt"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mlp.layers.7.bias": None}, "it has no 'mlp.layers.7.bias'"),
        ({"blip.visual_encoder.blocks.1.mlp.fc2.bias": None}, "it has no 'visual_encoder.blocks"),
        ({"blip.text_encoder.encoder.layer.0.output.dense.weight": torch.zeros(3, 3)}, "not Image"),
    ],
    ids=["head", "vision", "text"],
)
def test_another_model_is_refused_when_it_is_loaded(folder, tmp_path, change, message):
    changed = {k: v for k, v in {**tensors(), **change}.items() if v is not None}
    torch.save(changed, tmp_path / "x.pt")
    with pytest.raises(ScorerError) as info:
        make(folder, weights=str(tmp_path / "x.pt"))
    assert message in str(info.value)
    (tmp_path / "y.pt").write_bytes(b"half a file")
    with pytest.raises(ScorerError, match=r"y.pt cannot be read as ImageReward"):
        make(folder, weights=str(tmp_path / "y.pt"))


def test_vocabulary_must_be_one(folder, tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ScorerError, match="is not a vocabulary of BERT"):
        make(folder, vocabulary=str(tmp_path / "vocab.txt"))


@given(
    text=st.text(
        st.sampled_from("aredcirclenoiseABCD12,.!-() \t日本éïñ\u0301\u200b\0x"), max_size=40
    )
)
def test_tokens_are_those_of_the_reference(text):
    tokenizers = pytest.importorskip("tokenizers")
    ids = dict(zip(WORDS, range(len(WORDS)), strict=True))
    theirs = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    theirs.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    ours = WordPiece.__new__(WordPiece)
    ours._ids = ids
    assert ours.encode(text, 99)[1:-1] == theirs.encode(text, add_special_tokens=False).ids
