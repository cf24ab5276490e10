"""What an architecture is: named blocks, and rules that put every key into exactly one of them.

Rules are data; the ones that come with bmerge are the JSON files of this folder, and plugins
add their own, in JSON or YAML, through :func:`bmerge.architectures.load_architecture`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import field, replace

from bmerge.architectures.patterns import Contents, compiled
from bmerge.architectures.rules import Rule, Ruled
from bmerge.architectures.signs import Signs
from bmerge.errors import ArchitectureError
from bmerge.records import dataclass

__all__ = ["LEFTOVERS", "Architecture", "Variant"]

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

_NUMBER = re.compile(r"\{i(:\d+)?\}")


@dataclass(frozen=True, slots=True)
class Variant:
    """A kind of models within an architecture, with the same blocks.

    Args:
        name: for people.
        conditions: that hold for its checkpoints, see :mod:`bmerge.architectures.patterns`.
        modelspec: metadata keys of the modelspec standard that are not as the others'.
        also: other ids that its models may have in the standard, which no key tells apart.
        vae: whether they need a VAE.
    """

    name: str
    conditions: tuple[str, ...]
    modelspec: Mapping[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    vae: bool = True


@dataclass(frozen=True, slots=True)
class Architecture:
    """A block map.

    Args:
        id: how recipes and the command line call it.
        name: for people.
        blocks: ids in the order in which a list of weights names them. ``L{i:02}`` stands for
            as many as a checkpoint has; :meth:`fitted` writes them out.
        rules: the first that matches a key decides; the last must match every key.
        detect: conditions; a checkpoint that fulfils all of them is of this architecture, see
            :mod:`bmerge.architectures.patterns`. Empty: only chosen by its id.
        absent: patterns of which a checkpoint of this architecture has no key.
        layouts: conditions that say as much as ``detect`` where tensors have other names.
        aliases: start of an old key → what it means; models with either merge with each other.
        follows: block → block whose weight it takes where its own is not given.
        lists: other lengths of a list of weights → the blocks that such a list names, with
            None for a weight that has no block here and ``A+B`` for one that is of several;
            recipes of other tools use them.
        modelspec: metadata keys of the modelspec standard for merged files; see
            :meth:`modelspec_of`.
        leftovers: patterns as in rules for keys that only training needs, beside those of
            :data:`LEFTOVERS`; they may be pruned. One that ends with a dot says how keys start,
            any other is a whole key.
        text_encoders: how many a whole picture model has beside its VAE; None of others.
        vae: whether it needs a VAE; none that works on pixels does.
        divided: whether a block that is too large in a checkpoint is divided, by
            :mod:`bmerge.architectures.finer`.
        image_encoder: conditions of its models that look at a picture by an encoder; empty: none
            does.
        variants: that its checkpoints may be of; several may hold at once.
        variant: those that a checkpoint is of, once fitted to it.
    """

    id: str
    name: str
    blocks: tuple[str, ...]
    rules: tuple[Rule, ...]
    detect: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    layouts: tuple[tuple[str, ...], ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    follows: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[int, tuple[str | None, ...]] = field(default_factory=dict)
    modelspec: Mapping[str, str] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    text_encoders: int | None = None
    vae: bool = True
    divided: bool = False
    image_encoder: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    variant: tuple[str, ...] = ()
    _ruled: Ruled = field(init=False, repr=False, compare=False)
    _named: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ArchitectureError: if they do not.
        """
        object.__setattr__(self, "_ruled", Ruled(self.rules))
        self._named.update(zip(self.blocks, self.blocks, strict=True))
        if len(self._named) != len(self.blocks) or not self.blocks:
            raise ArchitectureError(f"architecture {self.id}: name at least one block, each once")
        if not self.rules or self.rules[-1].key:
            message = f"architecture {self.id}: the last rule must have the key '' (any other)"
            raise ArchitectureError(message)
        named = {*self.follows, *self.follows.values()}
        for blocks in self.lists.values():
            named.update(_named_in(blocks))
        named.update(rule.block for rule in self.rules if "{" not in rule.block)
        unknown = named - self._named.keys()
        starts = tuple(self._open()) if unknown else ()
        for block in sorted(unknown):
            if not block.startswith(starts):
                raise ArchitectureError(f"architecture {self.id}: no block {block!r} in its list")

    def block_of(self, key: str) -> str:
        """Return the one block that ``key`` belongs to.

        Raises:
            ArchitectureError: if a rule gives a block number that the architecture has not.
        """
        block = self._ruled.block_of(key)
        named = self._named.get(block)  # one text for all keys of a block
        if named is None:
            message = f"{key!r} would be in block {block}, which {self.id} does not have"
            raise ArchitectureError(message, hint="is this another architecture?")
        return named

    def is_leftover(self, key: str) -> bool:
        """Tell whether only training needs ``key``; what no pattern speaks of, models may need."""
        return any(
            found.end() == len(key) or pattern.endswith(".")
            for pattern in (*LEFTOVERS, *self.leftovers)
            if (found := compiled(pattern).match(key)) is not None
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

    def recognises(self, keys: Collection[str] | Contents) -> bool:
        """Tell whether ``keys`` are those of a checkpoint of this architecture."""
        return self.certainty(keys if isinstance(keys, Contents) else Contents(keys)) > 0

    def certainty(self, contents: Contents) -> int:
        """Return how many conditions a checkpoint fulfils; none, if it is of another one."""
        return Signs(self.detect, self.absent, self.layouts).certainty(contents)

    def fitted(self, contents: Contents) -> Architecture:
        """Return this architecture with as many blocks as a checkpoint has, and its variant."""
        if not self.variants and not self._open():
            return self
        variants = [each for each in self.variants if contents.fulfil(each.conditions)]
        blocks = self._written_out(contents.keys)
        lists = {
            length: named for length, named in self.lists.items() if _named_in(named) <= {*blocks}
        }
        variant = tuple(each.name for each in variants)
        return replace(self, blocks=blocks, lists=lists, variant=variant)

    @property
    def needs_vae(self) -> bool:
        """Whether models of the variant that it is fitted to need a VAE."""
        return self.vae and all(each.vae for each in self.variants if each.name in self.variant)

    def needs_image_encoder(self, contents: Contents) -> bool:
        """Tell whether a checkpoint of this architecture needs an image encoder."""
        return bool(self.image_encoder) and contents.fulfil(self.image_encoder)

    def modelspec_of(self, contents: Contents) -> dict[str, str]:
        """Return what the metadata of a checkpoint of this architecture says, by its variants."""
        spec = dict(self.modelspec)
        for variant in reversed(self.variants):  # the first that says something has the last word
            if variant.modelspec and contents.fulfil(variant.conditions):
                spec.update(variant.modelspec)
        return spec

    def _open(self) -> list[str]:
        """Return how the blocks start of which there are as many as a checkpoint has."""
        return [block[: found.start()] for block in self.blocks if (found := _NUMBER.search(block))]

    def _written_out(self, keys: Collection[str]) -> tuple[str, ...]:
        """Return the blocks, with those that are numbered as ``keys`` are."""
        if not self._open():
            return self.blocks
        found: dict[str, set[int]] = {block: set() for block in self.blocks}
        rules = [(rule.block, compiled(rule.key).match) for rule in self.rules]
        for key in keys:
            block, match = next((b, m) for b, matches in rules if (m := matches(key)))
            if block in found and "i" in match.groupdict():
                found[block].add(int(match["i"]))
        return tuple(
            name
            for block, numbers in found.items()
            for name in ([block.format(i=i) for i in sorted(numbers)] if "{" in block else [block])
        )


def _named_in(listed: Collection[str | None]) -> set[str]:
    """Return the blocks that a list of weights names."""
    return {block for blocks in listed if blocks is not None for block in blocks.split("+")}
