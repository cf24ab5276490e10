from __future__ import annotations

import json
import re

import numpy as np
import pytest

from bmerge.testing import read_checkpoint


def test_weights_of_every_key_are_those_of_the_merge(bmerge, sd1_models, tmp_path):
    value = "GRAD_V:GRAD_A@0.25,M00=1,*attn2*=0.125,*.attn2.to_k.*=0.75"
    shown = json.loads(bmerge("weights", "show", value, "--model", sd1_models[0], "--json").out)
    out = tmp_path / "out.safetensors"
    bmerge("merge", "weighted_sum", *sd1_models[:2], "--alpha", value, "--dtype", "fp32", "-o", out)
    a, b, merged = map(read_checkpoint, (*sd1_models[:2], out))
    assert shown["architecture"] == "sd1"
    assert shown["blocks"]["IN01"] == pytest.approx(0.75 * 11 / 12 + 0.25 / 12)
    assert list(shown["keys"]) == list(a)
    for key, alpha in shown["keys"].items():
        if a[key].dtype.kind == "f":
            exact = (1 - alpha) * a[key].astype("f8") + alpha * b[key].astype("f8")
            np.testing.assert_allclose(merged[key], exact, rtol=0, atol=1e-7, err_msg=key)


def test_weights_are_printed_block_by_block(bmerge):
    called = bmerge("weights", "show", "GRAD_V")
    assert called.status == 0
    assert re.search(r"^IN01 +0\.916667 +#+$", called.out, re.MULTILINE)
    assert re.search(r"^M00 +0\.000000$", called.out, re.MULTILINE)
    assert "SMOOTHSTEP*3" in bmerge("weights", "list").out
    assert len(json.loads(bmerge("weights", "list", "--json").out)["WRAP08"]) == 26


def test_keys_are_listed_with_their_values(bmerge, sd1_models):
    out = bmerge("weights", "show", "*=0.5,*.attn2.*=0.3", "--model", sd1_models[0], "--keys").out
    assert len(out.splitlines()) == 1132
    assert sum(line.endswith(" 0.300000") for line in out.splitlines()) == 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["GRAD_V", "--keys"], "--keys needs --model FILE"),
        (["0.5", "--architecture", "wan"], "as many blocks as a checkpoint has layers"),
        (["GRAD_V:GRAD_A"], "is written GRAD_V:GRAD_A@0.5"),
        (["GRAD_V:GRAD_A@x"], "bad number 'x'"),
        (["GRAD_V:GRAD_W@0.5"], "'GRAD_W' is neither a number nor a preset"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_shown_is_one_line(bmerge, words, said):
    called = bmerge("weights", "show", *words)
    assert called.status != 0
    assert said in called.err
    assert called.out == ""
