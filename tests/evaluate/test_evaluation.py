"""One model's pictures and scores, and what is said of a plugin that does it wrong."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import pytest
from PIL import Image

from bmerge import GeneratorError, PluginError, ScorerError
from bmerge.evaluate import evaluation
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.pictures import place_of, save_picture
from bmerge.evaluate.protocols import Payload, Picture
from bmerge.evaluate.scoring import WeightedScorer

PAYLOADS = tuple(Payload(f"p{i:02d}", f"prompt {i}", seed=i, weight=1 + i % 2) for i in range(20))


@pytest.fixture
def patient(monkeypatch):
    """Let pictures wait for others, however busy the machine is."""
    monkeypatch.setattr(evaluation, "_PATIENCE", 60.0)


class Generator:
    def __init__(self, change=lambda pictures: pictures):
        self.change = change

    def load(self, model):
        pass

    def generate(self, payloads):
        pictures = [Picture(p, Image.new("RGB", (8, 8), (p.seed, 1, 0))) for p in payloads]
        return self.change(pictures)

    def close(self):
        pass


class Red:
    def __init__(self, change=lambda scores: scores):
        self.change, self.batches = change, []

    def score(self, pictures):
        self.batches.append(len(pictures))
        return self.change([p.image.getpixel((0, 0))[0] for p in pictures])


def evaluate(generator, *scorers):
    scored = []
    evaluator = Evaluator(generator, scorers, PAYLOADS)
    return evaluator.evaluate(None, scored.append), scored


def test_evaluation_is_the_weighted_sum_of_weighted_means():
    double = Red(lambda scores: [2 * s for s in scores])
    evaluation, scored = evaluate(
        Generator(), WeightedScorer("red", 1.0, Red()), WeightedScorer("double", 0.5, double),
        WeightedScorer("watched", 0.0, Red()),
    )  # fmt: skip
    mean = sum((1 + i % 2) * i for i in range(20)) / sum(1 + i % 2 for i in range(20))
    assert evaluation.means == pytest.approx({"red": mean, "double": 2 * mean, "watched": mean})
    assert evaluation.score == pytest.approx(2 * mean)
    assert [s.picture.payload.id for s in scored] == [p.id for p in PAYLOADS]
    assert scored[3].scores == {"red": 3.0, "double": 6.0, "watched": 3.0}
    assert scored[3].score == 6.0
    assert set(evaluation.seconds) == {"load", "generate", "wait", "score"}


def test_scorer_judges_only_what_its_patterns_match(patient):
    payloads = tuple(
        replace(p, tags=("hands", "close") if i % 4 == 1 else ("text",) if i % 4 == 2 else ())
        for i, p in enumerate(PAYLOADS)
    )
    hands, text = Red(), Red()
    scorers = (
        WeightedScorer("red", 1.0, Red()), WeightedScorer("hands", 2.0, hands, ("hand?",)),
        WeightedScorer("some", 1.0, text, ("text", "p17")),
    )  # fmt: skip
    scored = []
    evaluation = Evaluator(Generator(), scorers, payloads).evaluate(None, scored.append)
    assert hands.batches == [4, 1]
    assert text.batches == [4, 2]
    assert evaluation.means["hands"] == pytest.approx((1 + 5 + 9 + 13 + 17) / 5)
    assert evaluation.means["some"] == pytest.approx((2 + 6 + 10 + 14 + 18 + 2 * 17) / 7)
    assert scored[1].scores == {"red": 1.0, "hands": 1.0}
    assert scored[17].scores == {"red": 17.0, "hands": 17.0, "some": 17.0}
    assert scored[17].score == 17 + 2 * 17 + 17


def test_evaluation_scores_in_batches(patient):
    scorer = Red()
    evaluate(Generator(), WeightedScorer("red", 1.0, scorer))
    assert scorer.batches == [16, 4]


def blackened(picture, mode="RGB"):
    return replace(picture, image=Image.new("RGB", (8, 8)).convert(mode))


def test_evaluation_takes_a_picture_with_one_pixel_of_light():
    dark = Image.new("RGB", (8, 8))
    dark.putpixel((7, 7), (0, 0, 1))
    change = lambda pictures: [replace(p, image=dark) for p in pictures]  # noqa: E731
    evaluation, _ = evaluate(Generator(change), WeightedScorer("red", 1.0, Red()))
    assert evaluation.means == {"red": 0}


def test_evaluation_blames_the_plugin_for_what_is_no_picture():
    change = lambda pictures: iter([pictures[0].image])  # noqa: E731
    with pytest.raises(PluginError, match="made a Image where a Picture was expected"):
        evaluate(Generator(change), WeightedScorer("red", 1.0, Red()))


def test_evaluation_keeps_what_was_painted_before_a_failure(patient):
    def stumbling(pictures):
        yield from pictures[:18]
        raise GeneratorError("server down", transient=True)

    scored, scorer = [], Red()
    evaluator = Evaluator(Generator(stumbling), (WeightedScorer("red", 1.0, scorer),), PAYLOADS)
    with pytest.raises(GeneratorError, match="server down"):
        evaluator.evaluate(None, scored.append)
    assert [one.picture.payload.id for one in scored] == [p.id for p in PAYLOADS[:18]]
    assert scorer.batches == [16, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pictures: iter(pictures[:5]), "made 5 of 20 pictures"),
        (lambda pictures: iter(pictures[::-1]), "made 'p19' where 'p00' was next"),
        (lambda pictures: iter([blackened(pictures[0])]), r"'p00' \(prompt 0\) is black all over"),
        (
            lambda pictures: iter([blackened(pictures[0], "RGBA")]),
            r"the picture 'p00' \(prompt 0\) is black all over",
        ),
        (
            lambda pictures: iter([replace(pictures[0], image="p00.png")]),
            "the generator made a str as the picture 'p00'",
        ),
    ],
    ids=["too few", "wrong order", "black", "black and opaque", "no image"],
)
def test_evaluation_blames_the_generator(change, message):
    with pytest.raises(GeneratorError, match=message):
        evaluate(Generator(change), WeightedScorer("red", 1.0, Red()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores[1:], "'red' gave 15 scores for 16 pictures"),
        (lambda scores: [float("nan")] * len(scores), "'red' gave nan to the picture 'p00'"),
        (lambda scores: [-2e300] * len(scores), r"'red' gave -2e\+300 .* more than 1e\+300"),
        (lambda scores: [10**400] * len(scores), "'red' gave inf to the picture 'p00'"),
        (
            lambda scores: [*scores[:2], None, *scores[3:]],
            "'red' gave None .* 'p02' .* not a number",
        ),
        (lambda scores: ["a" * 999] * len(scores), "'red' gave 'a{1,40}[.]{3}a* ?.* not a number"),
        (lambda scores: ["0.5"] * len(scores), "'red' gave '0.5' to the .* not a number"),
        (lambda scores: "0" * len(scores), "'red' gave '0+', not a list of scores"),
        (set, "'red' gave {0, 1, .*}, not a list of scores"),
        (dict.fromkeys, "'red' gave {0: .*}, not a list of scores"),
        (lambda _: itertools.repeat(0.5), "'red' gave 17 scores for 16 pictures"),
        (lambda _: None, "'red' gave nothing, not a list of scores"),
        (lambda scores: scores[0], "'red' gave 0, not a list of scores"),
        (
            lambda _: sys.exit(0),
            r"'red' failed at 'p00' \(prompt 0\), 'p01' .*, 'p02' .*, …: SystemExit: 0",
        ),
    ],
    ids=[
        "too few",
        "nan",
        "huge",
        "beyond floats",
        "nothing",
        "text",
        "digits",
        "a text",
        "a set",
        "a mapping",
        "endless",
        "no list",
        "number",
        "exit",
    ],
)
def test_evaluation_blames_the_scorer(change, message):
    with pytest.raises(ScorerError, match=message):
        evaluate(Generator(), WeightedScorer("red", 1.0, Red(change)))


class Spoils:
    """Judges what it has made smaller, and closes it."""

    def score(self, pictures):
        for picture in pictures:
            picture.image.thumbnail((1, 1))
            picture.image.close()
        return [0.0 for _ in pictures]


def test_a_scorer_that_changes_its_pictures_changes_nobody_elses():
    _, scored = evaluate(
        Generator(), WeightedScorer("spoils", 1.0, Spoils()), WeightedScorer("red", 1.0, Red())
    )
    assert [each.scores["red"] for each in scored] == [p.seed for p in PAYLOADS]
    assert all(each.picture.image.size == (8, 8) for each in scored)
    assert [each.picture.image.getpixel((0, 0))[0] for each in scored] == list(range(20))


def test_a_generator_may_paint_all_pictures_into_one_image(patient):
    def over(pictures):
        image = Image.new("RGB", (8, 8))
        for picture in pictures:
            image.paste(picture.image)
            yield replace(picture, image=image)

    _, scored = evaluate(Generator(over), WeightedScorer("red", 1.0, Red()))
    assert [each.scores["red"] for each in scored] == [p.seed for p in PAYLOADS]


def failing(error):
    def change(pictures):
        yield from pictures[:1]
        raise error

    return change


class AnsweredError(GeneratorError):
    """An error that is made of more than a message."""

    def __init__(self, message, *, status):
        super().__init__(message, blame="surroundings")
        self.status = status


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("x"), r"the generator 'brush' failed at 'p01' \(prompt 1\): KeyError: 'x' "),
        (GeneratorError("no paint"), r"the generator 'brush' at 'p01' \(prompt 1\): no paint"),
        (
            GeneratorError("no server", blame="surroundings", hint="start it"),
            "the generator 'brush': no server",
        ),
        (AnsweredError("too large", status=413), "the generator 'brush': too large"),
    ],
)
def test_whatever_a_generator_raises_names_its_plugin_and_the_picture(error, message):
    scorers = (WeightedScorer("red", 1.0, Red()),)
    evaluator = Evaluator(Generator(failing(error)), scorers, PAYLOADS, "brush")
    with pytest.raises(GeneratorError, match=f"^{message}") as caught:
        evaluator.evaluate(None, lambda _: None)
    assert caught.value.blame == getattr(error, "blame", "merge")
    assert caught.value.hint == getattr(error, "hint", None)
    assert getattr(caught.value, "status", None) == getattr(error, "status", None)
    again = Evaluator(Generator(failing(caught.value)), scorers, PAYLOADS, "brush")
    with pytest.raises(GeneratorError, match=f"^{message}"):
        again.evaluate(None, lambda _: None)


def test_whatever_a_scorer_raises_names_its_label_its_plugin_and_the_picture():
    def blind(_):
        raise ScorerError("saw nothing")

    entry = WeightedScorer("hue", 1.0, Red(blind), ("p03",), "colour")
    message = r"^the scorer 'hue' \(colour\) at 'p03' \(prompt 3\): saw nothing"
    with pytest.raises(ScorerError, match=message):
        evaluate(Generator(), entry)


def test_save_picture_writes_what_it_is(tmp_path):
    payload = Payload("p00-s7", "a réd circle", negative_prompt="blue", seed=7)
    picture = Picture(payload, Image.new("RGB", (8, 8), (1, 2, 3)))
    name = save_picture(tmp_path, place_of(12), picture, {"judge": 0.1, "sharp": 2.0})
    assert name == "pictures/0012/p00-s7.png"
    with Image.open(tmp_path / name) as image:
        assert image.getpixel((4, 4)) == (1, 2, 3)
        assert image.text == {
            "prompt": "a réd circle", "negative_prompt": "blue", "seed": "7", "trial": "12",
            "score:judge": "0.1", "score:sharp": "2.0",
        }  # fmt: skip
    assert [p.name for p in (tmp_path / "pictures/0012").iterdir()] == ["p00-s7.png"]


def test_save_picture_blames_the_study_for_pixels_that_png_has_not(tmp_path):
    picture = Picture(Payload("p00-s7", "x", seed=7), Image.new("CMYK", (8, 8)))
    with pytest.raises(GeneratorError, match="'p00-s7' cannot be stored as PNG: .*CMYK") as caught:
        save_picture(tmp_path, place_of(12), picture, {})
    assert caught.value.blame == "study"
    assert not any(tmp_path.iterdir())
