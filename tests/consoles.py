"""The console blocks of README.md and docs/: what is typed there, and what is answered."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Typed", "blocks", "typed"]

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```([\w{}-]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page in one language, in their order."""
    text = page.read_text(encoding="utf-8")
    return [block for name, block in _BLOCK.findall(text) if name == language]


@dataclass(frozen=True, slots=True)
class Typed:
    """One command, as it is typed, and the lines that are answered."""

    text: str
    answer: tuple[str, ...]

    def split(self) -> tuple[dict[str, str], list[str]]:
        """Return the variables that stand before the command, and its words."""
        words = shlex.split(self.text, comments=True)
        variables = {}
        while re.match(r"[A-Z_]+=", words[0]):
            name, _, variables[name] = words.pop(0).partition("=")
        return variables, words

    def is_answered(self, said: str) -> bool:
        """Tell whether each line of the answer was said.

        ``…`` stands for any text, and an address for any other of this machine.
        """
        lines = (re.sub(r"http://[\d.]+:\d+", "http://…", line) for line in self.answer)
        wanted = (".*".join(map(re.escape, line.split("…"))) for line in lines)
        return all(re.search(line, said) for line in wanted)


def typed(page: Path) -> list[Typed]:
    """Return the commands of a page's console blocks, in their order."""
    found: list[Typed] = []
    for block in blocks(page, "console"):
        assert block.startswith("$ "), f"{page.name}: a console block begins with what is typed"
        for entry in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            text, *answer = entry.splitlines()
            found.append(Typed(text, tuple(answer)))
    return found
