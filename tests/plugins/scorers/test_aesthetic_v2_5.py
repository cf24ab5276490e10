"""Aesthetic predictor v2.5: a head in its layout over a small SigLIP of open_clip's, from disk."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from bmerge import ScorerError
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.scorers.aesthetic_v2_5 import aesthetic_v2_5

NAME = "bmerge-tiny-siglip"
CONFIG = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160, "timm_model_name": "test_vit", "timm_model_pretrained": False,
        "timm_pool": "map", "timm_proj": "none",
    },
    "text_cfg": {"context_length": 64, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    import open_clip

    root = tmp_path_factory.mktemp("siglip")
    (root / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(root / f"{NAME}.json")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.create_model(NAME)
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        widths = (64, 32, 16, 8, 4, 1)
        head = {}
        for n, pair in zip((0, 2, 4, 6, 8), itertools.pairwise(widths), strict=True):
            head[f"scoring_head.{n}.weight"] = torch.randn(pair[1], pair[0]).bfloat16()
            head[f"scoring_head.{n}.bias"] = torch.randn(pair[1]).bfloat16()
    torch.save(network.state_dict(), root / "siglip.pt")
    torch.save(head, root / "aesthetic_predictor_v2_5.pth")
    return root, network.eval(), head


def make(root, **options):
    options = {"model": NAME, "weights": "siglip.pt", "device": "cpu", **options}
    return aesthetic_v2_5(scorer_model_dir=str(root), **options)


def test_score_is_the_heads_view_of_the_pooled_picture(siglip):
    root, network, head = siglip
    pictures = sample_pictures(["x"])
    pixels = np.stack(
        [np.asarray(p.image.resize((160, 160), Image.BICUBIC), dtype=float) for p in pictures]
    )
    mean = np.array(network.visual.image_mean)
    spread = np.array(network.visual.image_std)
    pixels = ((pixels / 255 - mean) / spread).transpose(0, 3, 1, 2)
    with torch.no_grad():
        x = network.visual(torch.from_numpy(pixels).float()).double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for n in (0, 2, 4, 6, 8):
        x = x @ head[f"scoring_head.{n}.weight"].double().numpy().T
        x += head[f"scoring_head.{n}.bias"].double().numpy()
    scores = make(root).score(pictures)
    assert np.ptp(x) > 0.01
    if network.visual.preprocess_cfg.get("resize_mode", "shortest") != "squash":
        square = [i for i, p in enumerate(pictures) if p.image.width == p.image.height]
        x, scores = x[square], [scores[i] for i in square]
    assert scores == pytest.approx(x[:, 0].tolist(), rel=1e-4, abs=1e-4)
    check_scorer(make(root))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_comes_close(siglip, precision):
    pictures = sample_pictures(["x"])
    exact = make(siglip[0]).score(pictures)
    half = make(siglip[0], precision=precision).score(pictures)
    assert half == pytest.approx(exact, abs=0.1 * np.ptp(exact))


def test_head_is_asked_of_its_author_and_the_tower_is_fetched(siglip, tmp_path):
    with pytest.raises(
        ScorerError, match="there is no file .*aesthetic_predictor_v2_5.pth"
    ) as info:
        make(tmp_path)
    assert "AGPL-3.0" in info.value.hint
    assert "github.com/discus0434" in info.value.hint
    head = str(siglip[0] / "aesthetic_predictor_v2_5.pth")
    with pytest.raises(ScorerError, match=r"needs the file .*open_clip_model.safetensors") as info:
        aesthetic_v2_5(head=head, scorer_model_dir=str(tmp_path))
    assert "bmerge scorers fetch aesthetic_v2_5" in info.value.hint


def test_head_of_another_tower_is_refused(siglip, tiny_clip):
    scorer = make(
        siglip[0], model=tiny_clip.name, weights=str(tiny_clip.folder / "tiny.safetensors")
    )
    with pytest.raises(ScorerError, match="aesthetic_v2_5: the head is for embeddings of 64"):
        scorer.score(sample_pictures(["x"]))
