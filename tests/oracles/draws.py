"""The random numbers that a method draws for a tensor; Philox itself is tested elsewhere."""

from __future__ import annotations

import math

import numpy as np

from bmerge.expr import philox


def uniform(shape, seed, stream=0):
    return philox.uniform(seed, stream, 0, math.prod(shape)).astype(np.float64).reshape(shape)


def normal(shape, seed, stream=0):
    return philox.normal(seed, stream, 0, math.prod(shape)).astype(np.float64).reshape(shape)
