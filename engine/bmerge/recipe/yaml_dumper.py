"""Plain data as YAML that loads back equal."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["dump"]


def dump(data: dict[str, Any]) -> str:
    """Return data as YAML, in its own order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes numbers so that they load back to the bit, and words so that they stay words.

    What is there twice is written twice: bmerge's own reader takes no aliases.
    """

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(float(value))
    if "." not in text:  # PyYAML takes 1e-05 for a word, and 1.0e-05 for a number
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = value.isidentifier() and value.lower() not in {"true", "false", "null"}
    style = None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)
