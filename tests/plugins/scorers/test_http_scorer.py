"""The HTTP scorer against a real server with faults."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from bmerge import Payload, Picture, ScorerError
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.scorers.http_scorer import HttpScorer
from servers.faulty_http import HttpError, JsonServer


class Judge(JsonServer):
    """Rates brightness and the prompt's length, or answers as it is told to."""

    canned: object = None

    def answer(self, method, path, query, body):
        if (method, path) != ("POST", "/v1/score"):
            raise HttpError(404, {"detail": "Not Found"})
        if self.canned is not None:
            return self.canned
        image = Image.open(io.BytesIO(base64.b64decode(body["image"])))
        return {"score": float(np.asarray(image).mean()) + len(body["prompt"])}


@pytest.fixture
def judge():
    with Judge() as server:
        yield server


def _scorer(judge, **options) -> HttpScorer:
    return HttpScorer(address=f"{judge.url}/v1/score", backoff=0.01, **options)


def test_score_is_what_the_server_answers(judge):
    pictures = sample_pictures(["a red circle", "schwarz"])
    expected = [np.asarray(p.image).mean() + len(p.payload.prompt) for p in pictures]
    assert _scorer(judge).score(pictures) == pytest.approx(expected)
    check_scorer(_scorer(judge))


def test_server_is_told_what_the_picture_was_made_for(judge):
    image = sample_pictures(["x"])[0].image
    _scorer(judge).score([Picture(Payload("p1", "grün", "blurry", 7), image)])
    (body,) = judge.made("/v1/score")
    body = {key: value for key, value in body.items() if key != "image"}
    assert body == {"id": "p1", "prompt": "grün", "negative_prompt": "blurry", "seed": 7}


@pytest.mark.parametrize("answer", [3, 3.0, "3", {"score": 3, "why": "pretty"}])
def test_answer_may_be_a_number_or_an_object(judge, answer):
    judge.canned = answer
    assert _scorer(judge).score(sample_pictures(["x"])[:1]) == [3.0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"rating": 3}, "no 'score' in the answer, but rating"),
        ({"score": "very good"}, "gave 'very good' where a number was expected"),
        ([3], "gave [3] where a number was expected"),
        (True, "gave True where a number was expected"),
        ({"score": 10**400}, "where a number was expected"),
        ({"score": [[[]] * 3]}, "where a number was expected"),
    ],
)
def test_other_answers_are_refused(judge, answer, message):
    judge.canned = answer
    with pytest.raises(ScorerError) as info:
        _scorer(judge).score(sample_pictures(["x"])[:1])
    assert message in str(info.value)
    assert info.value.blame == "study"


@pytest.mark.parametrize("answer", [math.nan, {"score": math.inf}, "nan"])
def test_nan_is_asked_for_once_and_blames_the_picture(judge, answer):
    judge.canned = answer
    with pytest.raises(ScorerError, match="where a number was expected") as info:
        _scorer(judge).score(sample_pictures(["x"])[:1])
    assert info.value.blame == "merge"
    assert len(judge.requests) == 1


def test_check_asks_the_address_and_has_a_picture_judged_if_it_may(judge):
    _scorer(judge).check(paint=False)  # it knows no GET, but it is there
    assert [method for method, _, _ in judge.requests] == ["GET"]
    _scorer(judge).check(paint=True)
    assert judge.made("/v1/score")[-1]["prompt"] == "a red circle"
    judge.canned = {"rating": 3}
    with pytest.raises(ScorerError, match="no 'score' in the answer"):
        _scorer(judge).check(paint=True)
    with Judge(auth="me:right") as closed, pytest.raises(ScorerError, match="401") as info:
        HttpScorer(address=closed.url.replace("//", "//me:wr0ng@")).check(paint=False)
    assert info.value.blame == "surroundings"
    assert "wr0ng" not in f"{info.value!r} {info.value.__cause__!r}"
    with pytest.raises(ScorerError, match=r"127\.0\.0\.1:9: ") as info:
        HttpScorer(address="127.0.0.1:9", retries=0).check(paint=False)
    assert info.value.hint == "is the server running?"


def test_passing_faults_are_met_by_trying_again(judge):
    judge.faults = iter(["500", "cut", None])
    assert len(_scorer(judge).score(sample_pictures(["x"])[:1])) == 1
    judge.faults = iter(["500"] * 3)
    with pytest.raises(ScorerError, match="500") as info:
        _scorer(judge).score(sample_pictures(["x"])[:1])
    assert info.value.transient


def test_wrong_path_is_refused_at_once(judge):
    with pytest.raises(ScorerError, match="404"):
        HttpScorer(address=judge.url).score(sample_pictures(["x"])[:1])
    with pytest.raises(ScorerError, match="is not a server's address"):
        HttpScorer(address="ftp://judge")
