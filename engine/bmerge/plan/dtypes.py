"""Which number format each tensor of an output has, by the part of a model that it is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bmerge.dtype_rules import DtypeRule
from bmerge.formats import Tensor

__all__ = ["Dtypes"]


class Dtypes:
    """The number formats that a recipe asks for.

    Args:
        text: the recipe's rule; None asks for none.
        tables: for each model, key → its tensor.

    Raises:
        RecipeError: if the rule names a part that is not there.
    """

    def __init__(self, text: str | None, tables: Sequence[Mapping[str, Tensor]]) -> None:
        self._components: dict[str, str] = {}
        if text is not None and "=" in text:
            from bmerge.architectures.components import components_of  # few rules name parts

            for table in reversed(tables):
                self._components |= components_of([tensor.key for tensor in table.values()])
        self._rule = DtypeRule(text, self._components.values())

    @classmethod
    def of_keys(cls, text: str | None, keys: Iterable[str]) -> Dtypes:
        """Return those of an output with these keys."""
        found = cls(None, ())
        if text is not None and "=" in text:
            from bmerge.architectures.components import components_of

            found._components = components_of(list(keys))
        found._rule = DtypeRule(text, found._components.values())
        return found

    def of(self, key: str) -> str | None:
        """Return the number format of a tensor of floats; None: its own."""
        return self._rule.of(self._components.get(key, ""))
