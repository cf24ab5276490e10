"""What has been measured so far: a file of JSON lines that a killed run leaves readable."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bmerge.bench.cost import Cost
from bmerge.errors import StudyError
from bmerge.recipe import BlockWeights
from bmerge.records import dataclass

__all__ = ["MergeRow", "MergeRows", "Stage"]

Stage: TypeAlias = Literal["base", "parent", "defaults", "tuned"]


@dataclass(frozen=True, slots=True)
class MergeRow:
    """One merge, or one model as it is, on the held-out pictures.

    Args:
        name: of the method or the model.
        stage: a model's part, or how the method's hyperparameters were found.
        identity: digest of what was measured; see :meth:`bmerge.bench.Benchmark.identity`.
        models: short names of the inputs.
        hyperparameters: name → value per block; those left out have their default.
        scores: payload id → scorer's label → score.
        cost: of the merge.
        reason: why something of this is missing; None if all is there.
    """

    name: str
    stage: Stage
    identity: str = ""
    models: tuple[str, ...] = ()
    hyperparameters: Mapping[str, BlockWeights] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cost: Cost | None = None
    reason: str | None = None


class MergeRows:
    """The rows in a file, by name and stage; the last of equals counts.

    Args:
        path: the file; what it holds is read, and a last line that is torn is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, Stage], MergeRow] = {}
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(path, len(whole))
        for line in whole.splitlines():
            row = _row(json.loads(line))
            self._rows[row.name, row.stage] = row

    def find(self, name: str, stage: Stage, identity: str) -> MergeRow | None:
        """Return a complete row of exactly this, or None."""
        row = self._rows.get((name, stage))
        return row if row and row.identity == identity and row.reason is None else None

    def add(self, row: MergeRow) -> None:
        """Write a row; it is on the disk when this returns.

        Raises:
            StudyError: if it cannot be written.
        """
        self._rows[row.name, row.stage] = row
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StudyError(f"{self._path} cannot be written: {error.strerror}") from error


def _row(data: dict[str, Any]) -> MergeRow:
    weights = {name: BlockWeights(**w) for name, w in data.pop("hyperparameters").items()}
    cost, models = data.pop("cost"), tuple(data.pop("models"))
    return MergeRow(
        **data, models=models, hyperparameters=weights, cost=Cost(**cost) if cost else None
    )
