"""``python -m benchmarks.loop``: what a trial's time goes into, by generator.

``bmerge run`` optimises all blocks, or one, of two SD1.5 checkpoints with full shapes and random
values; the table has the medians of its trials: merge, hand-over, load, paint, wait for scores.
``diffusers`` paints in the process, tiny pictures of one step; ``a1111`` talks to the tests' own
server, which paints nothing, but reads the whole file and takes its SHA-256 when it loads a
checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.merge.models import KINDS, make
from bmerge.storage.stored import read_study

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from servers.fake_a1111 import FakeA1111  # noqa: E402

KNOWN = ("diffusers", "a1111")
PARTS = ("merge", "hand_over", "load", "generate", "wait", "total")
SKIPPED = 3
SPACES = {"all": "{range: [0, 1]}", "one block": "{freeze: 0.5, blocks: {IN05: [0, 1]}}"}
STUDY = """\
name: loop
merge:
  method: {method}
  models: [{models}]
space:
  alpha: {space}
payloads:
  seeds: [1, 2]
  prompts: [a cat]
  defaults: {{steps: 1, cfg: 1, width: 64, height: 64, sampler: Euler}}
generator: {generator}
scorers: [{{name: colourfulness}}]
optimiser: {{name: random, seed: 1}}
racing: "off"
"""


def _digest(file: Path) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while block := source.read(1 << 24):
            digest.update(block)
    return digest.digest()


class _A1111(FakeA1111):
    """Keeps the hash of a checkpoint instead of it."""

    def use(self, file: Path) -> None:
        if file not in self.weights:
            digest = _digest(file)
            self.weights[file], self.hashes[file] = digest, digest.hex()
        self.current = file


@contextlib.contextmanager
def _generator(name: str, folder: Path) -> Iterator[str]:
    """Yield what a study file says of a generator; its server runs meanwhile."""
    if name == "diffusers":
        yield "{name: diffusers, device: cpu}"
        return
    (folder / "models").mkdir()
    (folder / "models" / "own.safetensors").write_bytes(b"the user's own")
    with _A1111(folder / "models") as server:
        yield f"{{name: {name}, addresses: ['{server.url}'], models_dir: {folder / 'models'}}}"


def _measure(
    name: str, space: str, method: str, models: str, folder: Path, trials: int
) -> dict[str, float]:
    """Run a study; return part → median seconds, without the first trials, which build all."""
    with _generator(name, folder) as generator:
        known = {"method": method, "models": models, "space": SPACES[space]}
        text = STUDY.format(generator=generator, **known)
        (folder / "study.yaml").write_text(text, encoding="utf-8")
        command = [str(Path(sys.executable).with_name("bmerge")), "run", str(folder / "study.yaml")]
        limit = ["--trials", str(trials), "--out", str(folder / "run")]
        subprocess.run([*command, *limit], check=True, stdout=subprocess.DEVNULL)
    found = [t.seconds for t in read_study(folder / "run").trials.values() if t.seconds]
    later = found[SKIPPED:]
    return {part: statistics.median(one.get(part, 0.0) for one in later) for part in PARTS}


def main() -> None:
    """Measure, print and write a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__)
    parser.add_argument("--generator", nargs="*", choices=KNOWN, default=KNOWN)
    parser.add_argument("--method", default="weighted_sum")
    parser.add_argument("--model", choices=list(KINDS), default="sd15")
    parser.add_argument("--trials", type=int, default=8)
    output = ROOT / "benchmarks" / "results" / "loop.md"
    parser.add_argument("--output", type=Path, default=output, help="where the table goes")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    kind = KINDS[options.model]
    with tempfile.TemporaryDirectory(prefix="bmerge-loop-", dir=options.scratch) as scratch:
        made = make(kind, ("a", "b"), Path(scratch))
        models = ", ".join(map(str, made.values()))
        lines = [
            "# What a trial's time goes into",
            "",
            "| generator | blocks that change | merge | hand-over | load | paint | wait | in all |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, space in itertools.product(options.generator, SPACES):
            folder = Path(scratch) / f"{name} {space}"
            folder.mkdir()
            times = _measure(name, space, options.method, models, folder, options.trials)
            cells = " | ".join(f"{times[part]:.2f}" for part in PARTS)
            lines.append(f"| {name} | {space} | {cells} |")
    cores, load = os.cpu_count(), os.getloadavg()[0]
    trials = f"{options.trials - SKIPPED} trials of {options.method}, {kind.title}"
    lines += ["", f"Seconds, medians of {trials}; {cores} cores, load {load:.1f}.", ""]
    options.output.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
