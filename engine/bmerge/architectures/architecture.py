"""What an architecture is: named blocks, and rules that put every key into exactly one of them.

Rules are data; the ones that come with bmerge are the JSON files of this folder, and plugins
add their own, in JSON or YAML, through :func:`bmerge.architectures.load_architecture`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from bmerge.errors import ArchitectureError

__all__ = ["LEFTOVERS", "Architecture", "Rule"]

LEFTOVERS = (
    "model_ema.", "ema.", "ema_model.", "unet_ema.",
    "optimizer.", "optimizers.", "optimizer_states.", "lr_scheduler.", "lr_schedulers.",
    "grad_scaler.", "callbacks.", "loops.", "global_step", "epoch",
    "loss.", "first_stage_model.loss.",
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
    "logvar", "lvlb_weights",
)  # fmt: skip
"""What only training needs in a checkpoint of any architecture: copies of the weights (EMA), the
state of optimiser and trainer, networks of the loss, tables of LDM's noise schedule."""

_TOKENS = re.compile(r"\{i\}|\[|\]|[^\[\]{]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """Keys that start in a certain way belong to a certain block.

    Args:
        key: how they start, with ``{i}`` for a number and ``[…]`` around a part that may be
            missing, for example ``[model.diffusion_model.]input_blocks.{i}.``.
        block: the block's id, with ``{i}`` or ``{i:02}`` for that number.
    """

    key: str
    block: str

    def match(self, key: str) -> str | None:
        """Return the block of ``key``, or None if this rule does not speak of it."""
        found = _compiled(self.key).match(key)
        if found is None:
            return None
        number = found.groupdict().get("i")
        return self.block if number is None else self.block.format(i=int(number))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression for a rule's notation."""
    replacements = {"{i}": r"(?P<i>\d{1,9})", "[": "(?:", "]": ")?"}
    tokens = _TOKENS.findall(pattern)
    if "".join(tokens) != pattern or tokens.count("{i}") > 1:
        raise ArchitectureError(f"bad key pattern {pattern!r}", hint="allowed: {i} once, and [ ]")
    try:
        return re.compile("".join(replacements.get(token, re.escape(token)) for token in tokens))
    except re.error as error:
        raise ArchitectureError(f"bad key pattern {pattern!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class Architecture:
    """A block map.

    Args:
        id: how recipes and the command line call it.
        name: for people.
        blocks: ids in the order in which a list of weights names them.
        rules: the first that matches a key decides; the last must match every key.
        detect: patterns as in rules; a checkpoint with a key for each of them is of this
            architecture. Empty: only chosen by its id.
        absent: patterns of which a checkpoint of this architecture has no key.
        aliases: start of an old key → what it means; models with either merge with each other.
        follows: block → block whose weight it takes where its own is not given.
        lists: other lengths of a list of weights → the blocks that such a list names, with
            None for a weight that has no block here; recipes of other tools use them.
        modelspec: metadata keys of the modelspec standard for merged files.
        leftovers: patterns as in rules for keys that only training needs, beside those of
            :data:`LEFTOVERS`; they may be pruned. One that ends with a dot says how keys start,
            any other is a whole key.
    """

    id: str
    name: str
    blocks: tuple[str, ...]
    rules: tuple[Rule, ...]
    detect: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    follows: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[int, tuple[str | None, ...]] = field(default_factory=dict)
    modelspec: Mapping[str, str] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    _known: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _named: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ArchitectureError: if they do not.
        """
        self._named.update(zip(self.blocks, self.blocks, strict=True))
        if len(self._named) != len(self.blocks) or not self.blocks:
            raise ArchitectureError(f"architecture {self.id}: blocks must be some, and distinct")
        if not self.rules or self.rules[-1].key:
            message = f"architecture {self.id}: the last rule must have the key '' (any other)"
            raise ArchitectureError(message)
        named = {*self.follows, *self.follows.values()}
        for blocks in self.lists.values():
            named.update(block for block in blocks if block is not None)
        named.update(rule.block for rule in self.rules if "{" not in rule.block)
        for block in sorted(named - self._named.keys()):
            raise ArchitectureError(f"architecture {self.id}: no block {block!r} in its list")

    def block_of(self, key: str) -> str:
        """Return the one block that ``key`` belongs to.

        Raises:
            ArchitectureError: if a rule gives a block number that the architecture has not.
        """
        known = self._known.get(key)  # planning a merge asks for each key several times
        if known is not None:
            return known
        block = next(block for rule in self.rules if (block := rule.match(key)) is not None)
        if block not in self._named:
            message = f"{key!r} would be in block {block}, which {self.id} does not have"
            raise ArchitectureError(message, hint="is this another architecture?")
        return self._known.setdefault(key, self._named[block])  # one text for all keys of a block

    def is_leftover(self, key: str) -> bool:
        """Tell whether only training needs ``key``; what no pattern speaks of, models may need."""
        return any(
            found.end() == len(key) or pattern.endswith(".")
            for pattern in (*LEFTOVERS, *self.leftovers)
            if (found := _compiled(pattern).match(key)) is not None
        )

    def canonical(self, key: str) -> str:
        """Return the name by which ``key`` is the same tensor in every model."""
        for old, new in self.aliases.items():
            if key.startswith(old):
                return new + key[len(old) :]
        return key

    def leader(self, block: str, named: Collection[str]) -> str:
        """Return the block whose weight holds in ``block`` where only ``named`` have their own."""
        return block if block in named else self.follows.get(block, block)

    def recognises(self, keys: Collection[str]) -> bool:
        """Tell whether ``keys`` are those of a checkpoint of this architecture."""
        return bool(self.detect) and all(
            _any_key(pattern, keys) is wanted
            for patterns, wanted in ((self.detect, True), (self.absent, False))
            for pattern in patterns
        )


def _any_key(pattern: str, keys: Collection[str]) -> bool:
    match = _compiled(pattern).match
    return any(match(key) for key in keys)
