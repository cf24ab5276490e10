"""Reading that tunes itself: what was tried is told, and the bytes are the same by every way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge.testing import write_checkpoint

COUNT = 18_000_000


@pytest.mark.parametrize("method", ["weighted_sum", "slerp"])
def test_ways_of_reading_give_the_same_bytes_and_the_first_units_try_both(
    method, bmerge, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name, step in (("a", 7), ("b", 11)):
        values = (np.arange(COUNT, dtype="u4") * step % 1009).astype("f4") - 500
        write_checkpoint(tmp_path / f"{name}.safetensors", {"x.weight": values})
    found = {}
    for io in ("read", "mmap", "auto"):
        words = ("a.safetensors", "b.safetensors", "--alpha", "0.3", "--no-metadata", "--no-sync")
        called = bmerge("merge", method, *words, "-o", f"{io}.safetensors", "--io", io, "--json")
        assert called.status == 0, called.err
        found[io] = json.loads(called.out)["reading"]
    assert found["read"] is None
    assert found["mmap"] is None
    costs = {way: found["auto"][way] for way in ("read", "mmap")}
    assert min(costs.values()) > 0
    assert costs[found["auto"]["faster"]] == min(costs.values())
    bytes_of = {io: (tmp_path / f"{io}.safetensors").read_bytes() for io in found}
    assert bytes_of["read"] == bytes_of["mmap"] == bytes_of["auto"]
