"""Every instruction set, way of reading and number of threads gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bmerge.testing import write_checkpoint

LEVELS = ("portable", "avx2", "avx512")
"""A processor that lacks one takes its best, so that nothing is left out where it has them."""

SCRIPT = """
import hashlib, json, sys
from bmerge.cli import main

found = {}
for method in sys.argv[1:]:
    for io in ("read", "mmap"):
        for threads in ("1", "3"):
            words = ["merge", method, "a.safetensors", "b.safetensors", "c.safetensors"]
            words += ["-o", "out.safetensors", "--force", "--no-metadata", "--no-sync"]
            words += ["--executor", "native", "--io", io, "--threads", threads]
            try:
                main(words)
            except SystemExit as ended:
                assert not ended.code, ended.code
            data = open("out.safetensors", "rb").read()
            found[f"{method} {io} {threads}"] = hashlib.sha256(data).hexdigest()
print(json.dumps(found))
"""

METHODS = ("add_difference", "ties", "dare_linear", "model_stock", "euclidean_add_difference")


@pytest.fixture
def models(tmp_path):
    """Three files with tensors of F16 and F32: of odd sizes, and large enough for a sample."""
    random = np.random.default_rng(5)
    for name in "abc":
        tensors = {
            "odd.weight": random.normal(size=(7, 331)).astype("f2"),
            "large.weight": random.normal(size=(331, 1000)).astype("f2"),
            "column.bias": random.normal(size=4099).astype("f4"),
        }
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    return tmp_path


def test_levels_ways_of_reading_and_threads_give_the_same_bytes(models, monkeypatch):
    monkeypatch.chdir(models)
    digests: dict[str, set[str]] = {method: set() for method in METHODS}
    for level in LEVELS:
        monkeypatch.setenv("BMERGE_VECTORS", level)
        words = [sys.executable, "-c", SCRIPT, *METHODS]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        for name, digest in json.loads(done.stdout.splitlines()[-1]).items():
            digests[name.split()[0]].add(digest)
    assert {method: len(found) for method, found in digests.items()} == dict.fromkeys(METHODS, 1)
