"""``python -m bmerge`` is the command ``bmerge``."""

from __future__ import annotations

from bmerge.cli import main

if __name__ == "__main__":
    main()
