"""Merged models that are folders tell their recipes as files do."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.testing import tiny_sd1, write_checkpoint


@pytest.fixture
def models(tmp_path):
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed=seed)
    return [tmp_path / f"{name}.safetensors" for name in "ab"]


def merged(bmerge, models, *options):
    called = bmerge("merge", "weighted_sum", *models, "--alpha", "0.3", *options)
    assert called.status == 0, called.err


def bytes_in(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("word", ["", "model.safetensors.index.json"], ids=["folder", "index"])
def test_folder_of_shards_is_merged_again_to_the_byte(bmerge, tmp_path, models, word):
    merged(bmerge, models, "--shard-size", "200K", "-o", tmp_path / "shards")
    assert len(bytes_in(tmp_path / "shards")) > 2
    again = bmerge("merge", tmp_path / "shards" / word, "--search", tmp_path,
                   "--shard-size", "200K", "-o", tmp_path / "again")  # fmt: skip
    assert again.status == 0, again.err
    assert bytes_in(tmp_path / "again") == bytes_in(tmp_path / "shards")
    told = bmerge("recipe", "import", tmp_path / "shards" / word)
    assert told.status == 0, told.err
    assert "weighted_sum" in told.out


def test_a_folder_without_a_model_stays_the_name_of_a_method(bmerge, tmp_path, models, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weighted_sum").mkdir()
    (tmp_path / "weighted_sum" / "notes.txt").write_text("mine")
    merged(bmerge, models, "-o", tmp_path / "out.safetensors")


def test_folder_that_tells_no_recipe_is_an_error(bmerge, tmp_path):
    (tmp_path / "llm").mkdir()
    write_checkpoint(tmp_path / "llm" / "model.safetensors", {"a": np.zeros(2)})
    called = bmerge("merge", tmp_path / "llm", "-o", tmp_path / "o.safetensors")
    assert called.status == 1
    assert "neither bmerge.recipe" in called.err
