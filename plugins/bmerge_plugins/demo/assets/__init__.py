"""The demo's files: three checkpoints and the judge.

Torch-free; a path is all that the rest of bmerge needs to merge the checkpoints.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

NAMES: Final = ("base", "shapes", "colours", "judge")
"""What ``path`` knows: the base, its two fine-tunes, the judge."""


def path(name: str) -> Path:
    """Return the file of an asset.

    Args:
        name: one of ``NAMES``.

    Raises:
        ValueError: there is no such asset.
    """
    if name not in NAMES:
        message = f"no demo asset {name!r}; there are {', '.join(NAMES)}"
        raise ValueError(message)
    return Path(str(resources.files(__name__).joinpath(f"{name}.safetensors")))
