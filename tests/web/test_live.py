from __future__ import annotations

import http.client
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bmerge.rating.ratings import Ratings
from bmerge.testing import write_checkpoint
from rating_desk import Desk
from web_server import serving

EXAMPLE = Path(__file__).parents[1] / "plugin_project" / "bmerge_example.py"
STUDY = """
name: small
merge: {method: from_middle, models: [a.safetensors, b.safetensors]}
space:
  pull: {range: [0, 2], per: single}
payloads: {prompts: [hello, world]}
generator: {name: swatch}
scorers: [{name: brightness}]
optimiser: {name: walk, init: random, init_points: 1, n_iters: 1}
out: study
"""


@pytest.fixture
def study(bmerge, tmp_path, monkeypatch):
    """A finished study of `bmerge run`."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("a", 0.1), ("b", 0.9)):
        tensors = {f"layers.{i}.w": np.full((4, 4), value) for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    (tmp_path / "study.yaml").write_text(STUDY)
    called = bmerge("run", "study.yaml", "--plugin", EXAMPLE)
    assert called.status == 0, called.err
    return tmp_path / "study"


def test_live_view_shows_pictures_convergence_blocks_and_ranking(study):
    desk = Desk(Ratings(study))
    for trial in range(2):
        desk.offer(trial)
    desk.answer_all(lambda left, right: "left" if left > right else "right")
    with serving(study) as client:
        client.log_in()
        status, _, body = client.get("/live/parts")
        text = body.decode()
        assert status == 200
        for heading in (
            "Newest pictures", "How the search goes", "What the person prefers",
            "The best 5 trials", "What is uncertain", "All trials in pictures",
            "Where it comes from",
        ):  # fmt: skip
            assert f"<h2>{heading}</h2>" in text
        assert "best-so-far" in text
        assert 'class="blocks"' in text
        pictures = re.findall(r'src="(/pictures/[0-9a-f]{16})"', text)
        assert pictures
        for picture in pictures:
            assert client.get(picture)[0] == 200


def test_live_view_says_when_something_has_changed(study):
    with serving(study) as client:
        client.log_in()
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        connection.request("GET", "/events", headers={"Cookie": client.cookie})
        response = connection.getresponse()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.readline() == b"event: change\n"
        assert response.readline() == b"data:\n"
        assert response.readline() == b"\n"
        (study / "pictures" / "0009").mkdir()
        Image.new("RGB", (8, 8)).save(study / "pictures" / "0009" / "p00-s0.png")  # in flight
        assert response.readline() == b"event: change\n"
        connection.close()
        assert b"trial 9" in client.get("/live/parts")[2]


def test_folder_that_lost_its_study_is_an_error_of_one_line(study):
    with serving(study) as client:
        client.log_in()
        (study / "study.db").unlink()
        status, _, body = client.get("/live/parts")
        assert (status, b"no study in" in body) == (500, True)
        assert json.loads(client.get("/api/state")[2])["question"] is None
