"""The error tree: everything that bmerge raises on purpose.

The lowest layer: it imports nothing of bmerge. A message is one line, lower case, without a
full stop: the thing, the value, what is allowed. ``hint`` is a second line that says what to
do. The command line prints both and no traceback. Passwords in addresses get into neither,
whoever writes them: messages are printed, logged, and stored as the reason of a failed trial.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

__all__ = [
    "ArchitectureError",
    "Blame",
    "BmergeError",
    "ExecutorError",
    "FormatError",
    "GeneratorError",
    "MethodError",
    "MissingExtraError",
    "PluginError",
    "RecipeError",
    "ScorerError",
    "StudyError",
    "StudyInterruptedError",
    "counted",
    "nearest",
    "redacted",
]

_LOGIN = r"(?<=://)[^/\s@'\"]*:[^/\s'\"]*@"
_IN_QUERY = (
    r"(?i)([?&;][\w.-]*(?:auth|credential|key|passw|pwd|secret|sig|token)[\w.-]*=)[^&;#\s'\"]+"
)
_OPTION = (
    r"(?i)((?<![\w-])(?:-u|--user|--proxy-user)[ =][\"'\\]*[^:\s\"'\\]*:"
    r"|(?<![\w-])--?(?:password|passwd|passphrase|secret|token|api[-_]?key)[ =][\"'\\]*"
    r"|\bAuthorization: *(?:(?:Basic|Bearer) +)?)[^\s\"'\\]+"
)
"""What commands are given: ``curl -u me:secret``, ``--token secret``, headers."""


Blame = Literal["merge", "surroundings", "study"]
"""What is to blame for a failure in a trial, and so what becomes of the trial.

``merge``: the merged model is bad (NaN or black pictures); the trial has failed.
``surroundings``: a server, a disk, a password, a network; the trial stays unfinished, the study
waits, and the same trial is evaluated again. ``study``: what the study asks for does not exist
or has no meaning (a missing node, an unknown sampler, a wrong option); the study stops at once
and nothing is recorded.
"""


class BmergeError(Exception):
    """Base of every error that a user can cause and fix.

    Args:
        message: one line that says what is wrong and where.
        hint: what to do about it, where that is known.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(redacted(message))
        self.hint = hint and redacted(hint)


class MissingExtraError(BmergeError):
    """Something needs a library that is not installed with bmerge itself.

    Args:
        message: what needs which.
        modules: the modules that are missing.
        hint: the line to type.
    """

    blame: Blame = "study"

    def __init__(self, message: str, *, modules: tuple[str, ...], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.modules = modules


class FormatError(BmergeError):
    """A checkpoint file cannot be read or written.

    Args:
        message: what is wrong.
        path: the file.
        key: the tensor in it, if one is to blame.
        hint: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.key = key


class ArchitectureError(BmergeError):
    """The inputs' architectures are unknown or do not fit together."""


class MethodError(BmergeError):
    """A merge method is declared or called in a way that has no meaning."""


class RecipeError(BmergeError):
    """A recipe, or a value given on the command line for one, is not valid.

    Args:
        message: what is wrong.
        path: the file, if it came from one.
        line: the line in that file, counted from 1.
        hint: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        where = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(where + message, hint=hint)
        self.path = path
        self.line = line


class ExecutorError(BmergeError):
    """A merge cannot be executed as asked, or failed while it ran.

    Args:
        message: what is wrong.
        key: the tensor that was being merged, if one is to blame.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, key: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.key = key


class PluginError(BmergeError):
    """A plugin is missing, broken, or offers something that bmerge cannot use.

    Args:
        message: what is wrong.
        plugin: the plugin's name.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, plugin: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.plugin = plugin


class StudyError(BmergeError):
    """A study's file, folder or storage is not as it must be.

    Args:
        message: what is wrong.
        blame: see :data:`Blame`; ``surroundings`` for what passes or can be fixed while the
            study waits, as a locked database or a full disk.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, blame: Blame = "study", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.blame: Blame = blame


class StudyInterruptedError(BmergeError):
    """A study was stopped by its user; everything that was finished is stored."""


class GeneratorError(BmergeError):
    """A generator could not make a picture.

    Args:
        message: what is wrong.
        transient: whether the same request may succeed if it is made again right away.
        blame: see :data:`Blame`; None blames the surroundings for what is transient, and else
            the merge.
        hint: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool = False,
        blame: Blame | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient
        self.blame: Blame = blame or ("surroundings" if transient else "merge")


class ScorerError(BmergeError):
    """A scorer could not judge a picture.

    Args:
        message: what is wrong.
        transient: whether the same request may succeed if it is made again right away.
        blame: see :data:`Blame`; None blames the surroundings for what is transient, and else
            the merge.
        hint: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool = False,
        blame: Blame | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient
        self.blame: Blame = blame or ("surroundings" if transient else "merge")


def redacted(text: str) -> str:
    """Return ``text`` without what addresses and commands in it have of passwords and tokens.

    Args:
        text: anything that may quote an address, such as ``http://me:secret@host/x?token=secret``,
            or a command, such as ``curl -u me:secret``; also as JSON, which stays whole.
    """
    return re.sub(_OPTION, r"\1***", re.sub(_IN_QUERY, r"\1***", re.sub(_LOGIN, "***@", text)))


def counted(count: int, noun: str) -> str:
    """Return ``1 tensor`` or ``2 tensors``.

    Args:
        count: how many.
        noun: in the singular; it gets an s.
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the closest of ``known`` words, or lists them all if few.

    Args:
        word: what was written.
        known: what could have been meant.

    Returns:
        One line for ``hint``, or None where there is nothing to suggest.
    """
    import difflib  # only for mistakes

    words = sorted(known)
    same = [each for each in words if each.casefold() == word.casefold()]
    close = same or difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(words)}" if 0 < len(words) <= 40 else None
