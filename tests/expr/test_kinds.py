"""The rules of kinds: not looser than those of the native engine, and not torn from torch's."""

from __future__ import annotations

import itertools

import pytest

from bmerge import _native
from bmerge.expr.eager import OPS
from bmerge.expr.graph import REDUCTIONS
from bmerge.expr.kinds import WHOLE, Extent, KindError, ValueKind, kind_of
from bmerge.expr.window import POSITIONS

# One node of each kind, over one input, in terms of earlier nodes.
LEAVES = [
    ("input", (), (0,)),  # 0: per element
    ("numel", (), ()),  # 1: per tensor
    ("sum", (0,), (0,)),  # 2: per column
    ("sum", (0,), (-1,)),  # 3: per vector
    ("less", (0, 0), ()),  # 4: boolean per element
    ("less", (1, 1), ()),  # 5: boolean per tensor
    ("less", (2, 2), ()),  # 6: boolean per column
]
KINDS = [
    ValueKind(Extent.ELEMENTS),
    ValueKind(Extent.SCALAR),
    ValueKind(Extent.COLUMNS),
    ValueKind(Extent.VECTORS),
    ValueKind(Extent.ELEMENTS, boolean=True),
    ValueKind(Extent.SCALAR, boolean=True),
    ValueKind(Extent.COLUMNS, boolean=True),
]
ARITY = {"where": 3, "vecdot": 2, "kth_abs": 2} | dict.fromkeys(
    ["add", "subtract", "multiply", "divide", "pow", "minimum", "maximum", "copysign", "less",
     "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or"],
    2,
)  # fmt: skip


def _constants(op):
    return [(axis,) for axis in (WHOLE, 0, -1)] if op in REDUCTIONS - {"kth_abs"} else [()]


@pytest.mark.parametrize("op", sorted(OPS))
def test_what_is_traced_is_accepted_by_the_native_engine(op):
    taken = 0
    for args in itertools.product(range(len(LEAVES)), repeat=ARITY.get(op, 1)):
        for constants in _constants(op):
            try:
                kind_of(op, [KINDS[arg] for arg in args], constants)
            except KindError:
                continue
            _native.Program([*LEAVES, (op, args, constants)], len(LEAVES))
            taken += 1
    assert taken


@pytest.mark.parametrize("op", sorted(POSITIONS))
def test_positions_are_known_to_the_native_engine(op):
    constants = (0,) if op.startswith("random") else ()
    _native.Program([(op, (), constants)], 0)
    assert kind_of(op, [], constants).boolean is False


@pytest.mark.parametrize(
    ("op", "args", "constants", "expected"),
    [
        ("add", [0, 1], (), ValueKind(Extent.ELEMENTS)),
        ("add", [1, 1], (), ValueKind(Extent.SCALAR)),
        ("add", [1, 2], (), ValueKind(Extent.COLUMNS)),
        ("add", [2, 3], (), ValueKind(Extent.ELEMENTS)),
        ("multiply", [4, 0], (), ValueKind(Extent.ELEMENTS)),
        ("multiply", [5, 1], (), ValueKind(Extent.SCALAR)),
        ("less", [0, 1], (), ValueKind(Extent.ELEMENTS, boolean=True)),
        ("where", [5, 0, 1], (), ValueKind(Extent.ELEMENTS)),
        ("where", [4, 1, 1], (), ValueKind(Extent.ELEMENTS)),
        ("sum", [4], (WHOLE,), ValueKind(Extent.SCALAR)),
        ("any", [4], (0,), ValueKind(Extent.COLUMNS, boolean=True)),
        ("mean", [3], (WHOLE,), ValueKind(Extent.SCALAR)),
        ("kth_abs", [0, 1], (), ValueKind(Extent.SCALAR)),
    ],
)
def test_kind_of_a_result(op, args, constants, expected):
    assert kind_of(op, [KINDS[arg] for arg in args], constants) == expected


@pytest.mark.parametrize(
    ("op", "args", "constants"),
    [
        ("multiply", [4, 1], ()),
        ("multiply", [4, 4], ()),
        ("add", [4, 0], ()),
        ("neg", [4], ()),
        ("min", [4], (WHOLE,)),
        ("sum", [2], (WHOLE,)),
        ("mean", [2], (0,)),
        ("any", [0], (WHOLE,)),
        ("kth_abs", [2, 1], ()),
        ("kth_abs", [0, 0], ()),
    ],
)
def test_kinds_that_do_not_fit_are_refused(op, args, constants):
    with pytest.raises(KindError) as caught:
        kind_of(op, [KINDS[arg] for arg in args], constants)
    assert caught.value.hint
