"""Reading a LoRA file's table of contents into layers.

Which layer and role a key names is told by :mod:`bmerge.formats.changes`. No tensor is read, but
two that claim the same role.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.errors import FormatError
from bmerge.formats import Checkpoint, Tensor, open_checkpoint, read_bytes, refuse_quantised
from bmerge.formats.changes import is_change, role_of, unread_network
from bmerge.lora.modules import Lora, Module
from bmerge.lora.peft import Configured, configuration_of
from bmerge.lora.peft_shapes import PEFT, PEFT_ROLES, SHARED, check_tensors
from bmerge.lora.shapes import check_factors, check_filled, check_kinds

__all__ = ["is_lora", "is_lora_file", "open_lora", "parse_lora"]

_OF_BLOCK = "diff_m"
"""What Wan's distilled LoRAs call the difference of a block's own modulation."""
_ON_INPUT = ".on_input"
"""How LyCORIS says of a layer of IA3, whose numbers are called its weight, what they multiply."""
_NEEDLESS = "reshape_weight"
"""ComfyUI's word for the shape of a widened weight, which the factors tell."""
_CONFIGURED = {"AdaLoRA", "HRA", "FourierFT"}
"""Networks of which adapter_config.json says more than their tensors."""
_BESIDE = (".alpha", ".dora_scale", ".rescale")
"""How keys end of what stands beside weights of any network."""
_NETWORKS = {
    **PEFT_ROLES, "oft_R": "OFTv2", "ia3_l": "IA3", "ia3": "IA3",
    "down": "LoRA", "up": "LoRA", "embedding_down": "LoRA", "embedding_up": "LoRA",
    "hada_w1_a": "LoHa", "lokr_w1": "LoKr", "lokr_w1_a": "LoKr", "oft_blocks": "OFT",
    "a1": "GLoRA", "a2": "GLoRA", "b1": "GLoRA", "b2": "GLoRA", "diff": "full",
    "diff_m": "full", "w_norm": "norm", "diff_b": "full", "b_norm": "norm", "set": "norm",
}  # fmt: skip
"""The role that tells a network type; the first one counts, so a bias that is changed beside a
weight comes last."""


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
    _check_beside(checkpoint, layers, unknown)
    _share(checkpoint, layers)
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


def _check_beside(
    checkpoint: Checkpoint, layers: Mapping[str, Mapping[str, Tensor]], unknown: Sequence[str]
) -> None:
    """Refuse factors beside which stands what says more of them, as in variants of LoRA."""
    for key in unknown:
        name, dot, role = key.partition(".lora_")
        if dot and name in layers:
            message = f"{checkpoint.path}: {name!r} has lora_{role} beside its factors"
            hint = "this variant of LoRA is not read: let PEFT merge it (merge_and_unload)"
            raise FormatError(message, path=checkpoint.path, key=key, hint=hint)


def _share(checkpoint: Checkpoint, layers: dict[str, dict[str, Tensor]]) -> None:
    """Give each layer of VeRA the matrices that a file has once for all."""
    own = [name for name, tensors in layers.items() if tensors.keys() <= set(SHARED)]
    shared = {role: info for name in own for role, info in layers.pop(name).items()}
    needing = [name for name, tensors in layers.items() if "vera_lambda_b" in tensors]
    if needing and shared.keys() != set(SHARED):
        message = f"{checkpoint.path} has no vera_A and vera_B: they were drawn at random"
        hint = "save it with save_projection=True"
        raise FormatError(message, path=checkpoint.path, hint=hint)
    for name in needing:
        layers[name] |= shared


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
    hint = "docs/lora.md lists what is read; a model that it was merged into can be merged"
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
    problem = check_kinds(kinds) or check_factors(network, shapes)
    if problem is None and network in PEFT:
        problem = check_tensors(network, shapes) or _unsaid(network, configured)
    problem = problem or check_filled(shapes)
    if problem is not None:
        raise FormatError(f"{path}: {name!r} {problem}", path=path, key=name)
    of_rows = network == "IA3" and _are_of_rows(path, name, tensors, configured)
    return Module(name, network, dict(tensors), configured, of_rows=of_rows)


def _unsaid(network: str, configured: Configured | None) -> str | None:
    """Return what is not said, or is not read, of a network that PEFT alone writes."""
    if configured is None and network in _CONFIGURED:
        return f"is of {network}, and no adapter_config.json beside it says how"
    if configured is not None and configured.inputs_first and network != "AdaLoRA":
        return f"is of {network} for a weight that is stored transposed, which is not read"
    return None


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
