from __future__ import annotations

from pathlib import Path

import pytest

from bmerge.rating.ratings import Ratings
from rating_desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Ratings(tmp_path))
