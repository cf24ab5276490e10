from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits

from bmerge.formats import open_checkpoint
from bmerge.rebasin import rule_of
from shuffled import BASE, write_shuffled


@pytest.fixture(autouse=True)
def _one_thread():
    """Small matrices are not worth waiting for a second core."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def shuffled(tmp_path_factory):
    """The demo's base model in a random order."""
    out = tmp_path_factory.mktemp("shuffled") / "shuffled.safetensors"
    return write_shuffled(BASE, rule_of(open_checkpoint(BASE)), out, seed=1)
