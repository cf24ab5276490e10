"""How a benchmark looks on the terminal: its progress, and its table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from bmerge.bench import Benchmark, Event, MergeRow, RowFinished, RowStarted, SummaryLine
from bmerge.bench.summary import Interval
from bmerge.bench.write import flat, labels_of
from bmerge.cli.output import human_bytes, note, print_json, print_table
from bmerge.cli.progress import LiveLine
from bmerge.cli.study_progress import pause_text
from bmerge.study.events import Paused, PictureDone, TrialStarted
from bmerge.trials.figures import interval

__all__ = ["BenchProgress", "facts_of", "print_lines"]


class BenchProgress:
    """Shows on stderr what is measured: a live line in a terminal, and a line for each row.

    Args:
        line: where it is shown.
    """

    def __init__(self, line: LiveLine) -> None:
        self._line = line
        self._row = self._trial = ""
        self._count = ""
        self._outage: str | None = None

    def on_event(self, event: Event) -> None:
        """Show what ``event`` says."""
        if isinstance(event, RowStarted):
            self._count = f"{event.position}/{event.total}"
            self._row, self._trial = f"{event.name} ({event.stage})", ""
            self._outage = None
        elif isinstance(event, TrialStarted):
            self._trial = f"trial {event.number + 1}"
        elif isinstance(event, Paused):
            if event.reason != self._outage:
                self._line.say(f"{self._count}  {self._row}: {pause_text(event)}")
            self._outage = event.reason
        elif isinstance(event, RowFinished):
            self._line.say(f"{self._count}  {_outcome(event.row)}")
        elif not isinstance(event, PictureDone):
            return
        self._line.draw(f"{self._count}  {self._row}  {self._trial}")


def _outcome(row: MergeRow) -> str:
    if row.reason:
        return f"{row.name} ({row.stage}): {row.reason}"
    columns = defaultdict(list)
    for scores in row.scores.values():
        for label, score in scores.items():
            columns[label].append(score)
    means = (f"{label} {fmean(column):.4f}" for label, column in columns.items())
    return f"{row.name} ({row.stage}): {', '.join(means)}"


def facts_of(bench: Benchmark) -> list[str]:
    """Return how the benchmark was made, one sentence each."""
    models = bench.models
    names = " and ".join(map(models.label, models.parents))
    base = f"; {models.label(models.base)} is what they were trained from" if models.base else ""
    prompts = len({payload.prompt for payload in bench.pictures})
    seeds = len({payload.seed for payload in bench.pictures})
    labels = " + ".join(s.label for s in bench.config.scorers if s.weight)
    facts = [
        f"Merges of {names}{base}. Scored by {labels}.",
        f"Quality is of {len(bench.pictures)} pictures: {prompts} prompts with {seeds} seeds each.",
    ]
    if bench.trials:
        what = "one value" if bench.per == "single" else "a value for each group of blocks"
        facts.append(
            f"Tuned: the best of {bench.trials} trials of {len(bench.config.payloads)} other "
            f"pictures by {bench.config.optimiser.name}, {what} of each hyperparameter."
        )
    return facts


def print_lines(lines: Sequence[SummaryLine], files: Sequence[Path], *, as_json: bool) -> None:
    """Print the table, what could not be measured and why, and the files."""
    if as_json:
        print_json([{**flat(line), "scores": line.means} for line in lines])
        return
    labels = labels_of(lines) if len(labels_of(lines)) > 1 else []
    print_table(
        ("name", "stage", "quality", "95 %", "lead", "norm.", "rank", *labels, "seconds", "CPU",
         "peak", "executor", ""),
        [_cells(line, labels) for line in lines if line.quality],
    )  # fmt: skip
    for line in lines:
        if line.row.reason:
            note(f"not measured: {line.row.name} ({line.row.stage}): {line.row.reason}")
    for file in files:
        note(f"written to {file}")


def _cells(line: SummaryLine, labels: Sequence[str]) -> tuple[object, ...]:
    row, cost, means = line.row, line.row.cost, line.means or {}
    return (
        row.name,
        row.stage,
        *_interval(line.quality),
        f"{line.lead.mean:+.3f}" if line.lead else "-",
        f"{line.normalised:.2f}" if line.normalised is not None else "-",
        f"{line.rank:.1f}",
        *(f"{means[label]:.3f}" for label in labels),
        *(f"{value:.3f}" for value in ((cost.seconds, cost.cpu) if cost else ())),
        *(() if cost else ("-", "-")),
        human_bytes(cost.peak) if cost and cost.peak else "-",
        cost.executor if cost else "-",
        f"same as {line.same_as}" if line.same_as else "",
    )


def _interval(value: Interval | None) -> tuple[str, str]:
    if value is None:
        return "-", "-"
    return f"{value.mean:.3f}", interval(value.low, value.high, 3)
