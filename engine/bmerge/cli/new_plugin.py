"""``bmerge new-plugin``: a plugin project that works as it is written."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click

from bmerge.cli.output import show
from bmerge.cli.session import shared_options
from bmerge.errors import PluginError

__all__ = ["command"]

_TEMPLATE = Path(__file__).with_name("plugin_template")
_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "module.py.txt": "@MODULE@.py",
    "test_module.py.txt": "tests/test_@MODULE@.py",
    "README.md.txt": "README.md",
}


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The new folder; default: bmerge-NAME.",
)
@shared_options
def command(name: str, out: Path | None) -> None:
    """Write a working plugin project into a new folder.

    It offers one merge method called NAME, with a test. Nothing need be changed before it can
    be installed and used.

    \b
    Examples:
      bmerge new-plugin my_method
      pip install -e bmerge-my-method
    """
    words = _words(name)
    folder = out or Path(words["@DISTRIBUTION@"])
    if folder.exists():
        raise PluginError(f"{folder} exists", hint="give another folder by --out")
    for source, target in _FILES.items():
        file = folder / _filled(target, words)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = (_TEMPLATE / source).read_text(encoding="utf-8")
        file.write_text(_filled(text, words), encoding="utf-8")
    show(f"wrote {folder}; next: pip install -e {folder}")


def _words(name: str) -> dict[str, str]:
    """Return what stands for NAME in the files."""
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name):
        hint = "lower-case letters, digits and single _, as in my_method"
        raise PluginError(f"{name!r} is no name for a plugin", hint=hint)
    word = name.replace("-", "_")
    if keyword.iskeyword(word):
        raise PluginError(f"{name!r} is a word of Python's own", hint=f"as in my_{word}")
    return {
        "@DISTRIBUTION@": f"bmerge-{name.replace('_', '-')}",
        "@MODULE@": f"bmerge_{word}",
        "@NAME@": word,
    }


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
