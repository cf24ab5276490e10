"""Changes that the native core adds to a tensor while it reads it, a few rows at a time.

Those are products of two factors (LoRA), with a core between them too, of two such products (LoHa),
Kronecker products (LoKr), differences that are stored as they are, and what networks make of the
weight itself, but for BOFT of LyCORIS, whose last stage is of rows that are far apart. Each may
have lengths for its vectors (DoRA). Of networks that PEFT alone writes those are added that are
products, once :mod:`.factored` has made the factors, and BOFT. Other changes of transposed weights
than products of two factors, those of another number of input channels, and the rest of PEFT's
networks are computed by :mod:`.patch` instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from bmerge.dtypes import SIZES, is_float
from bmerge.formats import ComposedTensor, Tensor, TensorInfo, native_input, pieces_of
from bmerge.lora.changes import Change
from bmerge.lora.lengths import are_of_rows
from bmerge.lora.modules import Module
from bmerge.lora.patched import PatchedTensor
from bmerge.lora.peft import TERMS
from bmerge.lora.scale import bias_scale_of, read_number, scale_of
from bmerge.lora.shapes import glora_order, inputs_turned

__all__ = ["files_of", "is_streamed", "streamed_input"]

Kind: TypeAlias = Literal[
    "one", "elementwise", "kronecker", "through", "rows", "inputs", "stages", "scaled"
]


class Part(NamedTuple):
    """A stored matrix of a factor; what is beyond the first dimension are columns.

    Args:
        info: where it lies.
        turned: whether its rows are stored as columns.
    """

    info: Tensor
    turned: bool = False


Factor: TypeAlias = tuple[Part, ...]
"""One matrix, two that are multiplied, or two with a core between them."""


class Summand(NamedTuple):
    """How a change, or a summand of one, is made of stored matrices.

    Args:
        kind: what the core calls it.
        factors: of products.
        others: what it is made of instead, of changes of the weight itself.
    """

    kind: Kind
    factors: tuple[Factor, ...] = ()
    others: tuple[Tensor, ...] = ()


def is_streamed(tensor: Tensor) -> bool:
    """Tell whether the core can compute a tensor that LoRAs are on, or on a part of it."""
    patched = (piece.tensor for piece in pieces_of(tensor))
    some = (each for each in patched if isinstance(each, PatchedTensor) and each.numel)
    return all(_summands(change, each.shape) for each in some for change in each.changes)


def files_of(tensor: Tensor) -> Iterator[Path]:
    """Yield the files that computing a tensor reads, those of LoRAs too; some more than once."""
    yield from tensor.files
    for piece in pieces_of(tensor):
        if isinstance(piece.tensor, PatchedTensor):
            for change in piece.tensor.changes:
                yield from (info.file for info in change.module.tensors.values())


def streamed_input(tensor: Tensor, source: Callable[[Path], int]) -> Any:
    """Return a tensor of :func:`is_streamed` as the core takes an input of a job.

    Args:
        tensor: LoRAs are on it, or on some of its pieces.
        source: file → its number.
    """
    if isinstance(tensor, ComposedTensor):
        pieces = tensor.pieces
        return [(streamed_input(each.tensor, source), each.first, each.count) for each in pieces]
    if not isinstance(tensor, PatchedTensor):
        return native_input(tensor, source)
    changes = [raw for change in tensor.changes for raw in _changes(change, tensor.shape, source)]
    rows = _rows(tensor.shape)
    base = native_input(tensor.base, source)
    return "patched", base, rows, tensor.numel // max(rows, 1), changes


def _rows(shape: tuple[int, ...]) -> int:
    return shape[0] if shape else 1


def _summands(change: Change, shape: tuple[int, ...]) -> tuple[Summand, ...]:
    """Return the summands of a change; none if the core cannot do it."""
    module, turn = change.module, change.place.turn
    if change.place.of is not None or change.channels is not None:
        return ()
    found = _bias(module) if change.is_bias else _weight(module)
    if turn == "transposed":
        found = _transposed(found)
    if _has_lengths(change) and (len(found) != 1 or _by_rows(change, shape) is None):
        return ()
    if turn == "halves swapped" and not all(map(_by_parts_of_rows, found)):
        return ()
    read = [part.info for form in found for factor in form.factors for part in factor]
    read += [info for form in found for info in form.others]
    plain = all(isinstance(info, TensorInfo) and is_float(info.dtype) for info in read)
    return found if plain else ()


def _transposed(forms: tuple[Summand, ...]) -> tuple[Summand, ...]:
    """Return what adds the transposed change; nothing but where it is a product of two matrices."""
    if len(forms) != 1 or forms[0].kind != "one" or len(forms[0].factors[0]) != 2:
        return ()
    (factor,) = forms[0].factors
    turned = (Part(info, not turned) for info, turned in reversed(factor))
    return (Summand("one", (tuple(turned),)),)


def _by_parts_of_rows(form: Summand) -> bool:
    """Tell whether some rows of a change can be had without the others."""
    if form.kind in {"one", "elementwise"}:
        return not any(factor[0].turned for factor in form.factors)
    return form.kind in {"through", "inputs"}  # what multiplies rows in stages is of all rows


def _has_lengths(change: Change) -> bool:
    return change.module.magnitude is not None and not change.is_bias


def _by_rows(change: Change, shape: tuple[int, ...]) -> bool | None:
    """Tell whether DoRA's lengths are those of stored rows; None if the core cannot give them."""
    info = change.module.magnitude
    if not isinstance(info, TensorInfo) or not is_float(info.dtype):
        return None
    begin, end = change.place.rows or (0, _rows(shape))
    if len(shape) < 2:
        return None
    if change.place.turn == "transposed":
        of_columns = are_of_rows(info, shape[1], end - begin)
        return None if of_columns is None else not of_columns
    by_rows = are_of_rows(info, end - begin, shape[1])
    # Of a column half is computed apart from the other.
    return None if change.place.turn and not by_rows else by_rows


def _bias(module: Module) -> tuple[Summand, ...]:
    if module.scales_bias:
        return _weight(module)
    return () if module.bias is None else (Summand("one", ((Part(module.bias),),)),)


def _weight(module: Module) -> tuple[Summand, ...]:
    made = _NETWORKS.get(module.network)
    return () if made is None else made(module)


def _low_rank(module: Module) -> tuple[Summand, ...]:
    tensors = module.tensors
    if "embedding_up" in tensors:
        turned = (Part(tensors[f"embedding_{role}"], turned=True) for role in ("down", "up"))
        return (Summand("one", (tuple(turned),)),)
    roles = ("up", "mid", "down")
    return (Summand("one", (tuple(Part(tensors[role]) for role in roles if role in tensors),)),)


def _elementwise(module: Module) -> tuple[Summand, ...]:
    return (
        Summand("elementwise", tuple(_pair(module, f"hada_w{i}", f"hada_t{i}") for i in (1, 2))),
    )


def _stored(module: Module) -> tuple[Summand, ...]:
    stored = module.tensors.get("diff", module.tensors.get("w_norm"))
    return () if stored is None else (Summand("one", ((Part(stored),),)),)


def _generalised(module: Module) -> tuple[Summand, ...]:
    tensors = module.tensors
    first, second, up, down = (Part(tensors[role]) for role in glora_order(module.shapes))
    added = (up, Part(tensors["bm"]), down) if "bm" in tensors else (up, down)
    return Summand("through", ((first, second),)), Summand("one", (added,))


def _rotated(module: Module) -> tuple[Summand, ...]:
    roles = (role for role in ("oft_blocks", "rescale") if role in module.tensors)
    return (Summand("rows", others=tuple(module.tensors[role] for role in roles)),)


def _reflected(module: Module) -> tuple[Summand, ...]:
    """Return what takes inputs through two matrices, if these are there: see :mod:`.factored`."""
    if "left" not in module.tensors:
        return ()
    return (Summand("through", (tuple(Part(module.tensors[role]) for role in ("left", "right")),)),)


def _kroneckers(module: Module) -> tuple[Summand, ...]:
    return (Summand("kronecker", tuple(_kronecker(module, number) for number in (1, 2))),)


_NETWORKS: Mapping[str, Callable[[Module], tuple[Summand, ...]]] = {
    "LoRA": _low_rank,
    "LoHa": _elementwise,
    "LoKr": _kroneckers,
    "full": _stored,
    "norm": _stored,
    "GLoRA": _generalised,
    "OFT": _rotated,
    "OFTv2": lambda module: (Summand("inputs", others=(module.tensors["oft_R"],)),),
    "IA3": lambda module: (Summand("scaled", others=(module.scaling,)),),
    "BOFT of PEFT": lambda module: (
        Summand("stages", others=(module.tensors["boft_R"], module.tensors["boft_s"])),
    ),
    "HRA": _reflected,
}


def _kronecker(module: Module, number: int) -> Factor:
    whole = module.tensors.get(f"lokr_w{number}")
    if whole is not None:
        return (Part(whole),)
    return _pair(module, f"lokr_w{number}", f"lokr_t{number}")


def _pair(module: Module, name: str, core: str) -> Factor:
    a, b = (module.tensors[f"{name}_{side}"] for side in "ab")
    if core not in module.tensors:
        return Part(a), Part(b)
    return Part(a, turned=True), Part(module.tensors[core]), Part(b)


def _changes(
    change: Change, shape: tuple[int, ...], source: Callable[[Path], int]
) -> Iterator[Any]:
    """Yield a change as the core takes it; one whose halves are swapped are two."""
    scale = (bias_scale_of if change.is_bias else scale_of)(change.module)
    if not _has_lengths(change):
        scale *= change.weight
    begin, end = change.place.rows or (0, _rows(shape))
    half = (end - begin) // 2
    parts = [(begin, 0, end - begin)]
    if change.place.turn == "halves swapped":
        parts = [(begin, end - begin - half, half), (begin + half, 0, end - begin - half)]
    for form in _summands(change, shape):
        for place, first, count in parts:
            cut = (first, count) if change.place.turn == "halves swapped" else None
            made = _made(form, change.module, end - begin, cut, source)
            lengths = _lengths(change, shape, cut, source) if _has_lengths(change) else None
            yield place, place + count, scale, form.kind, made, lengths


def _lengths(
    change: Change,
    shape: tuple[int, ...],
    cut: tuple[int, int] | None,
    source: Callable[[Path], int],
) -> Any:
    """Return the lengths of a change's vectors, or of some of its rows."""
    info, by_rows = change.module.magnitude, _by_rows(change, shape)
    assert isinstance(info, TensorInfo), "asked before"
    first, count = (0, info.numel) if cut is None else cut
    file, offset, dtype = _plain(info, source)
    return file, offset + first * SIZES[dtype], dtype, count, by_rows, change.weight


def _made(
    form: Summand,
    module: Module,
    rows: int,
    cut: tuple[int, int] | None,
    source: Callable[[Path], int],
) -> Any:
    """Return what a summand of so many rows is made of, or some of its rows."""
    if form.kind == "rows":
        blocks, *rescale = (_plain(info, source) for info in form.others)
        count, size = form.others[0].shape[:2]
        bound = read_number(module.tensors["alpha"]) * rows if "alpha" in module.tensors else 0.0
        return blocks, count, size, None, bound, False, rescale[0] if rescale else None
    if form.kind == "inputs":
        (info,), configured = form.others, module.configured
        count, size = inputs_turned(module.shapes)
        terms = TERMS if configured is None else configured.terms
        bound = 0.0 if configured is None else configured.bound / math.sqrt(count)
        return _plain(info, source), count, size, terms, bound, True, None
    if form.kind == "stages":
        stored, factors = form.others
        stages, count, size, _ = stored.shape
        return _plain(stored, source), count, size, stages, _plain(factors, source)
    if form.kind == "scaled":
        (info,) = form.others
        return _plain(info, source), info.numel, module.of_rows, float("ia3_l" in module.tensors)
    if form.kind == "through":
        cut = None
    return [_factor(factor, cut, source) for factor in form.factors]


def _factor(factor: Factor, cut: tuple[int, int] | None, source: Callable[[Path], int]) -> Any:
    """Return a factor, of its rows only some: the first of them, and how many."""
    raw = []
    for number, (info, turned) in enumerate(factor):
        assert isinstance(info, TensorInfo), info
        rows = info.shape[0] if info.shape else 1
        columns = math.prod(info.shape[1:])
        first, count = (0, rows) if cut is None or number else cut
        offset = info.offset + first * columns * SIZES[info.dtype]
        sizes = (columns, count) if turned else (count, columns)
        raw.append((source(info.file), offset, info.dtype, *sizes, turned))
    return raw


def _plain(info: Tensor, source: Callable[[Path], int]) -> tuple[int, int, str]:
    assert isinstance(info, TensorInfo), info
    return source(info.file), info.offset, info.dtype
