"""Models whose channels are in another valid order, for the tests of re-basin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bmerge.formats import open_checkpoint
from bmerge.rebasin import write_in_order
from bmerge.rebasin.structure import AlikeParts, Free
from bmerge_plugins.demo import assets

BASE = Path(assets.__file__).parent / "base.safetensors"
TUNED = BASE.with_name("colours.safetensors")


def random_orders(rule, seed):
    """Return a random valid order for every space."""
    rng = np.random.default_rng(seed)
    return {name: _order(s, rule.sizes[name], rng) for name, s in rule.structures.items()}


def _order(structure, size, rng):
    order = np.arange(size)
    for places, channels in _moves(structure, structure, rng):
        order[places] = channels
    return order


def _moves(to, of, rng):
    """Yield places and the channels that come there when ``of`` takes the place of ``to``."""
    if isinstance(to, Free):
        yield slice(to.start, to.stop), rng.permutation(np.arange(of.start, of.stop))
        return
    parts = range(len(of.parts))
    sources = rng.permutation(parts) if isinstance(to, AlikeParts) else parts
    for place, source in zip(to.parts, sources, strict=True):
        yield from _moves(place, of.parts[source], rng)


def write_shuffled(path, rule, out, seed):
    """Write a checkpoint with its channels in a random valid order."""
    orders = random_orders(rule, seed)
    write_in_order(open_checkpoint(path), rule, orders, out, metadata={}).commit(sync=False)
    return out
