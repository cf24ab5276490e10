"""What ``bmerge diff`` shows: tables, JSON, and the cells of its heat map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmerge.cli.output import print_table, show
from bmerge.compare import Difference, Distance, MadeOf
from bmerge.compare.guess import guess
from bmerge.compare.heat import HeatGrid
from bmerge.compare.layers import LAYERS
from bmerge.errors import counted

__all__ = [
    "data",
    "grid",
    "lines",
    "made_data",
    "made_grid",
    "made_lines",
    "print_difference",
    "print_made",
]

_MOST = 5
"""Tensors that are named."""


def data(found: Difference) -> dict[str, Any]:
    """Return a difference as plain data."""
    alignment = found.alignment
    return {
        "files": [str(checkpoint.path) for checkpoint in alignment.checkpoints],
        "base": len(alignment.checkpoints) > 2,
        "architecture": alignment.architecture.id,
        "total": found.total.data,
        "components": _all(found.components),
        "blocks": _all(found.blocks),
        "layers": _all(found.layers),
        "missing": alignment.lacking(1),
        "added": alignment.added(1),
        "shapes": {row.key: [list(i.shape) for i in row.infos] for row in alignment.unlike},
        "dtypes": {
            row.key: [info.dtype for info in row.infos]
            for row in (*alignment.rows, *alignment.unlike)
            if len({info.dtype for info in row.infos}) > 1
        },
        "tensors": {row.key: distance.data for row, distance in found.distances},
    }


def print_difference(found: Difference) -> None:
    """Print a difference for people."""
    for line in lines(found):
        show(line)
    for title, groups in (
        ("component", found.components), ("block", found.blocks), ("layers", found.layers),
    ):  # fmt: skip
        show("")
        _print_groups(title, groups, based=found.total.base is not None)
    changed = [(row, each) for row, each in found.distances if each.changed and each.relative]
    changed.sort(key=lambda pair: -(pair[1].relative or 0.0))
    if changed:
        show("\nfarthest tensors")
        for row, distance in changed[:_MOST]:
            show(f"  {_number(distance.relative)}  {row.key}")


def lines(found: Difference) -> tuple[str, ...]:
    """Return what there is to say in sentences."""
    return tuple(_lines(found))


def _lines(found: Difference) -> Iterator[str]:
    alignment, total = found.alignment, found.total
    names = [checkpoint.path.name for checkpoint in alignment.checkpoints]
    based = f", both from {names[2]}" if len(names) > 2 else ""
    yield f"{names[0]} and {names[1]} ({alignment.architecture.id}){based}"
    if not total.changed:
        yield f"all {total.keys} tensors that both have are equal"
    else:
        share = 100 * total.elements_changed / max(1, total.elements)
        yield f"{total.changed} of {total.keys} tensors differ, {share:.3g} % of their numbers"
        of = "what they have learned" if based else "the two"
        yield (
            f"distance {_number(total.relative)}, greatest {total.greatest:.3g}, "
            f"cosine of {of} {_cosine(total.cosine)}"
        )
    if total.nonfinite:
        yield f"{total.nonfinite} numbers are NaN or infinite, and count as 0"
    for said, keys in (
        (f"only in {names[0]}", alignment.lacking(1)), (f"only in {names[1]}", alignment.added(1)),
        ("of other shapes", [row.key for row in alignment.unlike]),
    ):  # fmt: skip
        if keys:
            more = ", …" if len(keys) > 1 else ""
            yield f"{said}: {counted(len(keys), 'tensor')} ({keys[0]}{more})"
    pairs: dict[tuple[str, ...], int] = {}
    for row, _ in found.distances:
        dtypes = tuple(info.dtype for info in row.infos[:2])
        pairs[dtypes] = pairs.get(dtypes, 0) + 1
    for (one, other), count in pairs.items():
        if one != other:
            yield f"{one} in the first, {other} in the second: {counted(count, 'tensor')}"


def grid(found: Difference) -> HeatGrid:
    """Return the distances of blocks, by kinds of layers."""
    cells = found.by(lambda row: row.block, lambda row: row.layer)
    columns = [layer for layer in LAYERS if any(layer == each for _, each in cells)]
    values: dict[tuple[str, str], float | None] = {
        (block, layer): distance.relative for (block, layer), distance in cells.items()
    }
    values |= {(block, "all"): distance.relative for block, distance in found.blocks.items()}
    names = " and ".join(c.path.name for c in found.alignment.checkpoints[:2])
    title = f"relative distance of {names}"
    return HeatGrid(title, list(found.blocks), ["all", *columns], values, lambda x: f"{x:.2g}")


def made_data(made: MadeOf) -> dict[str, Any]:
    """Return fits as plain data."""
    child, *parents = made.alignment.checkpoints
    return {
        "child": str(child.path),
        "parents": [str(parent.path) for parent in parents],
        "architecture": made.alignment.architecture.id,
        "guess": guess(made, [str(parent.path) for parent in parents]),
        "explained": made.explained,
        "total": made.total.data,
        "blocks": {block: fit.data for block, fit in made.blocks.items()},
        "missing": _unexplained(made),
    }


def print_made(made: MadeOf) -> None:
    """Print fits for people."""
    for line in made_lines(made):
        show(line)
    show("")
    names = _letters(made)
    rows = [
        (block, *map(_weight, fit.weights), f"{fit.residual:.2g}", f"{100 * fit.explained:.4g} %")
        if not fit.same
        else (block, *("" for _ in names), f"{fit.residual:.2g}", "the parents are equal here")
        for block, fit in (*made.blocks.items(), ("all", made.total))
    ]
    print_table(("block", *names, "residual", "explained"), rows)


def made_lines(made: MadeOf) -> tuple[str, ...]:
    """Return what there is to say in sentences."""
    child, *parents = made.alignment.checkpoints
    letters = _letters(made)
    named = (f"{x}  {parent.path}" for x, parent in zip(letters, parents, strict=True))
    names = [parent.path.name for parent in parents]
    found = (f"{child.path.name} ({made.alignment.architecture.id})", *named, guess(made, names))
    without = _unexplained(made)
    more = ", …" if len(without) > 1 else ""
    said = (
        f"not in all parents: {counted(len(without), 'tensor')} ({without[0]}{more})"
        if without
        else ""
    )
    return (*found, said) if said else found


def _unexplained(made: MadeOf) -> list[str]:
    """Return the child's keys that some parent lacks, or has in another shape."""
    alignment = made.alignment
    lacking = (alignment.lacking(model) for model in range(1, len(alignment.checkpoints)))
    unlike = (row.key for row in alignment.unlike)
    return list(dict.fromkeys([*(key for keys in lacking for key in keys), *unlike]))


def made_grid(made: MadeOf) -> HeatGrid:
    """Return the weights of the parents in each block."""
    letters = _letters(made)
    cells = {
        (block, letter): weight
        for block, fit in made.blocks.items()
        for letter, weight in zip(letters, fit.weights, strict=True)
    }
    title = f"what {made.alignment.checkpoints[0].path.name} is made of"
    return HeatGrid(title, list(made.blocks), letters, cells, _weight, diverging=True)


def _letters(made: MadeOf) -> list[str]:
    return [f"P{number}" for number in range(1, len(made.alignment.checkpoints))]


def _all(groups: Mapping[str, Distance]) -> dict[str, Any]:
    return {name: distance.data for name, distance in groups.items()}


def _print_groups(title: str, groups: Mapping[str, Distance], *, based: bool) -> None:
    header = [title, "differ", "distance", "cosine"]
    if based:
        header[3:] = ["first moved", "second moved", "cosine of moves"]
    rows = [
        (
            name, f"{each.changed}/{each.keys}", _number(each.relative),
            *map(_number, each.moved or ()), _cosine(each.cosine),
        )
        for name, each in groups.items()
    ]  # fmt: skip
    print_table(header, rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _cosine(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"


def _weight(value: float | None) -> str:
    return "" if value is None else f"{value + 0:.4f}"
