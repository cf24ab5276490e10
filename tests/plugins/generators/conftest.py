"""What the tests of all generators share: a merged model on disk, payloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge import Payload


class MergedFile:
    """A merged model as the pipeline hands it over: one file with a fresh name."""

    count = 0

    def __init__(self, folder: Path, weights: bytes) -> None:
        MergedFile.count += 1
        self.weights = weights
        self._path = folder / f"trial-{MergedFile.count}.safetensors"
        self.lent = None

    def layout(self):
        raise AssertionError("a server looks at the file")

    def into(self, state_dict) -> None:
        raise AssertionError("a server has no live tensors")

    def file(self, *, lent: bool = False) -> Path:
        self.lent = lent
        if not self._path.exists():
            self._path.write_bytes(self.weights)
        return self._path


@pytest.fixture
def merged(tmp_path):
    """Make a merged model from its bytes."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return lambda weights=b"weights": MergedFile(folder, weights)


@pytest.fixture
def models_dir(tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def payloads():
    """Make payloads with different seeds."""
    return lambda count=3, **fields: [
        Payload(f"p{number}", "a cat", seed=100 + number, **fields) for number in range(count)
    ]
