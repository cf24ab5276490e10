"""PIQE against its definition, block by block, and on pictures that are spoilt more and more."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from bmerge import Payload, Picture
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.scorers.naturalness import bmerge_scorers


def photo(seed, size=(208, 176)):
    """Return something like a photograph: structure of every scale, edges, a little grain."""
    rng = np.random.default_rng(seed)
    width, height = size
    total = np.zeros((height, width))
    for scale in (64, 32, 16, 8, 4, 2):
        coarse = rng.normal(size=(height // scale + 2, width // scale + 2)).astype("float32")
        total += scale**0.5 * np.asarray(Image.fromarray(coarse).resize(size, Image.BICUBIC))
    total = 128 + 40 * (total - total.mean()) / total.std() + rng.normal(0, 1.5, total.shape)
    image = Image.fromarray(total.clip(0, 255).astype("uint8")).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.integers(0, width), rng.integers(0, height)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.line((x, y, *(int(v) for v in rng.integers(0, 176, 2))), colour, 2)
    return image


def score(*images):
    (kind,) = bmerge_scorers()
    return kind.create(options={}).score([Picture(Payload("p", "x"), i) for i in images])


def oracle(image):
    """Return 1 - PIQE / 100 by loops over blocks and pixels."""
    grey = np.asarray(image.convert("L"), dtype=float)
    rows, columns = grey.shape
    flip = lambda i, n: i if i < n else 2 * n - 1 - i  # noqa: E731
    grey = np.array(
        [[grey[flip(y, rows), flip(x, columns)] for x in range(-(-columns // 16) * 16)]
         for y in range(-(-rows // 16) * 16)]
    )  # fmt: skip
    grey = np.round(255 * grey / grey.max())
    kernel = np.array([[np.exp(-(a * a + b * b) / (2 * (7 / 6) ** 2)) for a in range(-3, 4)]
                       for b in range(-3, 4)])  # fmt: skip
    kernel /= kernel.sum()
    wide = np.pad(grey, 3, mode="edge")
    mean, square = np.zeros_like(grey), np.zeros_like(grey)
    for dy in range(7):
        for dx in range(7):
            part = wide[dy : dy + grey.shape[0], dx : dx + grey.shape[1]]
            mean += kernel[dy, dx] * part
            square += kernel[dy, dx] * part**2
    normal = (grey - mean) / (np.sqrt(abs(square - mean**2)) + 1)
    spoilt = count = 0
    for y in range(0, grey.shape[0], 16):
        for x in range(0, grey.shape[1], 16):
            block = normal[y : y + 16, x : x + 16]
            variance = np.var(block, ddof=1)
            if variance <= 0.1:
                continue
            count += 1
            for edge in (block[0], block[15], block[:, 0], block[:, 15]):
                if any(np.std(edge[i : i + 6], ddof=1) < 0.1 for i in range(11)):
                    spoilt += 1 - variance
                    break
            centre = np.std(block[:, 7:9], ddof=1)
            ratio = centre / np.std(np.hstack([block[:, :7], block[:, 9:]]), ddof=1)
            sigma = variance**0.5
            if sigma > 2 * abs(sigma - ratio) / max(sigma, ratio):
                spoilt += variance
    return min(max(1 - (spoilt + 1) / (count + 1), 0), 1)


def spoilt(image, way, amount):
    if way == "blur":
        return image.filter(ImageFilter.GaussianBlur(amount))
    if way == "noise":
        noise = np.random.default_rng(0).normal(0, amount, (image.height, image.width, 1))
        return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype("uint8"))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=amount)
    return Image.open(file)


@pytest.mark.parametrize("size", [(208, 176), (100, 37), (16, 16), (250, 130)], ids=str)
def test_score_is_what_the_definition_says(size):
    for image in (photo(3, size), spoilt(photo(4, size), "blur", 2),
                  spoilt(photo(5, size), "jpeg", 8)):  # fmt: skip
        assert score(image) == [pytest.approx(oracle(image), abs=1e-9)]


@pytest.mark.parametrize(
    ("way", "amounts"), [("blur", (1, 2, 4)), ("jpeg", (30, 10, 4)), ("noise", (15, 40))]
)
def test_the_more_a_picture_is_spoilt_the_less_it_scores(way, amounts):
    for seed in range(3):
        image = photo(seed)
        scores = score(image, *(spoilt(image, way, amount) for amount in amounts))
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > scores[-1] + 0.1


def test_scorer_keeps_the_protocol():
    (kind,) = bmerge_scorers()
    check_scorer(kind.create(options={}))
    scores = kind.create(options={}).score(sample_pictures(["x"]))
    assert scores[:2] == [0.0, 0.0]  # nothing to be seen in plain pictures
    assert all(0 <= s <= 1 for s in scores)
