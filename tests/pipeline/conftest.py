from __future__ import annotations

import pytest

from bmerge.testing.checkpoints import tiny_sd1


@pytest.fixture(autouse=True)
def _own_hash_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Two tiny SD1 checkpoints, F16."""
    folder = tmp_path_factory.mktemp("models")
    return [tiny_sd1(folder / f"{name}.safetensors", i) for i, name in enumerate("ab")]
