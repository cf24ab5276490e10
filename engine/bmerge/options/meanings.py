"""What docstrings say of the arguments of a class or function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

__all__ = ["meanings_of"]

_ARGUMENT = r"^ {4,8}(\*{0,2}\w+): (.+(?:\n {12,}\S.*)*)"


def meanings_of(documented: Callable[..., object]) -> dict[str, str]:
    """Return what the docstring of a class or function says of each argument."""
    doc = inspect.getdoc(documented) or ""
    if isinstance(documented, type):
        doc += "\n" + (inspect.getdoc(documented.__init__) or "")  # type: ignore[misc]
    lines = re.sub(r"^", "    ", doc, flags=re.MULTILINE)
    found = re.findall(_ARGUMENT, lines, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
