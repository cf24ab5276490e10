"""Models with the same tensors that do not belong together are told by a warning."""

from __future__ import annotations

import pytest

from bmerge.testing.checkpoints import write_random
from bmerge.testing.layouts import sd1_layout, shrink
from merges import plan_of

LAYOUT = [e for e in shrink(sd1_layout()) if "_blocks." in e[0] and e[0].endswith("weight")][::5]
"""Enough of the keys for the architecture to be known."""


@pytest.fixture
def sd1(tmp_path):
    def write(name, *, marked=False, metadata=None):
        layout = [*LAYOUT, *([("v_pred", "F16", (1,))] if marked else [])]
        return write_random(tmp_path / f"{name}.safetensors", layout, seed=0, metadata=metadata)

    return write


def unlike(paths, **options):
    return [w for w in plan_of(paths, **options).warnings if "a mean of the two" in w]


@pytest.mark.parametrize("how", ["marker", "modelspec", "comfyui"])
def test_v_prediction_and_noise_prediction_are_not_mixed_in_silence(sd1, how):
    metadata = {
        "marker": None, "modelspec": {"modelspec.prediction_type": "v"},
        "comfyui": {"modelspec.predict_key": "v"},
    }[how]  # fmt: skip
    v, plain = sd1("a", marked=how == "marker", metadata=metadata), sd1("b")
    (said,) = unlike([plain, v])
    assert said.startswith("b.safetensors does not, as far as it says, a.safetensors predicts v: ")
    assert "predicts neither" in said
    assert unlike([v, v]) == unlike([plain, plain]) == []
    assert unlike([v, plain, plain], method="add_difference") == []
    assert len(unlike([plain, v, plain], method="add_difference")) == 1


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("z_image_turbo_bf16", "z_image_bf16", "is distilled (turbo)"),
        ("sdxl_lightning_4step", "juggernaut", "is distilled (lightning)"),
        ("wan2.2_t2v_high_noise_14B", "wan2.2_t2v_low_noise_14B", "is for low noise"),
        ("dreamXLTurbo_v2", "dreamXL", "is distilled (turbo)"),
        ("Hyper-SDXL-8steps", "sdxl", "is distilled (hyper)"),
        ("hyperrealism", "realism", ""),
        ("hyper-real", "real", ""),
        ("turbovision", "other", ""),
        ("a_turbo", "b-turbo", ""),
        ("wan_high_noise", "wan", ""),
    ],
)
def test_what_names_tell_is_a_warning(sd1, first, second, told):
    said = unlike([sd1(first), sd1(second)])
    assert [told in line for line in said] == ([True] if told else [])
