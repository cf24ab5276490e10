"""Failures of somebody else's code: one line, and the place to look at."""

from __future__ import annotations

import runpy

import pytest

from bmerge import RecipeError
from bmerge.faults import explained, in_one_line, place_of


def _caught(file) -> BaseException:
    with pytest.raises((AssertionError, ZeroDivisionError, SyntaxError)) as caught:
        runpy.run_path(str(file))
    error = caught.value  # as if bmerge had called it: without the frames of this test
    while error.__traceback__ and error.__traceback__.tb_frame.f_code.co_filename == __file__:
        error.__traceback__ = error.__traceback__.tb_next
    return error


def test_the_plugin_line_is_named_where_it_calls_others_wrongly(write_plugin):
    file = write_plugin(
        "bad.py", "import numpy.testing\ndef f():\n    numpy.testing.assert_equal(1, 2)\nf()\n"
    )
    error = _caught(file)
    assert place_of(error) == f"{file}:3"
    assert in_one_line(error).endswith(f"({file}:3)")


def test_a_neighbour_that_it_calls_is_named(write_plugin, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    near = write_plugin("neighbour_of_bad.py", "def f():\n    return 1 / 0\n")
    error = _caught(write_plugin("bad.py", "from neighbour_of_bad import f\nf()\n"))
    assert place_of(error) == f"{near}:2"


def test_a_syntax_error_names_its_own_line(write_plugin):
    file = write_plugin("bad.py", "a = 1\nb = = 2\n")
    assert place_of(_caught(file)) == f"{file}:2"


def test_lines_are_joined_and_errors_of_ours_speak_for_themselves():
    assert in_one_line(ValueError("out of\n luck")) == "ValueError: out of luck"
    assert in_one_line(ValueError()) == "ValueError"
    assert in_one_line(RecipeError("wrong", path="a.yaml")) == "a.yaml: wrong"


class Panic(BaseException):
    """What a library in Rust raises where it panics: a tokenizer, say."""


@pytest.mark.parametrize("error", [Panic("out of range"), GeneratorExit("out of range")])
def test_a_panic_counts_as_a_failure(error):
    told = f"it failed: {type(error).__name__}: out of range"
    with pytest.raises(RecipeError, match=told), explained("it failed", RecipeError):
        raise error


def test_an_interrupt_is_no_failure():
    with pytest.raises(KeyboardInterrupt), explained("it failed", RecipeError):
        raise KeyboardInterrupt
