"""The image statistics against worked values, an independent oracle and their stated ranges."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bmerge import Payload, Picture, Scorer
from bmerge_plugins.scorers import image_statistics

FACTORIES = {kind.name: kind.factory for kind in image_statistics.bmerge_scorers()}
RANGES = {
    "sharpness": (0, 1),
    "contrast": (0, 1),
    "colourfulness": (0, 3),
    "exposure": (0.04, 1),
    "entropy": (0, 1),
}


def _score(name: str, pixels: np.ndarray, mode: str | None = None) -> float:
    image = Image.fromarray(pixels.astype(np.uint8))
    picture = Picture(Payload("p", "a prompt"), image.convert(mode) if mode else image)
    (value,) = FACTORIES[name]().score([picture])
    return value


def _flat(*colour: int, size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), colour)


def _halves(left: tuple[int, ...], right: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([_flat(*left), _flat(*right)], axis=1)


def _noise(seed: int, side: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3))


@pytest.mark.parametrize("name", ["sharpness", "contrast", "entropy"])
def test_a_flat_picture_scores_zero(name: str) -> None:
    assert _score(name, _flat(90, 90, 90)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "pixels", "expected"),
    [
        pytest.param("contrast", _halves((0, 0, 0), (255, 255, 255)), 1.0, id="contrast-half"),
        pytest.param("colourfulness", _flat(128, 128, 128), 0.0, id="colourfulness-grey"),
        # rg = 255 and yb = 127.5 everywhere: 0.3 · hypot(255, 127.5) / 100
        pytest.param("colourfulness", _flat(255, 0, 0), 0.855296, id="colourfulness-red"),
        # rg = ±255, yb = 127.5: (255 + 0.3 · 127.5) / 100
        pytest.param("colourfulness", _halves((255, 0, 0), (0, 255, 0)), 2.9325, id="red-green"),
        pytest.param("exposure", _flat(0, 0, 0), np.exp(-3.125), id="exposure-black"),
        pytest.param("exposure", _flat(255, 255, 255), np.exp(-3.125), id="exposure-white"),
        pytest.param("entropy", _halves((0, 0, 0), (255, 255, 255)), 1 / 8, id="entropy-1-bit"),
        pytest.param(
            "entropy",
            np.repeat(np.arange(256).reshape(16, 16, 1), 3, axis=2),
            1.0,
            id="entropy-every-grey",
        ),
    ],
)
def test_a_worked_value(name: str, pixels: np.ndarray, expected: float) -> None:
    assert _score(name, pixels) == pytest.approx(expected, abs=1e-6)


def test_sharpness_equals_an_explicit_convolution() -> None:
    pixels = _noise(1, side=9)
    y = pixels.astype(float) @ [0.2126, 0.7152, 0.0722] / 255
    values = [
        y[i - 1, j] + y[i + 1, j] + y[i, j - 1] + y[i, j + 1] - 4 * y[i, j]
        for i in range(1, 8)
        for j in range(1, 8)
    ]
    variance = np.var(values)
    assert _score("sharpness", pixels) == pytest.approx(variance / (variance + 100 / 255**2))


def test_sharpness_falls_as_a_picture_is_blurred() -> None:
    sharp = Image.fromarray(_noise(2, side=32).astype(np.uint8))
    scores = [
        _score("sharpness", np.asarray(sharp.filter(ImageFilter.GaussianBlur(radius))))
        for radius in (0, 1, 2, 4)
    ]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 7, 3), (64, 48, 3)], ids=str)
def test_every_picture_stays_within_the_stated_range(name: str, shape: tuple[int, ...]) -> None:
    low, high = RANGES[name]
    rng = np.random.default_rng(3)
    for pixels in (rng.integers(0, 256, shape), rng.integers(0, 2, shape) * 255):
        value = _score(name, pixels)
        assert low <= value <= high
        assert isinstance(value, float)


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_other_modes_are_scored_as_rgb(name: str, mode: str) -> None:
    pixels = _halves((204, 204, 204), (51, 51, 51))  # exact in every palette
    assert _score(name, pixels, mode) == pytest.approx(_score(name, pixels))


@pytest.mark.parametrize("name", FACTORIES)
def test_scores_come_in_the_order_of_the_pictures(name: str) -> None:
    arrays = [_noise(seed) for seed in range(3)]
    pictures = [
        Picture(Payload(str(i), ""), Image.fromarray(a.astype(np.uint8)))
        for i, a in enumerate(arrays)
    ]
    scorer = FACTORIES[name]()
    assert isinstance(scorer, Scorer)
    assert scorer.score(pictures) == [_score(name, array) for array in arrays]


def test_offering_the_scorers_imports_no_numpy() -> None:
    code = (
        "import sys; from bmerge_plugins.scorers import image_statistics as s; "
        "s.bmerge_scorers(); print('numpy' in sys.modules, 'PIL' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
