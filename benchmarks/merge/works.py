"""What is measured: the merges, with the models that each needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["WORKS", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """One merge.

    Args:
        name: by which it is selected.
        method: of bmerge.
        models: names of the inputs: a letter, and the dtype or quantised format if it is not F16;
            those of GGUF hold the diffusion model alone, as does one that is called ``unet``;
            ``other`` is the other layout of the kind.
        options: of ``bmerge merge``.
        halves: whether the output has half the size of the first input.
        like: name of a model that the output is as large as, if that is not the first input.
        suffix: of the output.
        loras: names of LoRAs on the first model, by their rank.
        beside: models whose merge takes the place of the floor, if it is not the floor that counts.
    """

    name: str
    method: str
    models: tuple[str, ...]
    options: tuple[str, ...] = ()
    halves: bool = False
    like: str | None = None
    suffix: str = ".safetensors"
    loras: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def _blocks(count: int) -> str:
    """Return a different weight for each block, none of them 0 or 1."""
    return ",".join(f"{(1 + i) / (count + 2):.4f}" for i in range(count))


def works(blocks: int) -> Sequence[Work]:
    """Return all works for an architecture of so many blocks."""
    ab, abc = ("a", "b"), ("a", "b", "c")
    alpha = ("--alpha", "0.4")
    return (
        Work("weighted_sum", "weighted_sum", ab, alpha),
        Work("blocks", "weighted_sum", ab, ("--alpha", _blocks(blocks))),
        Work("one_block", "weighted_sum", ab, ("--alpha", "IN05=0.4,*=0")),
        Work("add_difference", "add_difference", abc, alpha),
        Work("bf16", "weighted_sum", ("a.BF16", "b.BF16"), alpha),
        Work("fp8", "weighted_sum", ("a.F8_E4M3", "b.F8_E4M3"), alpha),
        Work("fp32", "weighted_sum", ("a.F32", "b.F32"), alpha),
        Work("mixed", "weighted_sum", ("a", "b.F32"), alpha),
        Work("fp16_to_fp8", "weighted_sum", ab, (*alpha, "--dtype", "fp8"), halves=True),
        Work("tensor_sum", "tensor_sum", ab, (*alpha, "--beta", "0.3")),
        Work("weighted_subtraction", "weighted_subtraction", ab, (*alpha, "--beta", "0.3")),
        Work("lora", "add_difference", ("a",), loras=("lora32",)),
        Work("slerp", "slerp", ab, alpha),
        Work("euclidean_add_difference", "euclidean_add_difference", abc, alpha),
        Work("model_stock", "model_stock", abc),
        Work("ties_add_difference", "ties_add_difference", abc, (*alpha, "--beta", "0.2")),
        Work("ties", "ties", abc),
        Work("dare", "dare_linear", abc),
        Work("dare_ties", "dare_ties", abc),
        *(
            Work(name, "weighted_sum", (f"a.{name}", f"b.{name}"), alpha)
            for name in ("fp8_scaled", "int8", "mxfp8", "nvfp4")
        ),
        Work("q8_0", "weighted_sum", ("a.q8_0", "b.q8_0"), alpha, suffix=".gguf"),
        *(
            Work(
                f"{name}_in",
                "weighted_sum",
                (f"a.{name}", f"b.{name}"),
                (*alpha, "--dtype", "bf16"),
                like="a.unet",
            )
            for name in ("q4_k", "q6_k")
        ),
        Work(
            "nf4_in",
            "weighted_sum",
            ("a.nf4", "b.nf4"),
            (*alpha, "--dtype", "bf16", "--quantise", "none"),
            like="a",
        ),
        Work("layouts", "weighted_sum", ("a", "b.other"), alpha, beside=ab),
        Work("layouts_back", "weighted_sum", ("a.other", "b"), alpha, beside=ab),
    )


WORKS = tuple(work.name for work in works(26))
"""The names of all works."""
