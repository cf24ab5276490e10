"""Layers in several threads: in order, within a budget, and never half."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from bmerge.lora import spread
from bmerge.lora.decompose import Wanted, factorise
from bmerge.lora.spread import in_order


def test_results_come_in_the_order_of_the_tasks_and_within_the_budget(monkeypatch):
    monkeypatch.setattr(spread, "_threads", lambda: 4)
    lock, busy, most = threading.Lock(), [0], [0]

    def task(number, size):
        with lock:
            busy[0] += size
            most[0] = max(most[0], busy[0])
        time.sleep(0.002 * (number % 3))
        with lock:
            busy[0] -= size
        return number

    sizes = [40, 30, 30, 20, 500, 10, 60, 60]  # one is beyond the budget, and works alone
    tasks = [(size, lambda n=n, size=size: task(n, size)) for n, size in enumerate(sizes)]
    assert list(in_order(tasks, budget=100)) == list(range(len(sizes)))
    assert most[0] == 500


def test_error_of_a_layer_ends_all(monkeypatch):
    monkeypatch.setattr(spread, "_threads", lambda: 2)
    done = []

    def fail():
        raise ValueError("of the second")

    tasks = [(1, lambda: 1), (1, fail), *((1, lambda n=n: done.append(n)) for n in range(50))]
    with pytest.raises(ValueError, match="of the second"):
        list(in_order(tasks))
    assert len(done) < 50


def test_factors_are_the_same_bits_for_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal(shape, dtype="f4") for shape in [(300, 700), (900, 200)] * 3]
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(spread, "_threads", lambda threads=threads: threads)
        tasks = [(1, lambda m=matrix: factorise(m, Wanted(8))) for matrix in matrices]
        found.append([(f.up.tobytes(), f.down.tobytes()) for f in in_order(tasks)])
    assert found[0] == found[1]
