"""From a study's ``space`` section to a :class:`~bmerge.space.space.SearchSpace`.

For each hyperparameter: ``range`` for all its blocks, ``freeze`` (one value, not searched),
``per: single`` (one dimension for all blocks), ``groups`` (one dimension for several), and
``blocks`` for exceptions: a number freezes, ``[low, high]`` is a range of its own. ``scale: log``
searches by the logarithm, ``integer`` whole numbers; with ``simplex`` the values of all models sum
to 1 in every block.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NoReturn

from bmerge.errors import nearest
from bmerge.space.layers import layer_patterns
from bmerge.space.protocols import Parameter, Space
from bmerge.space.space import SearchSpace, SourceLayout, ValueSource
from bmerge.study_file.space_entry import HyperparameterSpace, Range
from bmerge.study_file.space_kinds import check_simplices, kind_problem, simplex_of
from bmerge.study_file.space_presets import presets_of

if TYPE_CHECKING:
    from bmerge.architectures import Architecture
    from bmerge.method import Hyperparameter

__all__ = ["build_space"]


def build_space(
    config: Mapping[str, HyperparameterSpace],
    hyperparameters: Sequence[Hyperparameter],
    architecture: Architecture,
    *,
    present: Collection[str] | None = None,
    keys: Mapping[str, Sequence[str]] | None = None,
    of_steps: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    beside: bool = False,
) -> SearchSpace:
    """Make the search space of a study.

    Args:
        config: hyperparameter → what the study file says; those left out are searched whole.
        hyperparameters: of the method.
        architecture: whose blocks are meant. A block that follows another there is searched
            with that one, unless the file names it.
        present: the blocks of which the models hold tensors; None means all.
        keys: block → keys of the models that are merged, for kinds of layers.
        of_steps: step → block → keys in which it takes part; for its hyperparameters, which are
            called STEP.NAME, these go before ``present`` and ``keys``.
        beside: whether something else is searched, so that all of this may be frozen.

    Raises:
        RecipeError: for an unknown hyperparameter or block, a range outside the valid values,
            a block in two groups, or a space without any dimension.
    """
    known = {h.name: h for h in hyperparameters}
    for name, entry in config.items():
        if name not in known:
            entry.fail("", f"unknown hyperparameter {name!r}", hint=nearest(name, known))
    parameters: list[Parameter] = []
    layouts: list[ValueSource] = []
    for h in hyperparameters:
        entry = config.get(h.name, HyperparameterSpace())
        if entry.presets:
            layouts.append(chosen := presets_of(h, entry, architecture))
            parameters.append(chosen.parameter)
            continue
        builder = _Builder(h, entry, architecture)
        own = (of_steps or {}).get(h.name.rpartition(".")[0])
        blocks = architecture.blocks if present is None else present
        layout = builder.layout(blocks if own is None else own)
        layouts.append(layout := builder.with_layers(layout, (keys if own is None else own) or {}))
        parameters += builder.parameters(layout)
    if not parameters and not beside:
        entry = next(iter(config.values()), HyperparameterSpace())
        entry.fail("", "nothing to search: every block of every hyperparameter is frozen")
    space = Space(tuple(parameters))
    check_simplices(space, config, hyperparameters)
    return SearchSpace(space, tuple(layouts))


def _all_in(patterns: Collection[str], keys: Sequence[str]) -> bool:
    """Tell whether there are keys, and each matches a pattern."""
    return bool(keys) and all(any(fnmatchcase(key, p) for p in patterns) for key in keys)


class _Builder:
    """Lays out one hyperparameter: which block is frozen, which belongs to which dimension."""

    def __init__(
        self, h: Hyperparameter, config: HyperparameterSpace, architecture: Architecture
    ) -> None:
        self.h, self.config = h, config
        self.blocks, self.follows = architecture.blocks, architecture.follows
        self.frozen: dict[str, float] = {}
        self.dimension: dict[str, str] = {}
        self.ranges: dict[str, Range] = {}
        self.whole: dict[str, str] = {}  # dimension of a kind of layers → that of the whole block
        usual = (0.0, 1.0) if config.simplex else (h.low, h.high)
        self.range = self._valid("", config.range or usual)

    def layout(self, present: Collection[str]) -> SourceLayout:
        """Return the layout, leaving out blocks that are not ``present``."""
        self._groups()
        self._exceptions()
        self._remaining()
        self._followers()
        return SourceLayout(
            self.h.name,
            self.h.default,
            {b: self.frozen[b] for b in self.blocks if b in self.frozen and b in present},
            {b: self.dimension[b] for b in self.blocks if b in self.dimension and b in present},
        )

    def with_layers(self, layout: SourceLayout, keys: Mapping[str, Sequence[str]]) -> SourceLayout:
        """Return the layout with kinds of layers apart in all blocks that are searched.

        A block that has no other layers than those loses its own dimension.
        """
        if not self.config.layers:
            return layout
        searched = {block: keys[block] for block in layout.dimension if keys.get(block)}
        patterns = layer_patterns(searched, self.config.layers)
        layers: dict[str, tuple[str, str]] = {}
        for block, kinds in patterns.items():
            for kind, several in kinds.items():
                name = f"{layout.dimension[block]}.{kind}"
                self.whole[name] = layout.dimension[block]
                layers |= dict.fromkeys(several, (block, name))
        if not layers:
            self.config.fail("", f"{self.h.name}: no block has layers of these kinds")
        used = {
            name
            for block, name in layout.dimension.items()
            if not _all_in(layers, searched.get(block, ()))
        }
        kept = {b: name for b, name in layout.dimension.items() if name in used}
        return replace(layout, dimension=kept, layers=layers)

    def parameters(self, layout: SourceLayout) -> Iterator[Parameter]:
        """Yield the dimensions that ``layout`` uses, in the order of their first block."""
        config = self.config
        for name in layout.dimensions:
            group = simplex_of(self.h.name, name) if config.simplex else None
            bounds = self.ranges.get(self.whole.get(name, name), self.range)
            yield Parameter(name, *bounds, log=config.log, integer=config.integer, simplex=group)

    def _groups(self) -> None:
        for group, patterns in self.config.groups.items():
            if group in self.blocks:
                self.config.fail(group, f"group {group!r} has the name of a block")
            for pattern in patterns:
                for block in self._expand(group, pattern):
                    if block in self.dimension:
                        other = self._short(self.dimension[block])
                        message = f"block {block} is in the group {other!r} and in {group!r}"
                        self.config.fail(group, message)
                    self.dimension[block] = f"{self.h.name}.{group}"

    def _exceptions(self) -> None:
        grouped = dict(self.dimension)
        named: dict[str, str] = {}
        for key, setting in self.config.blocks.items():
            if key in self.config.groups:
                self._set_group(key, setting)
                continue
            for block in self._expand(key, key):
                if block in grouped:
                    group = self._short(grouped[block])
                    message = f"block {block} is in the group {group!r}; set that instead"
                    self.config.fail(key, message)
                if block in named:
                    self.config.fail(key, f"block {block} is set by {named[block]!r} already")
                named[block] = key
                self._set(f"{self.h.name}.{block}", (block,), key, setting)

    def _short(self, dimension: str) -> str:
        """Return the block or group that a dimension is called for."""
        return dimension.removeprefix(f"{self.h.name}.")

    def _set_group(self, group: str, setting: float | Range) -> None:
        name = f"{self.h.name}.{group}"
        members = tuple(b for b, dimension in self.dimension.items() if dimension == name)
        self._set(name, members, group, setting)

    def _set(self, name: str, blocks: Sequence[str], key: str, setting: float | Range) -> None:
        """Freeze ``blocks``, or give their dimension ``name`` a range of its own."""
        for block in blocks:
            if isinstance(setting, tuple):
                self.dimension[block] = name
                self.ranges[name] = self._valid(key, setting)
            else:
                self.dimension.pop(block, None)
                self.frozen[block] = self._valid(key, (setting, setting))[0]

    def _remaining(self) -> None:
        freeze = self.config.freeze
        for block in self.blocks:
            if block in self.dimension or block in self.frozen or block in self.follows:
                continue
            if freeze is not None:
                self.frozen[block] = self._valid("", (freeze, freeze))[0]
            else:
                single = self.config.single
                self.dimension[block] = self.h.name if single else f"{self.h.name}.{block}"

    def _followers(self) -> None:
        for block, leader in self.follows.items():
            if block in self.dimension or block in self.frozen:
                continue
            if leader in self.frozen:
                self.frozen[block] = self.frozen[leader]
            else:
                self.dimension[block] = self.dimension[leader]

    def _valid(self, key: str, bounds: Range) -> Range:
        """Return ``bounds`` if the method accepts them."""
        for value in bounds:
            if problem := self.h.problem(value):
                self.config.fail(key, f"{self.h.name}: {problem}")
        if problem := kind_problem(self.config, bounds):
            self.config.fail(key, f"{self.h.name}: {problem}")
        return bounds

    def _expand(self, key: str, pattern: str) -> Sequence[str]:
        """Return the blocks that ``pattern`` names: a block, or ``FIRST-LAST``."""
        if pattern in self.blocks:
            return (pattern,)
        ends = re.fullmatch(r"(.+?)\s*-\s*(.+)", pattern)
        if not ends:
            self._unknown(key, pattern)
        first, last = (self._index(key, end) for end in ends.groups())
        if first > last:
            self.config.fail(key, f"{pattern!r} runs backwards")
        return self.blocks[first : last + 1]

    def _index(self, key: str, block: str) -> int:
        if block not in self.blocks:
            self._unknown(key, block)
        return self.blocks.index(block)

    def _unknown(self, key: str, block: str) -> NoReturn:
        names = [*self.blocks, *self.config.groups]
        self.config.fail(key, f"unknown block {block!r}", hint=nearest(block, names))
