"""Packages that were replaced on disk while this process ran, as by an upgrade.

What is imported late is then of another release than what is loaded already, or is gone, and fails
as no code of either does. Files tell it: those that changed after the process began.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bmerge.errors import BmergeError

__all__ = ["replaced_package"]

_BEGUN = time.time()
_OWN = ("bmerge", "bmerge_plugins")


def replaced_package(error: BaseException) -> str | None:
    """Return the package that was replaced, so that this failed; None if that is not the cause.

    Args:
        error: any; one that was raised on purpose counts if an import that failed is behind it.
    """
    imports = [each for each in _chain(error) if isinstance(each, ImportError)]
    if isinstance(error, BmergeError) and not imports:
        return None
    named = [(each.name or "").partition(".")[0] for each in imports]
    return next(filter(_is_replaced, dict.fromkeys((*_OWN, *named))), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    step: BaseException | None = error
    while step is not None:
        yield step
        step = step.__cause__ or step.__context__


def _is_replaced(package: str) -> bool:
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None:
        return False
    changed = [each.stat().st_ctime for each in Path(file).parent.glob("*.py")]
    return not changed or max(changed) > _BEGUN
