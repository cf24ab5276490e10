"""Runs the other tools' methods; executed with an interpreter that has them, and not bmerge.

Reads ``jobs.json`` and ``tensors.npz`` from a folder and writes ``results.npz``: one array per
job, or none where their method raises.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

Tensors = list[torch.Tensor]


def meh(name: str, tensors: Tensors, settings: dict[str, Any]) -> torch.Tensor:
    """Run a method of sd-meh."""
    from sd_meh import merge_methods

    return getattr(merge_methods, name)(**dict(zip("abc", tensors, strict=False)), **settings)


def mecha(name: str, tensors: Tensors, settings: dict[str, Any]) -> torch.Tensor:
    """Run a method of sd-mecha."""
    from sd_mecha.extensions import merge_methods

    method = next(m for m in merge_methods.get_all() if m.identifier == name)
    if "alpha" in settings:
        settings = {**settings, "alpha": torch.tensor(settings["alpha"])}
    if name in {"n_average", "rotate"}:  # they take whole state dicts
        return method.__wrapped__(*({"key": t} for t in tensors), **settings, key="key")
    return method.__wrapped__(*tensors, **settings)


def kit(name: str, tensors: Tensors, settings: dict[str, Any]) -> torch.Tensor:
    """Run a method of mergekit."""
    from mergekit.merge_methods.api import merge_tensors

    settings = dict(settings)
    base_index = settings.pop("base_index")
    return merge_tensors(tensors, name, parameters=settings, base_index=base_index)


def run(job: dict[str, Any], tensors: Tensors, drawn: Tensors) -> torch.Tensor:
    """Run one job; random masks are made from numbers that are given."""
    numbers = iter(drawn)
    torch.bernoulli = lambda p, **_: (next(numbers).reshape(p.shape) < p).to(p.dtype)
    call = {"meh": meh, "mecha": mecha, "kit": kit}[job["tool"]]
    if job["form"] == "delta":
        base, *models = tensors
        return base + call(job["theirs"], [m - base for m in models], job["settings"])
    result = call(job["theirs"], [t.clone() for t in tensors], job["settings"])
    if job["form"] == "mask":
        a, b, c = tensors
        return a + (b - c) * result
    return result


def computed(job: dict[str, Any], tensors: Tensors, drawn: Tensors) -> torch.Tensor:
    """Run one job with the numbers that it asks for, as its tool handles them."""
    if job["numbers"] == "float32":
        return run(job, tensors, drawn)
    halves = [tensor.half() for tensor in tensors]
    if job["numbers"] == "float16" and job["tool"] != "mecha":
        return run(job, halves, drawn).half()
    # sd-mecha casts to float32 before it merges, and to float16 at the end, by default.
    return run(job, [half.float() for half in halves], drawn).half()


def main(folder: Path) -> None:
    """Run all jobs of a folder."""
    logging.disable(logging.WARNING)
    arrays = np.load(folder / "tensors.npz")
    results, failed = {}, set()
    for number, job in enumerate(json.loads((folder / "jobs.json").read_text())):
        tensors = [torch.from_numpy(arrays[key]) for key in job["tensors"]]
        drawn = [torch.from_numpy(arrays[key]) for key in job["drawn"]]
        try:
            results[str(number)] = computed(job, tensors, drawn).numpy()
        except Exception as error:  # noqa: BLE001  reported as their failure
            failed.add(f"{job['tool']} {job['theirs']}, {job['numbers']}: {error}")
    print(*sorted(failed), sep="\n", file=sys.stderr)
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
