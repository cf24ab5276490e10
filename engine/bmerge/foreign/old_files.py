"""The configuration folder of an optimiser of merges that runs under Hydra: its files as data.

sd-webui-bayesian-merger and sd-optim keep ``conf/config.yaml``, whose ``defaults`` name a file of
payloads and a guide. Their YAML is that of PyYAML (``False``, ``1e3`` as a word), not bmerge's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any

from bmerge.errors import FormatError, RecipeError
from bmerge.foreign.old_settings import Settings
from bmerge.reading import read_text
from bmerge.records import dataclass

__all__ = ["OldFolder", "open_folder"]

_GUIDES = ("optimisation_guide", "optimization_guide")
_OF_NO_RESULT = {
    *("hydra", "run_name", "webui_urls", "device", "work_device", "threads"),
    *("save_imgs", "save_best", "save_merge_method_code", "save_merge_artifacts"),
    "scorer_print_individual",
    *("draw_unet_weights", "draw_unet_base_alpha", "visualizations"),
    "recipe_optimization",  # of a mode that is refused
    *("scorer_model_dir", "scorer_default_device"),  # read where a scorer needs them
}
"""Settings without which a study finds the same."""
_MOST = 100_000
"""Values of a file; the tools' own have hundreds."""
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_KEYED = re.compile(r"\$\{(\w+)\[\$\{(\w+)\}\]\}")


@dataclass(frozen=True, slots=True)
class OldFolder:
    """A configuration folder.

    Args:
        path: the folder ``conf``.
        config: ``config.yaml``, references between its keys filled in.
        guide: the guide that it names; empty if there is none.
        payloads: the file of payloads that it names; None if there is none.
        lost: what of it has no counterpart here, one line each; grows as it is read.
    """

    path: Path
    config: Settings
    guide: Settings
    payloads: Path | None
    lost: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The tool's own folder, which relative paths start from."""
        return self.path.parent

    @property
    def is_optim(self) -> bool:
        """Whether it is sd-optim's rather than sd-webui-bayesian-merger's."""
        return "merge_method" in self.config or "model_paths" in self.config

    def place(self, path: str) -> Path:
        """Return a path as the tool takes it."""
        name = Path(path)
        try:
            name = name.expanduser()
        except RuntimeError:  # nobody has a home of that name
            return (self.root / name).absolute()
        return (self.root / name).absolute()

    def lose_others(self) -> None:
        """Put what is set in the files and was not read on the list of what is lost."""
        self.config.skip(*_OF_NO_RESULT)
        for key in self.config.others():
            self.lose(f"{key}: it is not known here")
        for key in self.guide.others():
            self.lose(f"{key} of the guide: it is not known here")

    def lose(self, what: str) -> None:
        """Put something on the list of what is lost, once."""
        if what not in self.lost:
            self.lost.append(what)


def open_folder(folder: Path) -> OldFolder:
    """Read a configuration folder, or the one in a tool's own folder.

    Raises:
        FormatError: if there is none.
        RecipeError: if a file in it cannot be read.
    """
    places = [place for place in (folder, folder / "conf") if (place / "config.yaml").is_file()]
    if not places:
        message = f"{folder} has no config.yaml, nor conf/config.yaml"
        raise FormatError(message, path=folder, hint="name the tool's folder, or its folder conf")
    path = places[-1].absolute()
    config = Settings(path / "config.yaml", _filled(_read(path / "config.yaml")))
    chosen = _chosen(config)
    guide = Settings(config.path)
    for name in _GUIDES:
        if isinstance(chosen.get(name), str):
            file = path / name / _file(chosen[name])
            guide = Settings(file, _read(file))
    payloads = chosen.get("payloads")
    cargo = path / "payloads" / _file(payloads) if isinstance(payloads, str) else None
    if cargo is not None and not cargo.is_file():
        raise FormatError(f"there is no payload file {cargo}", path=cargo)
    found = OldFolder(path, config, guide, cargo)
    for group in chosen:
        if group not in {*_GUIDES, "payloads"} and not group.startswith("override "):
            found.lose(f"{group} {chosen[group]}, of the defaults: it is not known here")
    return found


def _file(name: str) -> str:
    """Return the file that a choice names, with its suffix or without."""
    return name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"


def _chosen(config: Settings) -> dict[str, Any]:
    """Return what ``defaults`` says: group → file."""
    defaults = config.get("defaults")
    entries = defaults if isinstance(defaults, list) else []
    return {str(k): v for entry in entries if isinstance(entry, dict) for k, v in entry.items()}


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(read_text(path))
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=path) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "damaged"
        raise RecipeError(f"is not YAML: {first}", path=path) from error
    if not isinstance(data, dict):
        raise RecipeError("is not a mapping", path=path)
    if not _is_small(data):
        message = f"holds more than {_MOST:,} values, aliases (*name) written out"
        raise RecipeError(message, path=path)
    return {str(key): value for key, value in data.items()}


def _is_small(data: Any) -> bool:
    """Tell whether there is little of it, also where aliases are written out for what they mean."""
    left, count = [data], 0
    while left and count <= _MOST:
        value = left.pop()
        count += 1
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple | set):
            left += value
    return count <= _MOST


def _filled(config: dict[str, Any]) -> dict[str, Any]:
    """Fill in ``${name}``, ``${a.b}`` and ``${map[${name}]}`` as far as they are known."""

    def value_of(path: str) -> object:
        found: object = config
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return _filled_text(value, value_of) if isinstance(value, str) else value

    return {key: filled(value) for key, value in config.items()}


def _filled_text(text: str, value_of: Callable[[str], object]) -> object:
    """Return what a text refers to, or the text with what it refers to."""
    keyed, whole = _KEYED.fullmatch(text), _REFERENCE.fullmatch(text)
    if keyed is not None:
        known, chosen = value_of(keyed[1]), value_of(keyed[2])
        if isinstance(known, dict) and isinstance(chosen, str):
            return known.get(chosen, text)
        return text
    if whole is not None:
        known = value_of(whole[1])
        return text if known is None else known
    return _REFERENCE.sub(lambda found: str(value_of(found[1]) or found[0]), text)
