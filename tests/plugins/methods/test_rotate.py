"""Parts of a turn: what their composition and their ends must be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from method_cases import OFFERED

rotate = OFFERED["rotate"]


def _turned(shape, seed=0):
    """Return a model and the same turned by less than a quarter in every plane."""
    random = np.random.default_rng(seed)
    a = torch.from_numpy(random.standard_normal(shape).astype(np.float32))
    columns = math.prod(shape) // shape[0]
    skew = torch.from_numpy(random.standard_normal((columns, columns)) * 0.3 / columns**0.5)
    turn = torch.matrix_exp(skew - skew.mT).float()
    return a, (a.reshape(shape[0], -1) @ turn).reshape(shape), turn


@pytest.mark.parametrize("shape", [(30, 12), (7, 6), (12, 3, 1, 1)])
def test_whole_turn_finds_the_turned_model(shape):
    a, b, _ = _turned(shape)
    result = rotate(a, b, alignment=1.0, alpha=0.0, centralization=0.0)
    torch.testing.assert_close(result, b, rtol=1e-3, atol=1e-4)


def test_half_a_turn_twice_is_a_whole_one():
    a, b, turn = _turned((30, 12))
    half = rotate(a, b, alignment=0.5, alpha=0.0, centralization=0.0)
    assert float(half.norm()) == pytest.approx(float(a.norm()), rel=1e-5)
    assert float((half - a).norm()) == pytest.approx(float((half - b).norm()), rel=1e-3)
    twice = rotate(half, a @ turn, alignment=1.0, centralization=0.0)
    torch.testing.assert_close(twice, b, rtol=1e-3, atol=1e-4)
    exact = torch.linalg.lstsq(a.double(), half.double()).solution
    torch.testing.assert_close(exact @ exact, turn.double(), rtol=1e-3, atol=1e-4)


def test_turn_of_a_wide_matrix_keeps_its_length():
    a = torch.from_numpy(np.random.default_rng(1).standard_normal((4, 40)).astype(np.float32))
    b = torch.from_numpy(np.random.default_rng(2).standard_normal((4, 40)).astype(np.float32))
    for alignment in (0.3, 0.7, 1.0):
        result = rotate(a, b, alignment=alignment, centralization=0.0)
        assert float(result.norm()) == pytest.approx(float(a.norm()), rel=1e-4)
    assert (result - b).norm() < (a - b).norm()


def test_two_mirrored_axes_are_half_a_turn():
    a = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    result = rotate(a, a * torch.tensor([-1.0, -1.0, 1.0]), alignment=0.5, centralization=0.0)
    np.testing.assert_allclose(result.norm(dim=1), [1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(result.diagonal(), [0, 0, 3], atol=1e-6)
