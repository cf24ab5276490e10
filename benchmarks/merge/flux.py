"""What a checkpoint of Flux.1 holds, written from its hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator

from bmerge.testing.layouts import Layout

__all__ = ["flux_layout"]

_WIDTH = 3072
_HEAD = 128


def flux_layout(double: int, single: int, dtype: str) -> Layout:
    """Return the layout of a diffusion model with so many double and single blocks.

    Flux.1 has 19 and 38; a part of them has the same share of each kind of tensor.
    """
    return [(key, dtype, shape) for key, shape in _tensors(double, single)]


def _tensors(double: int, single: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = _WIDTH
    yield from _linear("img_in", width, 64)
    yield from _linear("txt_in", width, 4096)
    for name, size in (("time_in", 256), ("vector_in", 768), ("guidance_in", 256)):
        yield from _linear(f"{name}.in_layer", width, size)
        yield from _linear(f"{name}.out_layer", width, width)
    for block in range(double):
        for stream in ("img", "txt"):
            prefix = f"double_blocks.{block}.{stream}"
            yield from _linear(f"{prefix}_mod.lin", 6 * width, width)
            yield from _linear(f"{prefix}_attn.qkv", 3 * width, width)
            yield from _norms(f"{prefix}_attn.norm")
            yield from _linear(f"{prefix}_attn.proj", width, width)
            yield from _linear(f"{prefix}_mlp.0", 4 * width, width)
            yield from _linear(f"{prefix}_mlp.2", width, 4 * width)
    for block in range(single):
        prefix = f"single_blocks.{block}"
        yield from _linear(f"{prefix}.modulation.lin", 3 * width, width)
        yield from _linear(f"{prefix}.linear1", 7 * width, width)
        yield from _linear(f"{prefix}.linear2", width, 5 * width)
        yield from _norms(f"{prefix}.norm")
    yield from _linear("final_layer.adaLN_modulation.1", 2 * width, width)
    yield from _linear("final_layer.linear", 64, width)


def _linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def _norms(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("query", "key"):
        yield f"{name}.{part}_norm.scale", (_HEAD,)
