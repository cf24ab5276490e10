"""Merge methods and executors side by side: pictures, scores, time and memory of each.

Stands on studies and the host: a benchmark takes a study's file for its pictures, generator and
scorers, and tunes each method by a study of its own. The command line calls
:func:`run_benchmark`, :func:`write_results` and :func:`measure`.
"""

from __future__ import annotations

from bmerge.bench.benchmark import Benchmark, held_out
from bmerge.bench.cost import Cost, Where, measure
from bmerge.bench.loop import Event, RowFinished, RowStarted, run_benchmark
from bmerge.bench.models import BenchModels, models_of
from bmerge.bench.rows import MergeRow
from bmerge.bench.summary import SummaryLine, summarise
from bmerge.bench.write import write_results

__all__ = [
    "Benchmark",
    "Cost",
    "Event",
    "SummaryLine",
    "BenchModels",
    "MergeRow",
    "RowFinished",
    "RowStarted",
    "Where",
    "held_out",
    "measure",
    "models_of",
    "run_benchmark",
    "summarise",
    "write_results",
]
