"""The page: complete, self-contained, escaped; and drawn for studies in any state."""

from __future__ import annotations

import base64
import io
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from bmerge.findings.importance import Importance
from bmerge.findings.surface import Curve, Pair
from bmerge.foreign.lineage import HowMade, Lineage, Member
from bmerge.pages import number
from bmerge.report.data import Candidate, ReportData
from bmerge.report.page import picture, render
from bmerge.trials.comparison import Comparison

_VOID = {"meta", "link", "img", "br", "input"}
_SLIDES = 3 * 2  # the best and its better parent, three times


class Page(HTMLParser):
    """Collects what the tests ask for and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data.strip())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]


def test_the_page_refers_to_nothing_outside_itself(data: ReportData) -> None:
    text = render(data)[0]
    page = Page(text)
    links = [
        a.get(name)
        for _, a in page.tags
        for name in ("src", "href")
        if name in a and a.get("loading") != "lazy"
    ]
    assert links
    assert all(link is not None and link.startswith("data:") for link in links)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_every_trial_block_picture_and_candidate_is_on_the_page(data: ReportData) -> None:
    page = Page(render(data)[0])
    assert len(page.all("circle")) == 2 * 38
    assert len(page.all("path", class_="failed")) == 2
    assert len(page.all("rect")) == 26
    assert len(page.all("img")) == 8 * 4 + _SLIDES
    for text in ("shapes", "colours", "uniform", "best", "OUT11", "a red star", "seed 1000"):
        assert text in page.words
    assert page.words.count("complete") == 38
    assert len(page.all("tr", class_="winner")) == 2, "among the best, among all"


def test_text_is_escaped(data: ReportData) -> None:
    text = render(replace(data, title="<script>alert(1)</script>", recipe="a: <b>"))[0]
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "no &lt;pictures&gt; &amp; no score" in text
    assert "a: &lt;b&gt;" in text


def _empty(data: ReportData) -> ReportData:
    return replace(data, candidates=(), trials=(), weights=(), recipe="")


def _all_failed(data: ReportData) -> ReportData:
    failed = tuple(replace(t, score=None, scores={}, reason="broke") for t in data.trials)
    return replace(_empty(data), trials=failed)


def _without_pictures(data: ReportData) -> ReportData:
    return replace(data, candidates=tuple(replace(c, shots={}) for c in data.candidates))


def _negative(data: ReportData) -> ReportData:
    return replace(data, candidates=tuple(replace(c, score=-c.score) for c in data.candidates))


def _running(data: ReportData) -> ReportData:
    (first, *_) = [t for t in data.trials if t.score is not None]
    return replace(_empty(data), trials=(first,))


@pytest.mark.parametrize("change", [_empty, _all_failed, _without_pictures, _negative, _running])
def test_a_study_in_any_state_has_a_page(data: ReportData, change: object) -> None:
    assert callable(change)
    page = Page(render(change(data))[0])
    assert "demo" in page.words
    for bar in page.all("span", class_="bar"):
        width = float(str(bar["style"]).removeprefix("width: ").removesuffix("%"))
        assert 0 <= width <= 100


def _damage(file: Path, how: str) -> None:
    data = file.read_bytes()
    if how == "gone":
        file.unlink(missing_ok=True)
    elif how == "cut off":
        file.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "another kind":
        Image.open(io.BytesIO(data)).save(file, "JPEG")
    elif how == "a bomb":
        header = b"IHDR" + (1 << 30).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
        chunk = len(header[4:]).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
        file.write_bytes(data[:8] + chunk + data[33:])


@pytest.mark.parametrize("how", ["gone", "cut off", "empty", "another kind", "a bomb"])
def test_pictures_that_are_gone_or_damaged_are_left_out_and_named(
    data: ReportData, how: str
) -> None:
    candidates = [
        replace(c, shots={id_: replace(s, name=f"x/{s.file.name}") for id_, s in c.shots.items()})
        for c in data.candidates
    ]
    _damage(candidates[1].shots["000"].file, how)
    text, lost = render(replace(data, candidates=tuple(candidates), lost=("y/gone.png",)))
    page = Page(text)
    assert len(page.all("img")) == 7 * 4 + _SLIDES
    assert "a red star" not in page.words
    assert lost == ("y/gone.png", "x/colours-0.png")
    (note,) = [words for words in page.words if "Left out" in words]
    assert note.endswith(": y/gone.png, x/colours-0.png.")


def test_another_prompt_takes_the_place_of_a_damaged_one(data: ReportData, tmp_path: Path) -> None:
    def many(candidate: Candidate) -> Candidate:
        (shot, *_) = candidate.shots.values()
        files = {f"{i:03}": replace(shot, prompt=f"prompt {i}") for i in range(30)}
        return replace(candidate, shots=files)

    candidates = [many(candidate) for candidate in data.candidates]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    shots = dict(candidates[0].shots)
    shots["005"] = replace(shots["005"], file=broken, name="broken.png")
    candidates[0] = replace(candidates[0], shots=shots)
    text, lost = render(replace(data, candidates=tuple(candidates)))
    page = Page(text)
    assert len(page.all("img")) == 12 * 4 + _SLIDES
    shown = [word for word in page.words if re.fullmatch(r"prompt \d+", word)]
    numbers = [int(word.split()[1]) for word in shown]
    assert numbers == [0, 1, 2, 7, 10, 12, 15, 17, 20, 22, 25, 27]
    assert lost == ("broken.png",)


def test_only_pictures_that_all_candidates_have_are_compared(data: ReportData) -> None:
    first: Candidate = data.candidates[0]
    fewer = replace(first, shots={"003": first.shots["003"]})
    page = Page(render(replace(data, candidates=(fewer, *data.candidates[1:])))[0])
    assert len(page.all("img")) == 4 + 2


def test_a_large_picture_is_reduced_and_a_small_one_kept(tmp_path: Path) -> None:
    for side, expected in ((1024, 320), (64, 64)):
        file = tmp_path / f"{side}.png"
        Image.new("RGB", (side, side), (200, 40, 90)).save(file)
        scheme, _, data = picture(file, 320).partition(",")
        assert scheme == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (expected, expected)
            pixel = image.convert("RGB").getpixel((5, 5))
        assert isinstance(pixel, tuple)
        assert all(abs(a - b) < 6 for a, b in zip(pixel, (200, 40, 90), strict=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.000"), (0.12345, "0.123"), (-2.5, "−2.500"), (1e-5, "1e-05")],
    ids=str,
)
def test_a_number_is_written_for_reading(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_stopped_trial_is_pale_and_never_the_best(data):
    trials = (*data.trials, replace(data.trials[-1], number=99, score=1e6, pruned=5))
    page, _ = render(replace(data, trials=trials))
    assert page.count("behind after 5 pictures</td>") == 1
    assert 'class="trial pruned"' in page
    assert "stopped, because it was behind" in page
    assert replace(data, trials=trials).best == data.best


def test_importances_are_bars_beside_what_chance_gives(data):
    found = (
        Importance("alpha.IN03", 0.6, 0.2, 1.0, 1.0),
        Importance("alpha.M00", 0.1, 0.2, 0.4),
    )
    page, _ = render(replace(data, importances=found))
    assert "alpha.IN03: the only\n  value that makes" in page
    assert "which may be too narrow:\n  alpha.IN03." in page
    assert page.count('class="chance" style="left: 33.33%"') == 2
    none, _ = render(replace(data, importances=found[1:]))
    assert "No value stands out from what chance alone gives" in none


def test_a_winner_that_another_trial_leads_says_that_this_may_be_luck(data: ReportData) -> None:
    assert data.best == data.leader
    assert "may be luck" not in render(data)[0]
    rival = next(trial for trial in data.trials if trial != data.leader and trial.score is not None)
    page = Page(render(replace(data, winner=rival.number))[0])
    words = " ".join(" ".join(page.words).split())
    assert f"best score, trial {rival.number} trial {data.leader.number} has" in words
    assert "its lead over this one, picture by picture, may be luck" in words


def _painted(data: ReportData) -> ReportData:
    """Return the study with three pictures for each trial that has a score."""
    (shots,) = [list(c.shots.items())[:3] for c in data.candidates if c.role == "best"]
    trials = []
    for trial in data.trials:
        own = {
            id_: replace(shot, name=f"pictures/{trial.number:04d}/{id_} #1.png")
            for id_, shot in shots
        }
        low = -0.1 if trial.number == 7 else 0.1
        ahead = None if trial == data.best else _ahead(trial.number, low=low)
        trials.append(trial if trial.score is None else replace(trial, shots=own, behind=ahead))
    return replace(data, trials=tuple(trials))


def _ahead(number: int, *, low: float) -> Comparison:
    return Comparison(f"trial {number}", 0.2, low, 0.3, 0.04, 3)


def test_the_best_five_are_side_by_side_and_all_are_in_the_gallery(data: ReportData) -> None:
    page = Page(render(_painted(data))[0])
    best = sorted((t for t in data.trials if t.score is not None), key=lambda t: -(t.score or 0))
    labels = [word for word in page.words if word.startswith("trial ")]
    assert labels[:5] == [f"trial {trial.number}" for trial in best[:5]]
    lazy = page.all("img", loading="lazy")
    assert len(lazy) == 38 * (1 + 3)
    assert lazy[0]["src"] == f"pictures/{best[0].number:04d}/000%20%231.png"
    assert [d["id"] for d in page.all("details") if "id" in d] == [
        f"trial-{t.number}" for t in best
    ]


def test_the_page_says_what_is_uncertain_and_how_pictures_were_chosen(
    data: ReportData,
) -> None:
    text = " ".join(render(_painted(data))[0].split())
    assert "<b>1 of 37 other trials</b> may be as good as the best" in text
    assert "The nearest: 7." in text
    assert "2 trials failed and say nothing" in text
    assert "are 8 of the 8 prompts and seeds that all candidates have painted" in text


def test_the_slider_has_the_greatest_the_least_and_the_middle_gain(data: ReportData) -> None:
    *others, best = data.candidates
    scored = [
        replace(shot, score=0.36 + gain)
        for shot, gain in zip(best.shots.values(), (1, 7, 2, 8, -3, 5, 4, 6), strict=True)
    ]
    shots = dict(zip(best.shots, scored, strict=True))
    text = render(replace(data, candidates=(*others, replace(best, shots=shots))))[0]
    assert re.findall(r"<figcaption>([a-z ]+) <span>a ([a-z]+ [a-z]+), seed", text) == [
        ("greatest gain", "green heart"), ("in the middle", "white star"),
        ("least gain", "blue star"),
    ]  # fmt: skip


def test_hashes_and_the_family_tree_are_on_the_page(data: ReportData) -> None:
    tree = Lineage(
        Member("best.safetensors", made=0),
        (
            HowMade("slerp, alpha 0.5", (Member("ab.safetensors", "a" * 64, made=1), Member("c"))),
            HowMade("add", (Member("<a>"), Member("b", "b" * 64, "LoRA 0.5"))),
        ),
    )
    page = Page(render(replace(data, lineage=tree, hashes=(("shapes", "f" * 64),)))[0])
    for word in ("f" * 64, "slerp, alpha 0.5", "ab.safetensors", "<a>", "LoRA 0.5", "b" * 10):
        assert word in page.words


def test_curves_are_drawn_and_pairs_told(data):
    one = Importance("alpha.IN00", 0.6, 0.2, 0.4)
    grid = tuple(i / 10 for i in range(11))
    curve = Curve("alpha.IN00", grid, tuple(0.2 - (x - 0.4) ** 2 for x in grid), (0.05,) * 11,
                  (0.31, 0.48))  # fmt: skip
    pair = Pair(("alpha.IN00", "alpha.M00"), -0.2, 0.01)
    page, _ = render(replace(data, importances=(one,), curves=(curve,), pairs=(pair,)))
    assert "likely 0.31 … 0.48" in page
    assert "alpha.IN00 and alpha.M00 (better one high, the other low)." in page
    (line,) = re.findall(r'<polyline fill="none"[^>]* points="([^"]*)"', page)
    heights = [float(point.split(",")[1]) for point in line.split()]
    assert len(heights) == 11
    assert min(heights) == heights[4] == -24  # upwards is negative
