"""Scores as text: short and true at any size."""

from __future__ import annotations

import pytest

from bmerge.trials.figures import figure


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"), (0.12345, "0.1235"), (-2.5, "-2.5000"), (1234567.25, "1234567.2500"),
        (1e-4, "0.0001"), (9.9e-5, "9.9e-05"), (1e-11, "1e-11"), (5e-324, "4.941e-324"),
        (1e7, "1e+07"), (-1e300, "-1e+300"),
    ],
    ids=str,
)  # fmt: skip
def test_a_score_is_written_for_reading(value, text):
    assert figure(value) == text


def test_digits_are_given():
    assert figure(0.12345, 2) == "0.12"
    assert figure(0.00123, 2) == "0.0012"
