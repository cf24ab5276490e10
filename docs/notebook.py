"""Execute docs/notebook.ipynb in a folder with two small models, and keep what it answers.

Its models are those of the demo, which come with bmerge; the study is the demo's, cut short.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

PAGE = Path(__file__).parent / "notebook.ipynb"


def executed() -> nbformat.NotebookNode:
    """Return the notebook with fresh answers."""
    book = nbformat.read(PAGE, as_version=4)
    os.environ["PYTHONWARNINGS"] = "ignore"  # of libraries; they name paths of this machine
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            NotebookClient(book, timeout=600, kernel_name="python3").execute()
        finally:
            os.chdir(before)
    for cell in book.cells:
        cell.metadata = {}
    return book


if __name__ == "__main__":
    nbformat.write(executed(), PAGE)
