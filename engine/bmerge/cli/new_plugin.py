"""``bmerge new-plugin``: a plugin project that works as it is written."""

from __future__ import annotations

import builtins
import keyword
import re
from pathlib import Path

import click

import bmerge
from bmerge.cli.output import show
from bmerge.cli.session import Session, shared_options
from bmerge.errors import PluginError
from bmerge.host import Registry
from bmerge.records import dataclass

__all__ = ["command"]

_TEMPLATE = Path(__file__).with_name("plugin_template")
_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "@KIND@/module.py.txt": "@MODULE@.py",
    "@KIND@/test_module.py.txt": "tests/test_@MODULE@.py",
}


@dataclass(frozen=True, slots=True)
class _PluginKind:
    """What differs from one kind of plugin to the next, beside its files.

    Args:
        catalogue: of the registry, where names of the kind are looked up.
        use: a command that uses it.
        extras: of bmerge, that its tests need.
    """

    catalogue: str
    use: str
    extras: str = "testing"


_STUDY = "bmerge run study.yaml        # with {name: @NAME@} in the section "
_KINDS = {
    "method": _PluginKind(
        "methods", "bmerge merge @NAME@ a.safetensors b.safetensors --alpha 0.3 -o out.safetensors"
    ),
    "optimiser": _PluginKind("optimisers", f"{_STUDY}optimiser", "study,testing"),
    "scorer": _PluginKind("scorers", f"{_STUDY}scorers", "study,testing"),
    "generator": _PluginKind("generators", f"{_STUDY}generator", "study,testing"),
    "architecture": _PluginKind("architectures", "bmerge inspect model.safetensors"),
    "format": _PluginKind("formats", "bmerge convert model.safetensors -o model.@NAME@", "testing"),
}


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(_KINDS)),
    default="method",
    show_default=True,
    help="What the plugin offers.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The new folder; default: bmerge-NAME.",
)
@shared_options
@click.pass_obj
def command(session: Session, *, name: str, kind: str, out: Path | None) -> None:
    """Write a working plugin project into a new folder.

    It offers one merge method called NAME, or another kind of plugin, with a test. Nothing need be
    changed before it can be installed and used.

    \b
    Examples:
      bmerge new-plugin my_method
      bmerge new-plugin my_judge --kind scorer
      pip install -e bmerge-my-method
    """
    words = _words(name, kind)
    _check_free(session.registry(), words["@NAME@"], kind)
    folder = out or Path(words["@DISTRIBUTION@"])
    if folder.exists():
        raise PluginError(f"{folder} exists", hint="give another folder by --out")
    for source, target in _FILES.items():
        file = folder / _filled(target, words)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = (_TEMPLATE / _filled(source, words)).read_text(encoding="utf-8")
        file.write_text(_filled(text, words), encoding="utf-8")
    show(f"wrote {folder}; next: pip install -e {folder}")


def _words(name: str, kind: str) -> dict[str, str]:
    """Return what stands for NAME in the files."""
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name):
        hint = "lower-case letters, digits and single _, as in my_method"
        raise PluginError(f"{name!r} is not a name for a plugin", hint=hint)
    word = name.replace("-", "_")
    if keyword.iskeyword(word) or keyword.issoftkeyword(word):
        raise PluginError(f"{name!r} is a word of Python's own", hint=f"as in my_{word}")
    if hasattr(builtins, word) or word in bmerge.__all__:
        whose = "Python" if hasattr(builtins, word) else "bmerge"
        raise PluginError(f"{name!r} is built into {whose}", hint=f"as in my_{word}")
    known = _KINDS[kind]
    return {
        "@USE@": known.use,
        "@EXTRAS@": known.extras,
        "@DISTRIBUTION@": f"bmerge-{name.replace('_', '-')}",
        "@MODULE@": f"bmerge_{word}",
        "@KIND@": kind,
        "@NAME@": word,
    }


def _check_free(registry: Registry, name: str, kind: str) -> None:
    """Refuse a name that another plugin has already.

    Raises:
        PluginError: names that plugin.
    """
    catalogue = getattr(registry, _KINDS[kind].catalogue)
    if name in catalogue:
        message = f"there is {_article(kind)} {name!r} already, of the plugin"
        raise PluginError(f"{message} {catalogue.plugin_of(name)!r}", hint=f"as in my_{name}")
    if any(record.name == name for record in registry.plugins):
        raise PluginError(f"there is a plugin called {name!r} already", hint=f"as in my_{name}")


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
