"""The table of ``make parity``."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.parity.cases import Case
from benchmarks.peers import ROOT

__all__ = ["Row", "page"]

BAR = 1e-3
IN_HALF = "their fp16 arithmetic: computed in float32, their formula gives our result"
HEADER = "| tool | method | ours | settings | float32 | fp16 | fp16, theirs in float32 | why |"
INTRODUCTION = """\
# Our merge methods beside those of other tools

On random tensors of four shapes (two matrices, a convolution, a vector), four fine-tunes of one
base. Each number is the worst of the shapes.

- **float32**: models and result in float32; distance of the results as a part of the change to the
  first model.
- **fp16**: models and result in fp16, as users have them, computed as the tool does it: sd-mecha in
  float32, sd-meh and mergekit in fp16; distance as a part of the result. One rounding to fp16 is
  2.8e-4 of it on average.
- **fp16, theirs in float32**: the same with their formulas computed in float32. It tells whether a
  difference comes from the formula or from fp16 arithmetic, which bmerge never uses.

The bar is 1e-3. Where a method draws random numbers, both got the same.
"""


@dataclass(frozen=True)
class Row:
    """One case, and how far results are apart; None where their method fails."""

    case: Case
    single: float | None
    half: float | None
    half_in_single: float | None

    @property
    def reason(self) -> str:
        """Why a result is beyond the bar; empty if none is, or nobody knows."""
        if not self._beyond(self.single, self.half, self.half_in_single):
            return "" if self.half is not None else "they fail in fp16"
        if self.case.differs or self._beyond(self.single):
            return self.case.differs
        return self.case.differs_in_half if self._beyond(self.half_in_single) else IN_HALF

    @property
    def fails(self) -> bool:
        """Whether a result is beyond the bar and nobody knows why."""
        return self._beyond(self.single, self.half, self.half_in_single) and not self.reason

    @staticmethod
    def _beyond(*errors: float | None) -> bool:
        """Tell whether any is beyond the bar, or is none at all."""
        return any(error is not None and not error <= BAR for error in errors)


def page(rows: Sequence[Row]) -> str:
    """Return the whole page."""
    lines = [HEADER, "|---" * HEADER.count(" | ") + "|---|"]
    for row in rows:
        case = row.case
        settings = ", ".join(f"{name} {value}" for name, value in case.values.items())
        numbers = " | ".join(map(_number, (row.single, row.half, row.half_in_single)))
        why = "**TOO MUCH**" if row.fails else row.reason
        lines.append(
            f"| {case.tool} | {case.theirs} | {case.ours} | {settings} | {numbers} | {why} |"
        )
    failed = sum(row.fails for row in rows)
    verdict = f"{failed} differ." if failed else "None differs but where it is known why."
    return "\n".join([INTRODUCTION, *lines, "", verdict, _made()]) + "\n"


def _number(error: float | None) -> str:
    return "they fail" if error is None else f"{error:.1e}"


def _made() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    versions = "sd-meh 0.9.5, sd-mecha 1.1.8, mergekit 0.1.5"
    torch_version = torch.__version__.partition("+")[0]
    return f"Made by `make parity` at commit {commit.strip()}: torch {torch_version}, {versions}."
