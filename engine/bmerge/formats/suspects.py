"""What may scale codes, under names that nothing here knows.

Part of :mod:`.quantised`. Numbers of 8 bits are plain values where nothing scales them, so a scale
that is overlooked makes a wrong file. Names of scales differ without end; what they have in common
is that, but for words of quantisation in a row, they are the key of the weight:
``blocks.0.proj.qscale``, ``blocks.0.proj_wscale``, ``scales.blocks.0.proj``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from bmerge.formats.checkpoint import TensorInfo

__all__ = ["Suspects"]

_HINT = re.compile(r"scal|quant|max|zero|scb|smooth|codebook|expon|multip|lut", re.IGNORECASE)
"""What is in every word of :data:`_SCALE`: most keys need no more than a look for it."""
_SCALE = re.compile(
    r"(?:[a-z]{1,2}|de|deq|inv)?(?:scales?|scaling|scalers?|scalars?)(?:inv|[a-z])?\d?"
    r"|(?:a|abs)?max|zeros?|zeropoints?|scb|smooth|codebooks?|lut|multipliers?|exponents?"
    r"|(?:de|un)?quant(?:s|map|state|i[sz]ed|i[sz]er|i[sz]ation)?"
)
"""A word that says that something is scaled by what is called so."""
_BESIDE = re.compile(
    r"weights?|[wqstv]|data|values?|tensors?|inv|inverse|recip(?:rocal)?|factors?|points?|zp|qdata"
    r"|f8|fp8|float8|e4m3(?:fn)?(?:uz)?|e5m2(?:fnuz)?|params?|parametri[sz]ations?|per|channels?"
    r"|cols?|columns?|rows?|block|blockwise|groups?|global|local|tiles?|output|input|act"
    r"|activations?|static|meta|state|impl|wise|in|out|deq|\d+"
)
"""Words that are used with one of those."""
_CODES = re.compile(
    r"q?weights?|data|qdata|values?|f8|fp8|float8|e4m3(?:fn)?(?:uz)?|e5m2(?:fnuz)?|codes?"
    r"|original\d?|quant(?:i[sz]ed)?|parametri[sz]ations?|params?|int8"
)
"""Words at the end of what codes are called."""
_BREAKS = re.compile(r"[^a-z0-9]+")
_QUANTISED = re.compile(r"(?<=weight)_q\b")
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Suspects:
    """The tensors of a file that may scale others.

    Args:
        infos: all tensors.
    """

    def __init__(self, infos: Iterable[TensorInfo]) -> None:
        self._found: defaultdict[tuple[str, ...], list[TensorInfo]] = defaultdict(list)
        for info in infos:
            if _HINT.search(info.key):
                for rest in dict.fromkeys(_without_scale(_words(info.key))):
                    self._found[rest].append(info)

    def of(self, codes: TensorInfo) -> Iterator[TensorInfo]:
        """Yield what may scale codes, and is not a scale itself: there is less of it."""
        stem = _words(codes.key)
        while True:
            yield from (info for info in self._found.get(stem, ()) if 2 * info.numel <= codes.numel)
            if not stem or not _CODES.fullmatch(stem[-1]):
                return
            stem = stem[:-1]


def _words(key: str) -> tuple[str, ...]:
    return tuple(_BREAKS.split(_HUMPS.sub("_", _QUANTISED.sub("", key)).lower()))


def _without_scale(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what is left without any words in a row that say what a scale is."""
    for place, word in enumerate(words):
        if not _SCALE.fullmatch(word):
            continue
        begin, end = place, place + 1
        while begin and _says(words[begin - 1]):
            begin -= 1
        while end < len(words) and _says(words[end]):
            end += 1
        for first in range(begin, place + 1):
            for last in range(place + 1, end + 1):
                yield words[:first] + words[last:]


def _says(word: str) -> bool:
    return (_SCALE.fullmatch(word) or _BESIDE.fullmatch(word)) is not None
