"""What every merge method computes, in numpy float64, written from the published formulas.

Independent of bmerge: neither the methods' bodies nor bmerge.ops are used. The four methods that
the project is named for are in ``oracle.py``, with tighter bounds.
"""

from __future__ import annotations

from oracles import elementwise, reductions, task_vectors, whole

_MODULES = (elementwise, reductions, task_vectors, whole)


def oracle(name):
    """Return the oracle of a method: a function of its models and hyperparameters."""
    return next(getattr(module, name) for module in _MODULES if hasattr(module, name))
