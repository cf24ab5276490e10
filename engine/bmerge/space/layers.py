"""Kinds of layers: attention, feed-forward, convolution and norms, searched apart in every block.

A kind is known by how its keys are called. A recipe has no word for "the attention of IN04"; it has
patterns of keys, so each kind in each block becomes patterns that match its keys and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

__all__ = ["KINDS", "layer_patterns"]

KINDS: Mapping[str, tuple[str, ...]] = {
    "convolution": (
        "*conv*", "*.in_layers.2.*", "*.out_layers.3.*", "*.skip_connection.*", "*.op.*",
        "*nin_shortcut*", "*.downsamplers.*", "*.upsamplers.*",
    ),
    "feed_forward": ("*.ff.*", "*mlp*", "*.fc1.*", "*.fc2.*", "*feed_forward*", "*.ffn.*"),
    "attention": ("*attn*", "*attention*", "*.to_q.*", "*.to_k.*", "*.to_v.*", "*qkv*"),
    "norm": ("*norm*", "*.ln_*", "*.in_layers.0.*", "*.out_layers.0.*"),
}  # fmt: skip
"""Kind → patterns of whole keys. A key of several kinds is of the last: the norm of an attention is
a norm."""


def layer_patterns(
    keys: Mapping[str, Sequence[str]], layers: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[str]]]:
    """Return block → kind → patterns of its keys there; a kind that a block has not is left out.

    In the order of blocks and ``layers``, the last pattern that matches a key is that of its kind.

    Args:
        keys: block → its keys.
        layers: kind → patterns of whole keys.
    """
    blocks = {key: block for block, some in keys.items() for key in some}
    starts: dict[str, list[str]] = {block: [] for block in keys}
    for start in _starts("", blocks):
        starts[blocks[next(key for key in blocks if key.startswith(start))]].append(start)
    found: dict[str, dict[str, list[str]]] = {}
    for block, own in keys.items():
        kinds = {key: _kind(key, layers) for key in own}
        for kind, patterns in layers.items():
            if members := [key for key in own if kinds[key] == kind]:
                found.setdefault(block, {})[kind] = _shared(members, starts[block], patterns)
    return found


def _starts(start: str, blocks: Mapping[str, str]) -> Iterator[str]:
    """Yield how keys start, as short as may be, where all of them are of one block.

    Args:
        start: of all the keys.
        blocks: key → block.
    """
    if len({*blocks.values()}) == 1:
        yield start
        return
    parts: dict[str, dict[str, str]] = {}
    for key, block in blocks.items():
        part, dot, _ = key[len(start) :].partition(".")
        parts.setdefault(start + part + dot, {})[key] = block
    for longer, some in parts.items():
        yield from _starts(longer, some)


def _kind(key: str, layers: Mapping[str, Sequence[str]]) -> str | None:
    """Return the last kind that a key is of."""
    fitting = (kind for kind, patterns in layers.items() if _fits(key, patterns))
    return next(iter([*fitting][::-1]), None)


def _shared(members: Iterable[str], starts: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the fewest patterns below ``starts`` that match all ``members``."""
    left, found = list(members), []
    for start in starts:
        for pattern in patterns:
            for each in dict.fromkeys((_escaped(start) + pattern, _escaped(start) + pattern[2:])):
                if fitting := [key for key in left if fnmatchcase(key, each)]:
                    found.append(each)
                    left = [key for key in left if key not in fitting]
    return [*found, *map(_escaped, left)]


def _fits(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _escaped(key: str) -> str:
    """Return a pattern that matches the key alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in key)
