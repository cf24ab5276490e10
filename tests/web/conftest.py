from __future__ import annotations

import pytest
from PIL import Image

from bmerge.rating.ratings import Ratings
from rating_desk import PAYLOADS, Desk
from web_server import serving


@pytest.fixture
def desk(tmp_path):
    """A study of two trials that wait to be compared by four pictures each."""
    desk = Desk(Ratings(tmp_path))
    for trial in range(2):
        (tmp_path / f"pictures/{trial:04d}").mkdir(parents=True)
        for payload in PAYLOADS:
            grey = 60 + 100 * trial
            image = Image.new("RGB", (8, 8), (grey, grey, grey))
            image.save(tmp_path / f"pictures/{trial:04d}/{payload.id}.png")
        desk.offer(trial)
    return desk


@pytest.fixture
def stranger(desk):
    """A client that does not know the token."""
    with serving(desk.ratings.folder) as client:
        yield client


@pytest.fixture
def client(stranger):
    """A client that has opened the address with the token."""
    return stranger.log_in()
