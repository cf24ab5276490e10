"""CLIP's tokenizer from the vocabulary that open_clip ships: no download, no file of its own."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["clip_tokenizer"]

_MERGES = 49152 - 256 - 2  # how many of the file's merges CLIP uses


def clip_tokenizer(options: dict[str, Any]) -> Any:
    """Make a ``CLIPTokenizer``.

    Args:
        options: what its ``tokenizer_config.json`` says: the padding token, above all.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = _vocabulary()
    return CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), **options)


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, ...]]]:
    """Return each token's number, and which pairs become one token, in their order."""
    import open_clip
    from open_clip.tokenizer import bytes_to_unicode

    file = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
    signs = list(bytes_to_unicode().values())
    tokens = [*signs, *(sign + "</w>" for sign in signs), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges
