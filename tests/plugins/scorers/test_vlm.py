"""The judge behind a chat endpoint, against a server that answers as models and gateways do."""

from __future__ import annotations

import base64
import io
import json
import time
from email.utils import formatdate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bmerge import BmergeError, Payload, Picture, ScorerError, StudyError
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.scorers._verdict import verdict
from bmerge_plugins.scorers.vlm import VisionLanguageJudge
from servers.faulty_http import HttpError, JsonServer
from toy_study import make_study


class Endpoint(JsonServer):
    """Rates brightness, 0 … 10, or says what it is told to; speaks OpenAI's chat completions."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.says: list[object] = []

    def answer(self, method, path, query, body):
        if (method, path) != ("POST", "/v1/chat/completions"):
            raise HttpError(404, {"error": {"message": "unknown path"}})
        says = self.says.pop(0) if self.says else None
        if isinstance(says, HttpError):
            raise says
        if isinstance(says, dict):
            return says
        return completion(says or json.dumps({"score": self.rating(body), "reason": "bright"}))

    def rating(self, body):
        return float(np.asarray(image_of(body)).mean()) / 25.5


def completion(text, reason="stop", **message):
    message = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "x", "choices": [choice], "usage": {"total_tokens": 700}}


def image_of(body):
    (_, part, *_) = body["messages"][0]["content"]
    head, _, data = part["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.fixture
def endpoint():
    with Endpoint() as server:
        yield server


def make(endpoint, **options):
    options = {"backoff": 0.01, "model": "pixtral", **options}
    return VisionLanguageJudge(address=f"{endpoint.url}/v1", **options)


def one(prompt="a red circle", size=(8, 8)):
    return [Picture(Payload("p1", prompt, "blurry"), Image.new("RGB", size, "white"))]


def test_score_is_what_the_model_answers(endpoint):
    pictures = sample_pictures(["a red circle", "schwarz"])
    expected = [np.asarray(p.image).mean() / 25.5 for p in pictures]
    assert make(endpoint).score(pictures) == pytest.approx(expected)
    check_scorer(make(endpoint))


def test_model_is_told_the_prompt_and_sees_a_reduced_picture(endpoint):
    make(endpoint, max_side=64, high=12).score(one("{low} $x {prompt}", size=(200, 100)))
    (body,) = endpoint.made("/v1/chat/completions")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("pixtral", 0, 300)
    assert body["response_format"] == {"type": "json_object"}
    text = body["messages"][0]["content"][0]["text"]
    assert "for the prompt:\n\n{low} $x {prompt}\n" in text
    assert "from 0 (worst) to 12 (best)" in text
    assert image_of(body).size == (64, 32)


def test_question_can_be_ones_own(endpoint):
    scorer = make(endpoint, question="{negative_prompt}? {low}-{high} {x}", json_mode=False)
    scorer.score(one(size=(3000, 8)))
    (body,) = endpoint.made("/v1/chat/completions")
    assert body["messages"][0]["content"][0]["text"] == "blurry? 0-10 {x}"
    assert "response_format" not in body
    assert image_of(body).size == (768, 2)


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 7.5}',
        'Sure! Here it is:\n```json\n{"score": 7.5, "reason": "a {nice} one"}\n```\nAnything else?',
        '<think>{"score": 3} would be too low {hm</think>{"reason": "x", "score": "7.5"}',
        'It is {good}. {"score": 7.5} {"note": {"score": 1}}',
    ],
)
def test_prose_around_the_score_does_not_matter(endpoint, text):
    endpoint.says = [text]
    assert make(endpoint).score(one()) == [7.5]


@settings(max_examples=40)
@given(before=st.text(max_size=30), after=st.text(alphabet=st.characters(exclude_characters="{"),
       max_size=30), score=st.floats(0, 10))  # fmt: skip
def test_any_text_may_stand_around_the_object(before, after, score):
    answer = f"{before}\n{json.dumps({'score': score})}{after}"
    try:
        assert verdict(answer, 0, 10) == score
    except ScorerError:  # the text before is the beginning of an object that swallows it
        assert "{" in before


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("I would say eight.", "no JSON object with 'score' in the answer 'I would say eight.'"),
        ('{"score": 11}', "the model gave 11, outside 0 … 10"),
        ('{"score": -0.5}', "outside 0 … 10"),
        ('{"score": "very good"}', "gave 'very good' where a number"),
        ('{"score": null}', "gave None where a number"),
        ('{"score": true}', "gave True where a number"),
        ('{"score": NaN}', "gave nan where a number"),
        ('{"rating": 7}', "no JSON object with 'score'"),
        (completion('{"score": 7, "rea', "length"), "cut at max_tokens"),
        (completion(None), "no JSON object"),
        (completion(None, refusal="I cannot rate people"), "refuses: I cannot rate people"),
        ({"error": "no such model"}, "is not a chat completion"),
    ],
    ids=str,
)
def test_what_is_no_score_is_asked_for_once_more_and_then_refused(endpoint, says, message):
    endpoint.says = [says, '{"score": 6}']
    assert make(endpoint).score(one()) == [6.0]
    (turn,) = endpoint.made("/v1/chat/completions")[1]["messages"]  # roles must take turns
    assert "number from 0 to 10" in turn["content"][-1]["text"]
    endpoint.says = [says, says]
    with pytest.raises(ScorerError) as info:
        make(endpoint).score(one())
    assert message in str(info.value)
    assert "p1: " in str(info.value)
    assert not info.value.transient
    blame = {"cut at max_tokens": "study", "is not a chat completion": "surroundings"}
    assert info.value.blame == blame.get(message, "merge")


def test_passing_faults_are_met_by_trying_again(endpoint):
    endpoint.faults = iter(["500", "cut", "half", "html", None])
    assert make(endpoint).score(one()) == [10.0]
    endpoint.faults = iter(["500"] * 3)
    with pytest.raises(ScorerError, match="500") as info:
        make(endpoint, retries=2).score(one())
    assert info.value.transient


@pytest.mark.parametrize("fault", ["slow", "hang"])
def test_an_answer_that_takes_too_long_is_a_failure(endpoint, fault):
    endpoint.faults = iter([fault])
    with pytest.raises(ScorerError, match=r"no end after|no answer in time") as info:
        make(endpoint, timeout=0.5, retries=0).score(one())
    assert info.value.transient


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_busy_endpoint_is_left_alone_as_long_as_it_asks(endpoint, monkeypatch, form):
    pauses = []
    monkeypatch.setattr(
        "bmerge_plugins.servers.http.HttpServer.sleep", lambda _, s: pauses.append(s)
    )
    after = "7" if form == "seconds" else formatdate(time.time() + 30, usegmt=True)
    endpoint.says = [HttpError(429, {"error": {"message": "slow down"}}, Retry_After=after)]
    assert make(endpoint).score(one()) == [10.0]
    (pause,) = pauses
    assert pause == 7 if form == "seconds" else 20 < pause <= 30


def test_an_endpoint_that_wants_an_hour_is_given_up(endpoint):
    endpoint.says = [HttpError(429, {"error": {"message": "daily quota"}}, Retry_After="3600")]
    with pytest.raises(ScorerError, match="429 Too Many Requests: daily quota"):
        make(endpoint).score(one())
    assert len(endpoint.requests) == 1


def test_key_comes_from_the_environment_and_is_never_shown(monkeypatch):
    with Endpoint(auth="sk-geheim") as endpoint:
        monkeypatch.delenv("BMERGE_VLM_API_KEY", raising=False)
        with pytest.raises(ScorerError, match="401") as info:
            make(endpoint).score(one())
        assert "BMERGE_VLM_API_KEY" in info.value.hint
        monkeypatch.setenv("BMERGE_VLM_API_KEY", "sk-geheim")
        assert make(endpoint).score(one()) == [10.0]
        monkeypatch.setenv("OTHER", "sk-geheim")
        assert make(endpoint, api_key_env="OTHER").score(one()) == [10.0]
        endpoint.faults = iter(["echo"] * 9)
        with pytest.raises(ScorerError) as info:
            make(endpoint, retries=0).score(one())
        assert "Bearer ***" in str(info.value)
        assert "geheim" not in repr(vars(make(endpoint)))
        endpoint.faults = iter(())
        monkeypatch.setenv("BMERGE_VLM_API_KEY", "sk-geheim\n")  # as a file's content has it
        assert make(endpoint).score(one()) == [10.0]
        monkeypatch.setenv("BMERGE_VLM_API_KEY", "sk-\x01geheim")
        with pytest.raises(ScorerError, match="characters that no key can have") as info:
            make(endpoint)
        assert "geheim" not in str(info.value)
        with pytest.raises(ScorerError, match="variable ABSENT is not set"):
            make(endpoint, api_key_env="ABSENT")


def test_a_check_asks_for_nothing_that_costs(endpoint, monkeypatch):
    make(endpoint).check(paint=False)
    assert [where for _, where, _ in endpoint.requests] == ["/v1/models"]
    make(endpoint).check(paint=True)
    assert len(endpoint.made("/v1/chat/completions")) == 1
    endpoint.says = ["no idea"] * 2
    with pytest.raises(ScorerError, match="no JSON object with 'score'"):
        make(endpoint).check(paint=True)
    monkeypatch.delenv("BMERGE_VLM_API_KEY", raising=False)
    with (
        Endpoint(auth="sk-geheim") as closed,
        pytest.raises(ScorerError, match="401") as info,
    ):
        make(closed).check(paint=False)
    assert info.value.blame == "surroundings"


@pytest.mark.parametrize("total", ["many", [1], {"a": 1}])
def test_a_count_of_tokens_that_is_none_is_a_passing_fault(endpoint, total):
    answer = completion('{"score": 3}')
    endpoint.says = [{**answer, "usage": {"total_tokens": total}}]
    with pytest.raises(ScorerError, match="its count of tokens") as info:
        make(endpoint).score(one())
    assert info.value.blame == "surroundings"


def test_wrong_place_is_refused_at_once(endpoint):
    with pytest.raises(ScorerError, match="404") as info:
        VisionLanguageJudge(address=endpoint.url, model="x").score(one())
    assert "address ends with /v1" in info.value.hint
    endpoint.says = [HttpError(400, {"error": {"message": "image input is not supported"}})]
    with pytest.raises(ScorerError, match="image input is not supported") as info:
        make(endpoint).score(one())
    assert "see pictures" in info.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 5, "high": 5}, "low is 5, must be below high, 5"),
        ({"max_side": 0}, "max_side is 0"),
        ({"timeout": 0}, "timeout must be above 0, not 0"),
        ({"retries": -1}, "retries must be 0 or more, not -1"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(endpoint, options, message):
    with pytest.raises(BmergeError) as info:
        make(endpoint, **options)
    assert message in str(info.value)


@pytest.mark.parametrize("limits", [{"max_requests": 7}, {"max_total_tokens": 4900}])
def test_limit_stops_the_run_and_the_next_one_goes_on(endpoint, tmp_path, limits):
    def study():
        study = make_study(tmp_path, init=0, n_iters=0)
        study.evaluator.scorers[0].scorer.score = make(endpoint, **limits).score
        return study

    (name, limit) = next(iter(limits.items()))
    with pytest.raises(StudyError, match=f"the limit {name} = {limit} is reached"):
        run_study(study())
    states = [trial.state for trial in read_study(tmp_path).trials.values()]
    assert states == ["complete", "complete", "running"]
    run_study(study())
    assert [t.state for t in read_study(tmp_path).trials.values()] == ["complete"] * 3


def test_failed_judgement_is_a_failed_trial_with_its_reason(endpoint, tmp_path):
    study = make_study(tmp_path, init=0, n_iters=0)
    study.evaluator.scorers[0].scorer.score = make(endpoint).score
    endpoint.says = [None, "no idea", "none at all"]
    run_study(study)
    trial = read_study(tmp_path).trials[0]
    assert (trial.state, trial.score) == ("failed", None)
    assert "no JSON object with 'score' in the answer 'none at all'" in trial.reason
