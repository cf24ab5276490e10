"""The points of initial designs are scipy's, without its statistics."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import qmc

from bmerge.study import sobol
from bmerge.study.sobol import sobol_points


@pytest.mark.parametrize("dimensions", [1, 2, 3, 26, 300])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_sobol_points_are_those_of_scipy_to_the_bit(monkeypatch, dimensions, elsewhere):
    if elsewhere:  # in a scipy that keeps its direction numbers in another place
        monkeypatch.setattr(sobol, "_file", lambda: None)
    for count in (1, 2, 3, 10, 33):
        rng = np.random.default_rng(dimensions)
        known = qmc.Sobol(dimensions, rng=rng).random_base2((count - 1).bit_length())[:count]
        found = sobol_points(dimensions, count, dimensions)
        assert found.dtype == known.dtype
        np.testing.assert_array_equal(found, known)


def test_sobol_points_bring_no_statistics():
    code = (
        "import sys; from bmerge.study.sobol import sobol_points; sobol_points(26, 10, 1);"
        "assert 'scipy.stats' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
