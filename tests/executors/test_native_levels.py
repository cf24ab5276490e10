"""Every instruction set, way of reading and number of threads gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bmerge.testing import write_checkpoint
from method_cases import OFFERED

LEVELS = ("portable", "avx2", "avx512")
"""A processor that lacks one takes its best, so that nothing is left out where it has them."""

SCRIPT = """
import hashlib, itertools, json, sys
from bmerge import merge
from bmerge.errors import ExecutorError

found = {}
methods, ways = json.loads(sys.argv[1])
quick = dict(executor="native", overwrite=True, metadata=False, hashes=False, sync=False)
for (method, count), (io, threads) in itertools.product(methods.items(), ways):
    models = [f"{name}.safetensors" for name in "abcd"[:count]]
    try:
        merge(method, *models, output="out.safetensors", io=io, threads=threads, **quick)
        digest = hashlib.sha256(open("out.safetensors", "rb").read()).hexdigest()
    except ExecutorError as refused:
        assert "needs whole tensors" in str(refused), refused
        digest = None
    found.setdefault(method, []).append(digest)
print(json.dumps(found))
"""

WAYS = (("read", 1), ("read", 3), ("mmap", 1), ("mmap", 3))

DTYPES = {"odd.weight": "F16", "large.weight": "F16", "wide.weight": "BF16", "tiny.weight": "BF16"}
"""The rest is F32."""

METHODS = (
    "weighted_sum", "slerp", "model_stock", "euclidean_add_difference", "ties", "dare_linear",
)  # fmt: skip
"""One of each kind: straight from bytes, with sums, with k-th values, with random numbers."""

ALL = sorted(OFFERED.keys() - {"add"})
"""`add` takes a difference, which no file is."""


@pytest.fixture
def models(tmp_path):
    """Four files of F16, BF16 and F32: of odd sizes, large enough for a sample, and of numbers that
    a careless conversion would take for zero.
    """
    random = np.random.default_rng(5)
    for name in "abcd":
        values = random.normal(size=(331, 1000))
        tensors = {
            "odd.weight": random.normal(size=(7, 331)),
            "large.weight": values,
            "wide.weight": values[::-1],
            "tiny.weight": values[:9] * 1e-39,
            "column.bias": random.normal(size=4099),
        }
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype=DTYPES)
    return tmp_path


def digests(methods, ways, monkeypatch):
    """Return method → the different outputs, None where it is refused, of levels and ways."""
    found: dict[str, set[str | None]] = {method: set() for method in methods}
    counts = {name: len(OFFERED[name].model_names) + 3 * OFFERED[name].variadic for name in methods}
    for level in LEVELS:
        monkeypatch.setenv("BMERGE_VECTORS", level)
        words = [sys.executable, "-c", SCRIPT, json.dumps([counts, ways])]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        for method, some in json.loads(done.stdout.splitlines()[-1]).items():
            found[method].update(some)
    return found


def test_levels_ways_of_reading_and_threads_give_the_same_bytes(models, monkeypatch):
    monkeypatch.chdir(models)
    found = digests(METHODS, (WAYS[0], WAYS[3]), monkeypatch)
    assert {method: len(some) for method, some in found.items()} == dict.fromkeys(METHODS, 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_method_gives_the_same_bytes_by_every_level_way_and_number_of_threads(
    models, monkeypatch
):
    monkeypatch.chdir(models)
    found = digests(ALL, WAYS, monkeypatch)
    assert {method: len(some) for method, some in found.items()} == dict.fromkeys(ALL, 1)
    assert sum(some != {None} for some in found.values()) > 50
