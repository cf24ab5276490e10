"""What is in a LoRA file: the layers that it changes, and the tensors that say how.

Which layer and role a key names is told by :mod:`bmerge.formats.changes`. No tensor is read, but
two that claim the same role.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.errors import FormatError
from bmerge.formats import (
    Checkpoint,
    Tensor,
    open_checkpoint,
    read_bytes,
    refuse_quantised,
    rows_of,
)
from bmerge.formats.changes import is_change, role_of, unread_network
from bmerge.lora.peft import Configured, configuration_of
from bmerge.lora.shapes import (
    check_factors,
    check_filled,
    check_kinds,
    glora_order,
    inputs_turned,
    matrix_of,
    rank_of,
    rotated_rows,
)
from bmerge.records import dataclass

__all__ = [
    "Lora",
    "Module",
    "is_lora",
    "is_lora_file",
    "open_lora",
    "parse_lora",
    "rows_of_module",
]

_BY_ROWS = {"up", "up_bias", "hada_w1_a", "hada_w2_a", "diff", "diff_b", "w_norm", "b_norm", "set"}
"""Roles whose rows are those of the layer's output."""
_LENGTHS = {"dora_scale", "magnitude"}
_OF_BLOCK = "diff_m"
"""What Wan's distilled LoRAs call the difference of a block's own modulation."""
_ON_INPUT = ".on_input"
"""How LyCORIS says of a layer of IA3, whose numbers are called its weight, what they multiply."""
_NEEDLESS = "reshape_weight"
"""ComfyUI's word for the shape of a widened weight, which the factors tell."""
_BESIDE = (".alpha", ".dora_scale", ".rescale")
"""How keys end of what stands beside weights of any network."""
_NETWORKS = {
    "oft_R": "OFTv2", "ia3_l": "IA3", "ia3": "IA3",
    "down": "LoRA", "up": "LoRA", "embedding_down": "LoRA", "embedding_up": "LoRA",
    "hada_w1_a": "LoHa", "lokr_w1": "LoKr", "lokr_w1_a": "LoKr", "oft_blocks": "OFT",
    "a1": "GLoRA", "a2": "GLoRA", "b1": "GLoRA", "b2": "GLoRA", "diff": "full",
    "diff_m": "full", "w_norm": "norm", "diff_b": "full", "b_norm": "norm", "set": "norm",
}  # fmt: skip
"""The role that tells a network type; the first one counts, so a bias that is changed beside a
weight comes last."""


@dataclass(frozen=True, slots=True)
class Module:
    """One layer that a LoRA changes.

    Args:
        name: of the layer, as the file has it.
        network: ``LoRA`` (also of convolutions), ``LoHa``, ``LoKr``, ``OFT``, ``BOFT``, ``OFTv2``
            (that of PEFT), ``GLoRA``, ``IA3``, ``full`` or ``norm``.
        tensors: role → where it lies.
        configured: what stands elsewhere than in tensors, or None.
        part: of the layer's rows the first that it is for, and how many the layer has, where
            they are rotated in parts; None: it is for all.
        of_rows: of IA3, whether rows are multiplied, not inputs.
    """

    name: str
    network: str
    tensors: Mapping[str, Tensor]
    configured: Configured | None = None
    part: tuple[int, int] | None = None
    of_rows: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Role → shape."""
        return {role: info.shape for role, info in self.tensors.items()}

    @property
    def matrix(self) -> tuple[int, int] | None:
        """Rows and columns of the change of the layer's weight.

        None if only its bias changes, or the change is of as many as the weight has: :meth:`fits`.
        """
        return matrix_of(self.network, self.shapes)

    @property
    def rotated(self) -> int | None:
        """How many rows are rotated; None for networks that rotate none."""
        return rotated_rows(self.network, self.shapes)

    def fits(self, rows: int, channels: int, columns: int) -> tuple[int, int]:
        """Return rows and columns of the change of a weight.

        Args:
            rows: of the weight.
            channels: its input channels.
            columns: these for each place of its kernel.
        """
        if self.rotated is not None:
            return self.rotated, columns
        if self.network == "OFTv2":
            count, size = inputs_turned(self.shapes)
            return rows, columns if count == 1 and columns % size == 0 else count * size
        if self.network == "IA3":
            count = self.scaling.numel
            return (count, columns) if self.of_rows else (rows, columns // channels * count)
        assert self.matrix is not None
        return self.matrix

    @property
    def reparametrised(self) -> bool:
        """Whether the network makes its change of the layer's weight."""
        return self.network in {"OFT", "BOFT", "OFTv2", "GLoRA", "IA3"}

    @property
    def scales_bias(self) -> bool:
        """Whether the layer's bias is multiplied as the rows of its weight are: as PEFT does it."""
        return self.of_rows and "ia3_l" in self.tensors

    @property
    def scaling(self) -> Tensor:
        """The numbers of IA3: what rows or inputs are multiplied by (PEFT), or 1 less (LyCORIS)."""
        return self.tensors["ia3_l" if "ia3_l" in self.tensors else "ia3"]

    @property
    def needs_weight(self) -> bool:
        """Whether the change depends on what the layer's weight is."""
        return self.reparametrised or (self.magnitude or self.value) is not None

    @property
    def rank(self) -> int | None:
        """The rank that alpha is divided by; None for networks without one."""
        return rank_of(self.network, self.shapes)

    @property
    def inputs_first(self) -> bool:
        """Whether the layer's weight is stored transposed; that of an embedding never is."""
        found = self.configured is not None and self.configured.inputs_first
        return found and "embedding_up" not in self.tensors

    @property
    def bias(self) -> Tensor | None:
        """The change of the layer's bias."""
        roles = ("diff_b", "b_norm", "up_bias")
        return next((self.tensors[role] for role in roles if role in self.tensors), None)

    @property
    def bias_is_scaled(self) -> bool:
        """Whether the change of the bias is multiplied as the product of the factors is."""
        return self.bias is not None and self.bias is self.tensors.get("up_bias")

    @property
    def value(self) -> Tensor | None:
        """What the layer's weight becomes, where that is not told as a change of it."""
        return self.tensors.get("set")

    @property
    def magnitude(self) -> Tensor | None:
        """The lengths that DoRA gives the changed weight's vectors."""
        return self.tensors.get("dora_scale", self.tensors.get("magnitude"))


def rows_of_module(module: Module, begin: int, end: int) -> Module | None:
    """Return what changes some rows of a layer's output alone; None if it has no such rows.

    Args:
        module: the layer.
        begin: the first row.
        end: the one after the last.
    """
    if any(role.startswith(("lokr", "hada_t", "embedding", "oft")) for role in module.tensors):
        return None
    by_rows = _BY_ROWS | ({glora_order(module.shapes)[2]} if module.network == "GLoRA" else set())
    whole = module.matrix[0] if module.matrix else module.bias.numel if module.bias else 0
    tensors = {
        role: rows_of(tensor, tensor.key, begin, end)
        if role in by_rows or (role in _LENGTHS and tensor.shape[:1] == (whole,))
        else tensor
        for role, tensor in module.tensors.items()
    }
    some = replace(module, tensors=tensors)
    if module.network == "GLoRA" and glora_order(some.shapes) != glora_order(module.shapes):
        return None  # of a rank no less than the size: the rows alone would be taken for others
    return some


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA file.

    Args:
        checkpoint: its table of contents.
        modules: the layers that it changes, in the order of the file.
        unknown: keys that belong to no network type that is known.
    """

    checkpoint: Checkpoint
    modules: tuple[Module, ...]
    unknown: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.checkpoint.path

    @property
    def networks(self) -> dict[str, int]:
        """Network type → number of layers, the most frequent first."""
        networks = {(module.name, module.network) for module in self.modules}
        return dict(Counter(network for _, network in networks).most_common())

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return len({module.name for module in self.modules})


def is_lora(checkpoint: Checkpoint) -> bool:
    """Tell whether a file holds changes of a model rather than a model."""
    return any(map(is_change, checkpoint.tensors))


def is_lora_file(checkpoint: Checkpoint) -> bool:
    """Tell whether all that a file holds is a LoRA, without a look at many keys of a model."""
    return all(map(role_of, checkpoint.tensors)) and is_lora(checkpoint)


def open_lora(path: str | Path) -> Lora:
    """Read a LoRA file's table of contents.

    Args:
        path: the file.

    Raises:
        FormatError: if it cannot be read, is not a LoRA, lacks tensors, or is quantised.
    """
    checkpoint = open_checkpoint(path)
    refuse_quantised(checkpoint)
    return parse_lora(checkpoint)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Tell whether a tensor was stored twice, under names of two programs."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return read_bytes(one) == read_bytes(other)


def parse_lora(checkpoint: Checkpoint) -> Lora:
    """Return the layers that an open file changes; see :func:`open_lora`."""
    layers: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    unknown = []
    scaled = {key.removesuffix(_ON_INPUT) for key in checkpoint.tensors if key.endswith(_ON_INPUT)}
    for key, info in checkpoint.tensors.items():
        found = role_of(key)
        if found is None and (name := key.removesuffix(".weight")) in scaled:
            found = name, "ia3"
        if found is None:
            unknown.append(key)
            continue
        name, role = found
        if role == _NEEDLESS:
            continue
        if role == _OF_BLOCK:
            role, name = "diff", f"{name}.modulation"
        first = layers[name].setdefault(role, info)
        if first is not info and not _equal(first, info):
            message = f"{checkpoint.path.name}: {first.key!r} and {key!r} are both {role}"
            hint = "a file holds one LoRA of each layer"
            raise FormatError(message, path=checkpoint.path, key=key, hint=hint)
    for name in _of_unknown_networks(layers, unknown):
        unknown += [info.key for info in layers.pop(name).values()]
    configured = configuration_of(checkpoint)
    modules = tuple(
        module
        for name, tensors in layers.items()
        for module in _modules(checkpoint.path, name, tensors, configured(name))
    )
    if not modules:
        raise _no_modules(checkpoint, unknown)
    return Lora(checkpoint, modules, tuple(unknown))


def _of_unknown_networks(
    layers: Mapping[str, Mapping[str, Tensor]], unknown: Sequence[str]
) -> list[str]:
    """Return the layers of which only what stands beside the weights is known, as an alpha is."""
    aside = [name for name, tensors in layers.items() if not tensors.keys() & _NETWORKS.keys()]
    if not aside:
        return []
    starts = {start for key in unknown for start in _starts_of(key)}
    return [name for name in aside if name in starts]


def _starts_of(key: str) -> Iterator[str]:
    """Yield what is before each of a key's dots."""
    return (key[:place] for place, letter in enumerate(key) if letter == ".")


def _no_modules(checkpoint: Checkpoint, unknown: Sequence[str]) -> FormatError:
    hint = "supported: LoRA, LoHa, LoKr, OFT, BOFT, GLoRA, IA3, full"
    weights = [key for key in unknown if not key.endswith(_BESIDE)]
    unread = [found for key in weights if (found := unread_network(key))]
    if unread and len(unread) == len(weights):
        message = f"{checkpoint.path}: its layers are of {unread[0]}, which is not read"
    else:
        example = next(iter(checkpoint.tensors), "nothing")
        message = f"{checkpoint.path} is not a LoRA: it holds {example!r}, for example"
    return FormatError(message, path=checkpoint.path, hint=hint)


def _modules(
    path: Path, name: str, tensors: Mapping[str, Tensor], configured: Configured | None
) -> Iterator[Module]:
    """Yield a layer, or its parts where each has rotations of its own: kohya's trainer for Flux."""
    numbers = [role for role in tensors if role.startswith("oft_blocks.")]
    if not numbers:
        yield _module(path, name, tensors, configured)
        return
    others = {role: info for role, info in tensors.items() if role not in numbers}
    numbers.sort(key=lambda role: int(role.rpartition(".")[2]))
    parts = [
        _module(path, name, {**others, "oft_blocks": tensors[role]}, configured) for role in numbers
    ]
    total, first = sum(part.rotated or 0 for part in parts), 0
    for part in parts:
        yield replace(part, part=(first, total))
        first += part.rotated or 0


def _module(
    path: Path, name: str, tensors: Mapping[str, Tensor], configured: Configured | None
) -> Module:
    network = next((kind for role, kind in _NETWORKS.items() if role in tensors), None)
    if network is None:
        message = f"{path}: {name!r} has {', '.join(tensors)} but no weights"
        raise FormatError(message, path=path, key=name, hint="is the file complete?")
    shapes = {role: info.shape for role, info in tensors.items()}
    kinds = {role: (info.dtype, info.shape) for role, info in tensors.items()}
    if network == "OFT" and len(shapes["oft_blocks"]) == 4:
        network = "BOFT"
    problem = check_kinds(kinds) or check_factors(network, shapes) or check_filled(shapes)
    if problem is not None:
        raise FormatError(f"{path}: {name!r} {problem}", path=path, key=name)
    of_rows = network == "IA3" and _are_of_rows(path, name, tensors, configured)
    return Module(name, network, dict(tensors), configured, of_rows=of_rows)


def _are_of_rows(
    path: Path, name: str, tensors: Mapping[str, Tensor], configured: Configured | None
) -> bool:
    """Tell whether numbers of IA3 are of a layer's outputs, by their shape or what is beside."""
    if "ia3" in tensors:
        on_input = tensors.get("on_input")
        return on_input is not None and not any(read_bytes(on_input))
    shape = tensors["ia3_l"].shape
    if len(shape) == 2 and shape != (1, 1):
        return shape[1] == 1
    if configured is None or configured.feedforward is None:
        message = f"{path}: whether {name!r} multiplies outputs or inputs is told nowhere"
        hint = "adapter_config.json, which PEFT writes beside it, says so"
        raise FormatError(message, path=path, key=name, hint=hint)
    return not configured.feedforward
