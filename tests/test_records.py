"""Records beside what the standard library makes of the same classes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
import subprocess
import sys
import threading
from dataclasses import field
from typing import ClassVar, Generic, Protocol, TypeVar

import pytest

from bmerge.initialisers import FEW
from bmerge.records import dataclass

T = TypeVar("T")


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str: ...


def _classes(dataclass):
    """Return classes of each form, made by ``dataclass``."""

    @dataclass(frozen=True, slots=True)
    class Plain:
        COUNT: ClassVar[int] = 3

        name: str
        size: int = 4
        parts: list[int] = field(default_factory=list)
        hidden: str = field(default="", repr=False, compare=False)

    @dataclass(frozen=True, slots=True)
    class Derived(Plain, Generic[T]):
        size: int = 7
        more: tuple[T, ...] = ()

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Keywords:
        name: str
        double: str = field(init=False)
        fixed: int = field(default=5, init=False)
        fresh: dict[str, int] = field(default_factory=dict, init=False)

        def __post_init__(self):
            object.__setattr__(self, "double", self.name * 2)

    @dataclass(frozen=True, slots=True, eq=False, repr=False)
    class Bare(Named):
        name: str

    @dataclass(frozen=True, slots=True)
    class Own:  # noqa: PLW1641  it gets one
        name: str

        def __eq__(self, other):
            return True

        def __repr__(self):
            return "own"

    @dataclass(frozen=True, slots=True)
    class Empty:
        pass

    @dataclass(slots=True)
    class Mutable:
        name: str
        parts: list[int] = field(default_factory=list)

    @dataclass(slots=True)
    class Second(Mutable):
        more: int = 1

    return Plain, Derived, Keywords, Bare, Own, Empty, Mutable, Second


OURS, THEIRS = _classes(dataclass), _classes(dataclasses.dataclass)
VALUES = [
    ({"name": "a"}, {"name": "b"}),
    ({"name": "a", "parts": [1], "hidden": "x"}, {"name": "a", "more": (1,)}),
    ({"name": "a"}, {"name": "b"}),
    ({"name": "a"}, {"name": "b"}),
    ({"name": "a"}, {"name": "b"}),
    ({}, {}),
    ({"name": "a"}, {"name": "b"}),
    ({"name": "a"}, {"name": "b"}),
]
CASES = [
    pytest.param(*case, id=case[0].__name__) for case in zip(OURS, THEIRS, VALUES, strict=True)
]
# What pickle finds by name.
Plain, Derived, Keywords, Bare, Own, Empty, Mutable, Second = OURS
for _each in OURS:
    _each.__qualname__ = _each.__name__


def _outcome(of, *args, **values):
    """Return what a call gives or raises, by its words."""
    try:
        return of(*args, **values)
    except (TypeError, AttributeError) as error:
        return type(error), re.sub(r"\S+\.", "", str(error))


@pytest.mark.parametrize(("ours", "theirs", "values"), CASES)
def test_records_are_made_as_dataclasses_are(ours, theirs, values):
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    assert ours.__slots__ == theirs.__slots__
    assert ours.__match_args__ == theirs.__match_args__
    assert (ours.__hash__ is None) == (theirs.__hash__ is None)
    for told in (
        _outcome,
        lambda kind: _outcome(kind, "a"),
        lambda kind: _outcome(kind, **values[1], other=1),
    ):
        mine, real = told(ours), told(theirs)
        if isinstance(real, tuple):
            assert mine == real
        else:
            assert dataclasses.asdict(mine) == dataclasses.asdict(real)


@pytest.mark.parametrize("place", range(len(OURS)), ids=[case.id for case in CASES])
def test_the_first_records_and_all_later_ones_are_made_alike(place):
    ours, theirs = (_classes(kind)[place] for kind in (dataclass, dataclasses.dataclass))
    calls = [
        lambda kind: kind(),
        lambda kind: kind("a"),
        lambda kind: kind("a", 1),
        lambda kind: kind(*"abcdefgh"),
        lambda kind: kind(name="a"),
        lambda kind: kind("a", name="b"),
        lambda kind: kind("a", other=1),
        lambda kind: kind(size=3, name="a"),
        lambda kind: kind("a", fixed=1),
        lambda kind: kind("a", parts=[1]),
    ]
    written = [_outcome(call, theirs) for call in calls]
    real = [each if isinstance(each, tuple) else dataclasses.asdict(each) for each in written]
    for _ in range(FEW):
        for call, expected in zip(calls, real, strict=True):
            made = _outcome(call, ours)
            assert (made if isinstance(made, tuple) else dataclasses.asdict(made)) == expected


def test_the_first_records_share_nothing():
    kind = _classes(dataclass)[0]
    made = [kind("a") for _ in range(FEW + 2)]
    made[0].parts.append(1)
    assert [each.parts for each in made[1:]] == [[]] * (FEW + 1)


@pytest.mark.parametrize(("ours", "theirs", "values"), CASES)
def test_records_compare_print_and_change_as_dataclasses_do(ours, theirs, values):
    (a, b, same), (c, d, as_c) = (
        [kind(**each) for each in (*values, values[0])] for kind in (ours, theirs)
    )
    assert [a == same, a == b, a != b, a == c] == [c == as_c, c == d, c != d, c == a]
    if ours.__qualname__ != "Bare":
        assert repr(a) == re.sub(r"^.*<locals>\.", "", repr(c))
    if "hidden" in ours.__slots__:
        assert a == dataclasses.replace(a, hidden="other")
    assert type(_outcome(hash, a)) is type(_outcome(hash, c))
    assert (_outcome(hash, a) == _outcome(hash, same)) == (
        _outcome(hash, c) == _outcome(hash, as_c)
    )
    assert dataclasses.asdict(a) == dataclasses.asdict(c)
    assert [f.name for f in dataclasses.fields(ours)] == [
        f.name for f in dataclasses.fields(theirs)
    ]
    changed = _outcome(dataclasses.replace, a, name="z")
    assert type(changed) is (type(a) if values[0] else tuple)
    for name in dataclasses.asdict(a):
        assert _outcome(setattr, a, name, 1) == _outcome(setattr, c, name, 1)
        assert _outcome(delattr, a, name) == _outcome(delattr, c, name)
    assert hasattr(a, "__dict__") is hasattr(c, "__dict__")


@pytest.mark.parametrize("kind", [Plain, Derived, Keywords, Own, Empty, Second])
def test_records_are_copied_and_pickled(kind):
    made = kind(**({"name": "a"} if kind is not Empty else {}))
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert dataclasses.asdict(again) == dataclasses.asdict(made)


PICKLED = """
import pickle, sys
print(pickle.loads(sys.stdin.buffer.read()))
"""


def test_a_record_that_is_unpickled_first_is_whole():
    from bmerge.recipe import BlockWeights

    made = BlockWeights(0.5)
    called = subprocess.run(
        [sys.executable, "-c", PICKLED], input=pickle.dumps(made), capture_output=True, check=True
    )
    assert called.stdout.decode().strip() == repr(made)


def test_a_record_within_itself_is_printed():
    parts: list[object] = []
    made = Plain("a", parts=parts)
    parts.append(made)
    assert repr(made) == "Plain(name='a', size=4, parts=[...])"


def test_records_are_written_once_by_many_threads_at_once():
    failures = []
    seldom = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def make(kind, gate):
        gate.wait()
        try:
            assert kind("a", parts=[1]).parts == [1]
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    for _ in range(20):
        kind, gate = _classes(dataclass)[1], threading.Barrier(4)
        threads = [threading.Thread(target=make, args=(kind, gate)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.setswitchinterval(seldom)
    assert not failures


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"eq": False}])
def test_other_dataclasses_are_the_standard_librarys(options):
    made, real = (
        make(**options)(type("Other", (), {"__annotations__": {"name": str}}))
        for make in (dataclass, dataclasses.dataclass)
    )
    assert sorted(vars(made)) == sorted(vars(real))
    assert (made("a") == made("a")) is (real("a") == real("a"))
