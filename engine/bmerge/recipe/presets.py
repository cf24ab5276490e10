"""Named lists of block weights, as users of the older tools know them.

They lie in ``presets.yaml``: name → 25 weights (IN00 … OUT11, with 0 for BASE) or 26 (BASE
first). People may have a file of their own in the same form. Reading bmerge's own takes longer
than merging a small model, and few merges name a preset: it is read when one is looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

__all__ = ["load_presets"]

_WITHOUT_BASE = 25


def load_presets(*files: Path) -> Mapping[str, tuple[float, ...]]:
    """Return the presets by name; each has 26 weights, BASE first.

    Args:
        files: more files of presets; a later one replaces names of earlier ones.

    Raises:
        RecipeError: if a file is not as it must be.
    """
    more: dict[str, tuple[float, ...]] = {}
    for file in files:
        more.update(_read(file))
    return _Presets(more)


class _Presets(Mapping[str, tuple[float, ...]]):
    """bmerge's own presets, read at the first use, and others that go before them."""

    def __init__(self, more: Mapping[str, tuple[float, ...]]) -> None:
        self._more = more

    def __getitem__(self, name: str) -> tuple[float, ...]:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, tuple[float, ...]]:
        return {**_read(Path(__file__).with_name("presets.yaml")), **self._more}


@cache
def _read(path: Path) -> Mapping[str, tuple[float, ...]]:
    from bmerge.recipe.document import read_document  # with yaml

    presets: dict[str, tuple[float, ...]] = {}
    for name, node in read_document(path, name="the presets").mapping().items():
        if isinstance(node.value, str):
            if node.value not in presets:
                raise node.error(f"{name} stands for {node.value!r}, which is not above it")
            presets[name] = presets[node.value]
            continue
        weights = tuple(item.number() for item in node.sequence())
        if len(weights) not in {_WITHOUT_BASE, _WITHOUT_BASE + 1}:
            raise node.error(f"preset {name} has {len(weights)} weights, not 25 or 26")
        presets[name] = weights if len(weights) > _WITHOUT_BASE else (0.0, *weights)
    return presets
