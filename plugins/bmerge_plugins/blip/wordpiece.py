"""Splits a prompt as ``bert-base-uncased`` does: into words, then into the longest known pieces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from bmerge import ScorerError

__all__ = ["WordPiece"]

_LONGEST = 100  # letters of a word that is looked at
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPiece:
    """A tokenizer.

    Args:
        vocabulary: the file ``vocab.txt``, a token on each line.

    Raises:
        ScorerError: if the file is none.
    """

    def __init__(self, vocabulary: Path) -> None:
        lines = vocabulary.read_text(encoding="utf-8").splitlines()
        self._ids = {token: number for number, token in enumerate(lines)}
        missing = {"[PAD]", "[UNK]", "[CLS]", "[SEP]"} - set(self._ids)
        if missing:
            raise ScorerError(
                f"{vocabulary} is not a vocabulary of BERT: it has no {min(missing)}", blame="study"
            )

    def encode(self, text: str, length: int) -> list[int]:
        """Return the ids of ``text`` between [CLS] and [SEP], cut at ``length`` in all."""
        ids = [self._ids[piece] for word in _words(text) for piece in self._pieces(word)]
        return [self._ids["[CLS]"], *ids[: length - 2], self._ids["[SEP]"]]

    def _pieces(self, word: str) -> list[str]:
        pieces: list[str] = []
        start = 0
        while start < len(word) <= _LONGEST:
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if mark + word[start:e] in self._ids), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(mark + word[start:end])
            start = end
        return pieces or ["[UNK]"]


def _words(text: str) -> Iterator[str]:
    """Yield lower-case words without accents; each mark and each ideograph is a word."""
    text = "".join(f" {c} " if _is_ideograph(c) else c for c in text if not _is_control(c))
    text = unicodedata.normalize("NFD", text.lower())
    word = ""
    for c in text:
        if c.isspace() or _is_mark(c):
            if word:
                yield word
            word = ""
            if not c.isspace():
                yield c
        elif unicodedata.category(c) != "Mn":
            word += c
    if word:
        yield word


def _is_control(c: str) -> bool:
    return c not in "\t\n\r" and (c == "\ufffd" or unicodedata.category(c)[0] == "C")


def _is_ideograph(c: str) -> bool:
    return any(low <= ord(c) <= high for low, high in _IDEOGRAPHS)


def _is_mark(c: str) -> bool:
    """Tell punctuation, which for BERT is all of ASCII that is not a letter, digit or space."""
    return (33 <= ord(c) <= 126 and not c.isalnum()) or unicodedata.category(c)[0] == "P"
