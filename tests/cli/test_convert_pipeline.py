"""A folder that bmerge writes, as diffusers opens it, against the single file as diffusers does."""

from __future__ import annotations

import pytest

from bmerge.formats import open_checkpoint
from tiny_pipelines import tiny_sd2, tiny_sdxl, write_config, write_vocabulary

torch = pytest.importorskip("torch")
MODELS = ("unet", "vae", "text_encoder", "text_encoder_2")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", [pytest.param("sd2", marks=pytest.mark.slow), "sdxl"])
def test_diffusers_opens_the_folder_as_the_file_that_it_is_made_of(bmerge, tmp_path, family):
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    kind, write = {
        "sd2": (StableDiffusionPipeline, tiny_sd2),
        "sdxl": (StableDiffusionXLPipeline, tiny_sdxl),
    }[family]
    file = tmp_path / "a.safetensors"
    write(file, 1)
    base = write_vocabulary(write_config(tmp_path / "base", family))
    out = tmp_path / "out"
    called = bmerge("convert", file, "--layout", "diffusers", "--configs", base, "-o", out)
    assert called.status == 0, called.err
    folder = kind.from_pretrained(out, local_files_only=True)
    single = kind.from_single_file(str(file), config=str(base), local_files_only=True)
    for name in MODELS:
        expected = getattr(single, name, None)
        if expected is not None:
            found = getattr(folder, name).state_dict()
            assert found.keys() == expected.state_dict().keys()
            for key, value in expected.state_dict().items():
                assert torch.equal(found[key], value), (name, key)
    if family == "sdxl":  # of SD2 the number of layers tells, of which a tiny one has too few
        back = tmp_path / "back.safetensors"
        assert bmerge("convert", out, "--layout", "original", "-o", back).status == 0
        again = open_checkpoint(back).tensors
        lost = open_checkpoint(file).tensors.keys() - again.keys()
        assert all(key.endswith(("logit_scale", "position_ids")) for key in lost)
