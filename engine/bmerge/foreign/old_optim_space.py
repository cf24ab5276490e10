"""sd-optim's optimisation guide as the search space of a study.

It lists components, each with strategies (all, select, group, single, none) for some of the
method's parameters, over blocks of its own (``UNET_IN04``) or keys. What no strategy names keeps
the method's default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Any

from bmerge.foreign.old_files import OldFolder
from bmerge.foreign.old_optim_kinds import KINDS_OF_OPTIM
from bmerge.foreign.old_settings import Settings
from bmerge.method import MergeMethod
from bmerge.records import dataclass

__all__ = ["GuideReader"]

_NINE = [f"{i:02}" for i in range(9)]
_IN, _OUT = [f"IN{i}" for i in _NINE], [f"OUT{i}" for i in _NINE]
_ENDS = {"UNET_TIME_EMBED": ["IN00"], "UNET_LABEL_EMBED": ["IN00"], "UNET_OUT_FINAL": ["OUT08"]}
_OPTIM = {**{f"UNET_{block}": [block] for block in (*_IN, *_OUT)}, "UNET_MID00": ["M00"], **_ENDS}
_LUMI = {
    "UNET_TIME_EMBED": ["IN00"], "UNET_INPUT_CONV": ["IN00"], "UNET_OUTPUT_CONV": ["OUT08"],
    "UNET_DOWN_BLOCK_0": _IN[1:3], "UNET_DOWN_CONV_0": _IN[3:4], "UNET_DOWN_BLOCK_1": _IN[4:6],
    "UNET_DOWN_CONV_1": _IN[6:7], "UNET_DOWN_BLOCK_2": _IN[7:], "UNET_MID_BLOCK": ["M00"],
    "UNET_UP_BLOCK_2": _OUT[:3], "UNET_UP_BLOCK_1": _OUT[3:6], "UNET_UP_BLOCK_0": _OUT[6:],
}  # fmt: skip
_STAGES = {
    "UNET_DOWN": _IN, "UNET_MID": ["M00"], "UNET_UP": _OUT, "UNET_EMBED": ["IN00"],
    "UNET_FINAL": ["OUT08"],
}  # fmt: skip
_RESOLUTIONS = {
    "UNET_EMBED": ["IN00"], "UNET_RES_INITIAL": _IN[:3], "UNET_RES_MID1": _IN[3:6],
    "UNET_RES_MID2": _IN[6:], "UNET_RES_BOTTLENECK": ["M00"], "UNET_RES_UP2": _OUT[:3],
    "UNET_RES_UP1": _OUT[3:6], "UNET_RES_FINAL": _OUT[6:], "UNET_OUT": ["OUT08"],
}  # fmt: skip
_CONFIGS = {
    "sdxl-lumi_blocks": _LUMI, "sdxl-stage_blocks": _STAGES,
    "sdxl-resolution_blocks": _RESOLUTIONS, "sdxl-optim_blocks": _OPTIM,
}  # fmt: skip
"""Block configurations that come with sd-optim: its block → those here. Others are read as
``sdxl-optim_blocks``."""
_UNET = [*_IN, "M00", *_OUT]
_PICTURE = {"unet", "diffuser"}
_KEYS = re.compile(r"(?P<part>input_blocks|middle_block|output_blocks)(?:\.(?P<number>\d+))?")


@dataclass(slots=True)
class GuideReader:
    """Reads the guide.

    Args:
        folder: the configuration.
        method: whose hyperparameters are searched.
        names: what sd-optim calls a parameter → hyperparameter, and the block or group.
        taken: hyperparameter and block → what of sd-optim's has it; the first one does.
    """

    folder: OldFolder
    method: MergeMethod
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    taken: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def _config(self) -> str:
        """What sd-optim's configuration of blocks is called."""
        return self.folder.guide.text("custom_block_config_id")

    def read(self) -> dict[str, Any]:
        """Return the section ``space`` of a study file."""
        if self._config and self._config not in {*_CONFIGS, *KINDS_OF_OPTIM}:
            self.folder.lose(f"custom_block_config_id {self._config}: read as sdxl-optim_blocks")
        defaults = {h.name: h.default for h in self.method.hyperparameters}
        space: dict[str, Any] = {name: {} for name in defaults}
        for component in self.folder.guide.mappings("components"):
            self._component(space, component)
        for name, own in space.items():
            own["freeze"] = defaults[name]
        if not any("blocks" in own for own in space.values()):
            self.folder.lose("optimization_guide: no strategy of it names what is searched")
        self._bounds(space)
        return space

    def _component(self, space: dict[str, Any], component: Settings) -> None:
        name = component.text("name")
        strategies = component.mappings("strategies")
        older = not strategies and "strategy" in component  # one, for all parameters
        for strategy in [component] if older else strategies:
            kind = strategy.text("strategy" if older else "type")
            if kind == "none":
                strategy.skip()
                continue
            own = list(space) if older else strategy.texts("optimize_params")
            for parameter in own or component.texts("optimize_params"):
                if parameter not in space:
                    self.folder.lose(f"{name}: {self.method.name} has no {parameter!r} to search")
                    continue
                self._strategy(space[parameter], parameter, name, kind, strategy)
            strategy.skip("keys", "groups")  # of other kinds of strategies
        component.skip("optimize_params")

    def _strategy(
        self,
        own: dict[str, Any],
        parameter: str,
        component: str,
        kind: str,
        strategy: Settings,
    ) -> None:
        if component in _PICTURE and self._config in KINDS_OF_OPTIM and kind != "single":
            self._layers(own, parameter, component, kind, strategy)
            return
        if kind == "group":
            for group in strategy.mappings("groups"):
                self._share(own, parameter, component, group.text("name"), group.texts("keys"))
            return
        if kind == "single":
            self._share(own, parameter, component, f"{component}_single", ["*"])
            return
        patterns = ["*"] if kind == "all" else strategy.texts("keys")
        if kind == "all" and not self._config:
            self.folder.lose(f"{component}: blocks have a value each, not keys")
        for old, blocks in self._free(parameter, component, patterns):
            place = blocks[0] if len(blocks) == 1 else old
            if len(blocks) > 1:
                own.setdefault("groups", {})[old] = blocks
            own.setdefault("blocks", {})[place] = [0.0, 1.0]
            self.names[f"{old}_{parameter}"] = parameter, place

    def _layers(
        self,
        own: dict[str, Any],
        parameter: str,
        component: str,
        kind: str,
        strategy: Settings,
    ) -> None:
        """Search kinds of layers, each with one value in the whole picture model."""
        known = KINDS_OF_OPTIM[self._config]
        layers: dict[str, list[str]] = own.setdefault("layers", {})
        before = {pattern for several in layers.values() for pattern in several}
        for label, patterns in _wanted(kind, strategy):
            for pattern in patterns:
                found = [old for old in known if fnmatchcase(old, pattern)]
                if not found:
                    self.folder.lose(f"{component}: {pattern!r} names no block of {self._config}")
                for old in found:
                    free = [each for each in known[old] if each not in before]
                    if free:
                        layers.setdefault(label or old, []).extend(free)
                        before.update(free)
        if layers and "unet" not in own.get("groups", {}):
            self._group(own, parameter, parameter, "unet", list(_UNET))
            left = {pattern for old in known for pattern in known[old]} - before
            if left:
                self.folder.lose(f"{component}: other layers have one value, which is searched too")

    def _share(
        self,
        own: dict[str, Any],
        parameter: str,
        component: str,
        label: str,
        patterns: Sequence[str],
    ) -> None:
        free = self._free(parameter, component, patterns)
        blocks = [block for _, several in free for block in several]
        if blocks:
            self._group(own, f"{label}_{parameter}", parameter, label, blocks)

    def _group(
        self, own: dict[str, Any], old: str, parameter: str, label: str, blocks: list[str]
    ) -> None:
        """Search one value for several blocks, which is called ``old`` in sd-optim's files."""
        own.setdefault("groups", {})[label] = blocks
        own.setdefault("blocks", {})[label] = [0.0, 1.0]
        self.names[old] = parameter, label

    def _free(
        self, parameter: str, component: str, patterns: Sequence[str]
    ) -> Iterator[tuple[str, list[str]]]:
        """Yield what patterns name, with the blocks here that nothing before has taken."""
        for old, blocks in self._named(component, patterns):
            free = []
            for block in blocks:
                owner = self.taken.get((parameter, block))
                if owner is None:
                    self.taken[parameter, block] = old
                    free.append(block)
                else:
                    self.folder.lose(f"{old}: {block} goes with {owner}, which was there first")
            if free:
                yield old, free

    def _named(self, component: str, patterns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield what patterns name: sd-optim's block, and those here."""
        if component not in _PICTURE:
            if patterns == ["*"]:
                yield component, ["BASE"]
            else:
                self.folder.lose(f"{component}: its blocks are one here, BASE")
            return
        known = _CONFIGS.get(self._config, _OPTIM)
        for pattern in patterns:
            found = {old: known[old] for old in known if fnmatchcase(old, pattern)}
            if not found and _of_keys(pattern):
                found = {pattern: [_of_keys(pattern)]}
                self.folder.lose(f"{component}: the keys {pattern} share the value of their block")
            if not found:
                self.folder.lose(f"{component}: {pattern!r} names no block of this architecture")
            yield from found.items()

    def _bounds(self, space: dict[str, Any]) -> None:
        bounds = self.folder.guide.within("custom_bounds")
        bounds.skip()  # each is read or told of
        for name, bound in bounds.data.items():
            value = _range(bound)
            if value is None:
                self.folder.lose(f"custom_bounds of {name}: choices are not searched for one block")
            elif name in self.names:
                parameter, place = self.names[name]
                space[parameter]["blocks"][place] = value
            elif name in space:
                self._base_bounds(space[name], name, value)
            else:
                self.folder.lose(f"custom_bounds of {name}: no strategy makes that parameter")
            self._kinds(name, bound, space)

    def _base_bounds(self, own: dict[str, Any], name: str, value: float | list[float]) -> None:
        """Give all that is searched of a hyperparameter its range, or fix it."""
        special = self.folder.guide.within("custom_bounds")
        for full, (parameter, place) in self.names.items():
            if parameter == name and full not in special:
                own["blocks"][place] = value

    def _kinds(self, name: str, bound: object, space: dict[str, Any]) -> None:
        if not isinstance(bound, dict):
            return
        if bound.get("log") and name in space:
            space[name]["scale"] = "log"
        elif bound.get("log"):
            self.folder.lose(f"custom_bounds of {name}: log is for a whole hyperparameter here")
        if bound.get("step"):
            self.folder.lose(f"custom_bounds of {name}: its step")


def _wanted(kind: str, strategy: Settings) -> Iterator[tuple[str | None, Sequence[str]]]:
    """Yield what a strategy searches: the name of what is searched together, and patterns."""
    if kind == "group":
        for group in strategy.mappings("groups"):
            yield group.text("name"), group.texts("keys")
        return
    yield None, ["*"] if kind == "all" else strategy.texts("keys")


def _of_keys(pattern: str) -> str:
    """Return the block that a pattern of keys names, such as ``*.output_blocks.8.*``."""
    found = _KEYS.search(pattern)
    if found is None:
        return ""
    if found["part"] == "middle_block":
        return "M00"
    letters = "IN" if found["part"] == "input_blocks" else "OUT"
    return f"{letters}{int(found['number']):02}" if found["number"] else ""


def _range(bound: object) -> float | list[float] | None:
    """Return a fixed value or a range; None of choices."""
    if isinstance(bound, dict):
        bound = bound.get("range")
    if isinstance(bound, str):
        bound = [part for part in bound.strip("() ").split(",") if part.strip()]
    try:
        if isinstance(bound, (list, tuple)):
            low, high = (float(each) for each in bound)
            return [low, high]
        return float(bound)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
