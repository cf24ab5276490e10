"""Other mergers, run in environments of their own by the same few words.

``python -m benchmarks.peers`` makes the environments in ``.venv/peers/``. In each, the adaptor of
that name (``sd_meh.py`` …) is called with the work, the output and the models.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["PEERS", "command", "environment", "is_installed"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

PEERS: dict[str, tuple[str, ...]] = {
    "sd-meh": (
        "weighted_sum", "blocks", "add_difference", "euclidean_add_difference",
        "ties_add_difference",
    ),
    "sd-mecha": ("weighted_sum", "add_difference", "bf16", "slerp", "model_stock", "ties"),
    "mergekit": ("weighted_sum", "add_difference", "bf16", "slerp", "model_stock", "ties"),
}  # fmt: skip
"""Peer → the works that its adaptor can do."""


def environment(peer: str) -> Path:
    """Return the folder of a peer's environment."""
    return ROOT / ".venv" / "peers" / peer


def is_installed(peer: str) -> bool:
    """Tell whether a peer's environment is there and complete."""
    return (environment(peer) / "installed").exists()


def command(peer: str, work: str, output: Path, models: list[Path]) -> list[str]:
    """Return the command line of one merge by a peer."""
    adaptor = HERE / f"{peer.replace('-', '_')}.py"
    python = environment(peer) / "bin" / "python"
    return [str(python), str(adaptor), work, str(output), *map(str, models)]


def site_packages() -> str:
    """Return where this interpreter's packages lie; peers share its torch."""
    return next(path for path in sys.path if path.endswith("site-packages"))
