"""The demo's language: its colours, its shapes and the tokeniser of its text encoder.

A closed vocabulary keeps the text encoder tiny and makes the judge's question exact: which colour
and which shape did the prompt ask for?  Torch-free, so listing what the demo can draw costs
nothing.  Lowest layer of the demo; renderer, model, sampler and judge all import it.
"""

from __future__ import annotations

import re
from typing import Final

COLOURS: Final[tuple[str, ...]] = (
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white",
)  # fmt: skip
"""Colour words, in the order of the judge's colour head."""

SHAPES: Final[tuple[str, ...]] = (
    "circle", "square", "triangle", "cross", "ring", "star", "diamond", "heart", "moon", "arrow",
)  # fmt: skip
"""Shape words, in the order of the judge's shape head."""

FILLERS: Final[tuple[str, ...]] = ("a", "an", "the", "of", "picture", "painting", "photo", "on")
SPECIALS: Final[tuple[str, ...]] = ("<pad>", "<start>", "<end>", "<unk>")
VOCABULARY: Final[tuple[str, ...]] = SPECIALS + FILLERS + COLOURS + SHAPES
"""Every token; a token's id is its place here."""

PAD, START, END, UNKNOWN = range(len(SPECIALS))
CONTEXT_LENGTH: Final = 10
"""Positions of the text encoder; longer prompts are cut, as CLIP cuts at 77."""

_IDS: Final = {word: index for index, word in enumerate(VOCABULARY)}


def split(prompt: str) -> list[str]:
    """Return the lower-case words of a prompt, without punctuation."""
    return re.findall(r"[a-z]+", prompt.lower())


def tokenise(prompt: str) -> list[int]:
    """Return the token ids of a prompt.

    Args:
        prompt: free text; a word outside the vocabulary becomes ``<unk>``, which the model has
            learnt to read as "anything".

    Returns:
        ``CONTEXT_LENGTH`` ids: start, the words, end, padding.
    """
    words = [_IDS.get(word, UNKNOWN) for word in split(prompt)][: CONTEXT_LENGTH - 2]
    ids = [START, *words, END]
    return ids + [PAD] * (CONTEXT_LENGTH - len(ids))


def find_colour(prompt: str) -> str | None:
    """Return the first colour word of a prompt, or None."""
    return next((word for word in split(prompt) if word in COLOURS), None)


def find_shape(prompt: str) -> str | None:
    """Return the first shape word of a prompt, or None."""
    return next((word for word in split(prompt) if word in SHAPES), None)


def all_prompts() -> list[str]:
    """Return "a {colour} {shape}" for every pair, shapes varying fastest."""
    return [f"{article(c)} {c} {s}" for c in COLOURS for s in SHAPES]


def article(word: str) -> str:
    """Return the indefinite article that goes before a word of the vocabulary."""
    return "an" if word[0] in "aeiou" else "a"
