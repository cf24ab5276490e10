"""``bmerge`` with the native executor reading its inputs through memory maps."""

from __future__ import annotations

import functools

from bmerge import _native
from bmerge.cli import main

if __name__ == "__main__":
    _native.merge = functools.partial(_native.merge, io="mmap")
    main()
