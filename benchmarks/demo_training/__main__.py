"""Train the demo anew: ``python -m benchmarks.demo_training --work DIR [--assets DIR]``.

Draws the pictures, trains autoencoder, judge, base and fine-tunes in turn and writes the four
files of ``bmerge_plugins/demo/assets``.  Every stage leaves its result in the work folder, so a
run that was stopped continues; delete a stage's file to train it again.  About forty minutes on
two quiet cores; where cores are busy, ``--threads 1`` is faster.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bmerge_plugins.demo import assets
from bmerge_plugins.demo.model import DemoModel
from bmerge_plugins.demo.vae import Autoencoder

from . import autoencoder, data, diffusion, judge

STAGES = ("judge", "foundation", "base", "shapes", "colours")


def main() -> None:
    """Parse the command line and run the stages that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_training")
    parser.add_argument("--work", type=Path, required=True, help="folder for stages' results")
    parser.add_argument("--assets", type=Path, default=assets.path("base").parent)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], help="default: all")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    train(options.work, options.assets, options.stages or list(STAGES))


def train(work: Path, target: Path, stages: list[str]) -> None:
    """Run stages; a fine-tune starts from the base, which is trained first where it is missing."""
    vae = autoencoder.train(work)
    latents = _latents(vae, work)
    if "judge" in stages:
        save(judge.train(vae, latents, work), target / "judge.safetensors")
    _, labels = data.training_set(work)
    for run in diffusion.RUNS:
        if run.name in stages:
            model = _start(run, vae, work)
            diffusion.train(run, model, latents, labels, work)
            if run is not diffusion.FOUNDATION:
                save(model, target / f"{run.name}.safetensors")


def _start(run: diffusion.Run, vae: nn.Module, work: Path) -> DemoModel:
    """Return the model that a run starts from: a new one, or another run's result."""
    torch.manual_seed(run.seed)
    model = DemoModel()
    model.first_stage_model.load_state_dict(vae.state_dict())
    if run.start:
        state = torch.load(work / f"{run.start}.pt", weights_only=True)
        diffusion.Denoiser(model).load_state_dict(state)
    return model


def _latents(vae: Autoencoder, work: Path) -> Tensor:
    """Return the latents of the training pictures, made on the first call."""
    path = work / "latents.pt"
    if not path.exists():
        torch.save(autoencoder.encode_all(vae, data.training_set(work)[0]), path)
    latents: Tensor = torch.load(path, weights_only=True)
    return latents


def save(module: nn.Module, path: Path) -> None:
    """Write a module's weights: floats as float16, integers as they are."""
    state = module.state_dict()
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in halves.items()}, path)
    path.chmod(0o644)  # safetensors makes files that only their owner can read


if __name__ == "__main__":
    main()
