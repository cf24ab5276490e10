"""The keys that a recipe and a study's ``merge`` section share, but for method and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, get_args

from bmerge.dtype_rules import canonical_rule
from bmerge.errors import RecipeError
from bmerge.formats import LAYOUTS
from bmerge.recipe.document import Node
from bmerge.recipe.schema import (
    Clamp,
    Content,
    OnMissing,
    OnNonFinite,
    PluginRef,
    Quantise,
    Rounding,
)

__all__ = ["SETTINGS", "read_plugins", "read_settings", "read_sha256"]

_Reader: TypeAlias = Callable[[Node], Any]


def read_settings(fields: Mapping[str, Node]) -> dict[str, Any]:
    """Return fields of a :class:`Recipe`; what is absent or null is left out.

    Args:
        fields: of the recipe; other keys than :data:`SETTINGS` are passed over.

    Raises:
        RecipeError: if a value has no meaning.
    """
    given = {key: node for key, node in fields.items() if node.value is not None}
    return {key: read(given[key]) for key, read in _READERS.items() if key in given}


def _dtype(node: Node) -> str | None:
    name = node.text()
    try:
        return canonical_rule(name)
    except RecipeError as error:
        raise node.error(str(error), error.hint) from error


def _architecture(node: Node) -> str | None:
    name = node.text()
    return None if name == "auto" else name


def _seed(node: Node) -> int:
    seed = node.integer(least=0)
    if seed >= 1 << 64:
        raise node.error("seed must be below 2**64")
    return seed


def _word(literal: object) -> _Reader:
    return lambda node: node.text(get_args(literal))


def _options(node: Node) -> dict[str, str | bool]:
    """Return the options of a method; their names and values are checked with the method."""
    return {
        name: value.value if isinstance(value.value, bool) else value.text()
        for name, value in node.mapping().items()
    }


def _patterns(node: Node) -> tuple[str, ...]:
    return tuple(item.text() for item in node.sequence())


def read_plugins(node: Node) -> tuple[PluginRef, ...]:
    """Return the plugins that a list names: paths, or mappings with a distribution or a path.

    Raises:
        RecipeError: if an entry names none, or has a hash that is none.
    """
    return tuple(map(_plugin, node.sequence()))


def _plugin(node: Node) -> PluginRef:
    if isinstance(node.value, str):
        return PluginRef(node.text())
    fields = node.mapping(("path", "distribution", "version", "sha256"))
    if ("path" in fields) == ("distribution" in fields):
        raise node.error("a plugin has either a path or a distribution")
    given = {key: each.text() for key, each in fields.items() if each.value is not None}
    if "sha256" in given:
        given["sha256"] = read_sha256(fields["sha256"])
    return PluginRef(**given)


def read_sha256(node: Node) -> str:
    """Return a SHA-256.

    Raises:
        RecipeError: if it is none.
    """
    digest = node.text()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise node.error("sha256 must be 64 hexadecimal digits, lower case")
    return digest


_READERS: Final[Mapping[str, _Reader]] = {
    "dtype": _dtype,
    "architecture": _architecture,
    "seed": _seed,
    "on_missing": _word(OnMissing),
    "on_nonfinite": _word(OnNonFinite),
    "options": _options,
    "rebasin": lambda node: node.integer(least=0),
    "clamp": _word(Clamp),
    "exclude": _patterns,
    "partial_loras": Node.boolean,
    "prune": Node.boolean,
    "rounding": _word(Rounding),
    "layout": lambda node: node.text(LAYOUTS),
    "parts": _patterns,
    "prefix": lambda node: node.text(),
    "quantise": _word(Quantise),
    "content": _word(Content),
    "plugins": read_plugins,
}

SETTINGS: Final = tuple(_READERS)
"""The keys."""
