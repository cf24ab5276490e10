"""``python -m bmerge.cli``: the same as ``bmerge``, where the script is not on the path."""

from __future__ import annotations

from bmerge.cli.main import main

main()
