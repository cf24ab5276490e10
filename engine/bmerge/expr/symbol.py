"""Values of a method's body while it is traced: they stand for numbers and record what is done.

Operators and :mod:`bmerge.ops` work on them as on torch tensors; anything else has no meaning
that every executor shares, and raises a MethodError that says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from bmerge.errors import MethodError
from bmerge.expr.graph import GraphNode
from bmerge.expr.kinds import KindError, ValueKind, kind_of

__all__ = ["USE_OPS", "Operand", "Recorder", "Symbol"]

Operand: TypeAlias = "Symbol | float"

_SQUARE = 2
USE_OPS = "a method's body is made of operators and bmerge.ops"
"""What to do where something else is in it."""


class Recorder:
    """Collects the nodes of one trace; equal nodes are recorded once.

    Args:
        method: name of the method, for messages.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self.nodes: list[GraphNode] = []
        self._symbols: dict[object, Symbol] = {}

    def apply(
        self, op: str, args: Sequence[Operand] = (), constants: Sequence[float] = ()
    ) -> Symbol:
        """Record an operation and return its result.

        Raises:
            MethodError: if the operation does not take such arguments.
        """
        symbols = [self._symbol(op, arg) for arg in args]
        node = GraphNode(
            op, tuple(symbol.index for symbol in symbols), tuple(map(float, constants))
        )
        # By their digits: 0.0 and -0.0 are equal but must not become one node.
        key = (op, node.args, tuple(value.hex() for value in node.constants))
        if key not in self._symbols:
            kind = self._kind(op, symbols, node.constants)
            self._symbols[key] = Symbol(self, len(self.nodes), kind)
            self.nodes.append(node)
        return self._symbols[key]

    def fail(self, message: str, hint: str | None = None) -> NoReturn:
        """Raise a MethodError that names the method."""
        raise MethodError(f"{self.method}: {message}", hint=hint)

    def _kind(self, op: str, symbols: Sequence[Symbol], constants: Sequence[float]) -> ValueKind:
        try:
            return kind_of(op, [symbol.kind for symbol in symbols], constants)
        except KindError as error:
            self.fail(str(error), error.hint)

    def _symbol(self, op: str, value: object) -> Symbol:
        if isinstance(value, Symbol):
            if value.recorder is not self:
                self.fail(f"{op} got a value of another method's trace")
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"{op} got a {type(value).__name__}", "only numbers and traced values mix")
        return self.apply("constant", constants=[float(value)])


def _unary(op: str) -> Callable[[Symbol], Symbol]:
    def operator(self: Symbol) -> Symbol:
        return self.recorder.apply(op, [self])

    return operator


def _binary(op: str) -> Callable[[Symbol, Operand], Any]:
    def operator(self: Symbol, other: Operand) -> Any:
        return self.recorder.apply(op, [self, other])

    return operator


def _reflected(op: str) -> Callable[[Symbol, Operand], Symbol]:
    def operator(self: Symbol, other: Operand) -> Symbol:
        return self.recorder.apply(op, [other, self])

    return operator


def _power(base: Symbol, exponent: Operand) -> Symbol:
    # Squares are exact on every executor, powers are not.
    if not isinstance(exponent, Symbol) and exponent == _SQUARE:
        return base.recorder.apply("square", [base])
    return base.recorder.apply("pow", [base, exponent])


def _impossible(what: str, hint: str) -> Callable[..., NoReturn]:
    def operator(self: Symbol, *_: object) -> NoReturn:
        self.recorder.fail(f"{what} has no meaning for all elements at once", hint)

    return operator


class Symbol:
    """A traced value.

    Args:
        recorder: what it was recorded by.
        index: its node.
        kind: what it is one of per tensor, or per element.
    """

    __slots__ = ("index", "kind", "recorder")
    __array_ufunc__ = None  # numpy scalars then leave the operators to us

    def __init__(self, recorder: Recorder, index: int, kind: ValueKind) -> None:
        self.recorder = recorder
        self.index = index
        self.kind = kind

    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __pow__, __rpow__ = _power, _reflected("pow")
    __neg__, __abs__ = _unary("neg"), _unary("abs")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __eq__, __ne__ = _binary("equal"), _binary("not_equal")  # type: ignore[assignment]
    __and__, __or__ = _binary("logical_and"), _binary("logical_or")
    __invert__ = _unary("logical_not")
    # Equality is a node, so a symbol cannot be looked up.
    __hash__ = None  # type: ignore[assignment]

    __bool__ = _impossible("a decision on a traced value", "use ops.where(condition, x, y)")
    __float__ = __int__ = __index__ = _impossible("a Python number of a traced value", USE_OPS)
    __iter__ = __getitem__ = __len__ = _impossible("taking parts of a traced value", USE_OPS)

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse attributes of tensors, such as ``.shape`` or ``.mean()``."""
        if name.startswith("__"):  # what Python and libraries probe for
            raise AttributeError(name)
        self.recorder.fail(f"a traced value has no {name!r}", USE_OPS)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., object], types: object, args: Sequence[Any] = (), *_: object
    ) -> NoReturn:
        """Refuse torch's functions, whose meaning other executors do not share."""
        name = getattr(function, "__name__", "function")
        raise MethodError(f"torch's {name} cannot be traced", hint=USE_OPS)
