"""Pieces of study files on the pages name plugins that there are, with options that these take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bmerge import load_registry
from bmerge.study_file.load import OPTIMISER
from bmerge.study_file.scorers import SCORER
from consoles import PAGES, blocks

OWN = "plugins.md"  # names what its own examples offer, and runs them


def _pieces() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the page, the kind of plugin, and its entry in a study file."""
    for page in PAGES:
        for text in blocks(page, "yaml") if page.name != OWN else ():
            piece = yaml.safe_load(text)
            study = {"scorers": piece} if isinstance(piece, list) else piece
            yield from ((page.name, "scorer", entry) for entry in study.get("scorers", ()))
            for kind in ("generator", "optimiser"):
                if kind in study:
                    yield page.name, kind, study[kind]


PIECES = list(_pieces())


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.mark.parametrize(
    ("kind", "entry"),
    [(kind, entry) for _, kind, entry in PIECES],
    ids=[f"{page}-{kind}-{entry['name']}" for page, kind, entry in PIECES],
)
def test_piece_is_of_a_plugin_and_its_options(registry, kind, entry):
    of_the_study = {"name", *(SCORER if kind == "scorer" else OPTIMISER)}
    options = {key: value for key, value in entry.items() if key not in of_the_study}
    getattr(registry, kind)(entry["name"]).check(options)


def test_no_option_has_the_name_of_a_key_of_the_study(registry):
    """It could not be given: the study takes it for its own."""
    taken = {"scorers": SCORER, "optimisers": OPTIMISER, "generators": ("name",)}
    for kinds, keys in taken.items():
        for kind in getattr(registry, kinds).values():
            assert not {option.name for option in kind.options}.intersection(keys), kind.name


def test_there_are_pieces_of_every_kind():
    assert {kind for _, kind, _ in PIECES} == {"generator", "optimiser", "scorer"}
    assert len(PIECES) > 20
