"""The command line beside the Python API, under a name that does not hide the package."""

from __future__ import annotations

import pytest


@pytest.fixture
def bmerge_command(bmerge):
    return bmerge
