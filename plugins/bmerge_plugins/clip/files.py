"""Where the scorers' weights are, and what is said when they are not there.

Nothing is downloaded here. A missing file is an error that says which, from where, into which
folder, and the command that fetches it.
"""

from __future__ import annotations

from pathlib import Path

from bmerge import Download, ScorerError, scorer_folder

__all__ = ["find_file", "find_folder"]


def find_file(
    scorer: str, *, weights: str | None, scorer_model_dir: str | None, download: Download | None
) -> Path:
    """Return the file with a scorer's weights.

    Args:
        scorer: its name, for messages.
        weights: a path, absolute or within the folder; None for the usual file.
        scorer_model_dir: the folder, or None for the usual one.
        download: the usual file; None if there is none.

    Raises:
        ScorerError: if it is not there; says which file, from where, into which folder.
    """
    root = scorer_folder(scorer_model_dir)
    if weights is not None:
        path = root / Path(weights).expanduser()
        if path.is_file():
            return path
        hint = f"weights is a path, absolute or within {root} (scorer_model_dir)"
        raise ScorerError(f"{scorer}: there is no file {path}", blame="study", hint=hint)
    if download is None:
        hint = f"set weights to a path, absolute or within {root} (scorer_model_dir)"
        raise ScorerError(f"{scorer}: no weights are given for the model", blame="study", hint=hint)
    path = root / download.place
    if path.is_file():
        return path
    extra = f" --file {download.file}" if download.optional else ""
    extra += "" if root == scorer_folder() else f' --dir "{root}"'
    raise ScorerError(
        f"{scorer} needs the file {path}, which is not there",
        blame="study",
        hint=f"`bmerge scorers fetch {scorer}{extra}` fetches it from {download.url}"
        " (or set scorer_model_dir or BMERGE_SCORER_MODELS)",
    )


def find_folder(scorer: str, name: str, *, scorer_model_dir: str | None) -> Path:
    """Return a folder with a whole model.

    Args:
        scorer: its name, for messages.
        name: a path, absolute or within the folder of the scorers' weights.
        scorer_model_dir: that folder, or None for the usual one.

    Raises:
        ScorerError: if it is not there.
    """
    root = scorer_folder(scorer_model_dir)
    path = root / Path(name).expanduser()
    if path.is_dir():
        return path
    raise ScorerError(
        f"{scorer}: there is no folder {path}",
        blame="study",
        hint=f'hf download OWNER/NAME --local-dir "{root}/NAME"  (or set scorer_model_dir)',
    )
