"""A whole study with a person: `bmerge run` and `bmerge rate` as processes, both killed on the way.

Once over HTTP, which always runs, once in a real browser, where one is installed.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import chromium
from bmerge.rating.ratings import Ratings
from bmerge.rating.scores import standings
from bmerge.storage.stored import read_study
from bmerge.testing import write_checkpoint
from web_server import Client

EXAMPLE = Path(__file__).parents[1] / "plugin_project" / "bmerge_example.py"
STUDY = """
name: bright
merge: {method: from_middle, models: [a.safetensors, b.safetensors]}
space:
  pull: {range: [0, 2], per: single}
payloads:
  prompts: [hello, world]
  seeds: {start: 0, count: 4}
generator: {name: swatch, side: 16}
scorers:
  - {name: person}
  - {name: brightness, weight: 0}
optimiser: {name: walk, init: random, init_points: 2, n_iters: 1}
out: study
"""
TRIALS, PAIRS = 4, 24  # the first has nothing to be compared with


class HttpPerson:
    """Prefers the brighter picture; talks to the server as the page does."""

    def __init__(self, folder, url=None):
        if url:
            port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(.+)", url).groups()
            HttpPerson.client = Client(int(port), token).log_in()

    def __enter__(self):
        self.state = self.client.state()
        return self

    def __exit__(self, *_):
        pass

    def answer_nobody(self):
        """Answer while no server is there."""
        with pytest.raises(ConnectionError):
            self.answer()
        self.state = {"question": None}

    def wait(self):
        """Wait for a question."""
        while not self.state["question"]:
            time.sleep(0.05)
            self.state = self.client.state()

    def answer(self):
        self.wait()
        question = self.state["question"]
        values = [self._brightness(path) for path in question["pictures"]]
        side = "tie" if values[0] == values[1] else "left" if values[0] > values[1] else "right"
        data = {"question": question["id"], "answer": side}
        status, _, body = self.client.post("/api/answer", data)
        assert status == 200
        self.state = json.loads(body)

    def undo(self):
        self.state = json.loads(self.client.post("/api/undo", self.state["last"])[2])

    def question(self):
        return self.state["question"]["pictures"]

    def _brightness(self, path):
        with Image.open(io.BytesIO(self.client.get(path)[2])) as image:
            return float(np.asarray(image, dtype=float).mean())


BRIGHTNESS = """(() => [...document.querySelectorAll("#pictures img")].map((image) => {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data.reduce((a, b) => a + b);
}))()"""
READY = "!document.getElementById('ask').hidden && !document.querySelector('.loading')"


class BrowserPerson:
    """Prefers the brighter picture; looks at the page and presses its keys."""

    def __init__(self, folder, url=None):
        self.browser = chromium.Browser(folder / "profile")
        if url:
            BrowserPerson.home = url.split("?")[0]
        self.browser.open(url or self.home)

    def __enter__(self):
        self.browser.__enter__()
        return self

    def __exit__(self, *error):
        usual = ("net::ERR_", "409 (Conflict)")  # a dead server; a question answered already
        assert not [e for e in self.browser.errors if not any(text in e for text in usual)]
        self.browser.__exit__(*error)

    def answer_nobody(self):
        self.wait()
        self.browser.key("ArrowLeft")
        self.browser.wait("!document.getElementById('lost').hidden")

    def wait(self):
        self.browser.wait(READY)

    def answer(self):
        self.wait()
        before = self._count()
        left, right = self.browser.run(BRIGHTNESS)
        self.browser.key(
            "ArrowDown" if left == right else ["ArrowRight", "ArrowLeft"][left > right]
        )
        self.browser.wait(f"parseInt(document.getElementById('count').textContent) > {before}")

    def undo(self):
        before = self._count()
        self.browser.key("u")
        self.browser.wait(f"parseInt(document.getElementById('count').textContent) < {before}")

    def question(self):
        self.wait()
        paths = (
            "[...document.querySelectorAll('#pictures img')].filter((i) => i.checkVisibility())"
            ".map((i) => new URL(i.src).pathname)"
        )
        return self.browser.run(paths)

    def _count(self):
        return self.browser.run("parseInt(document.getElementById('count').textContent)")


def start(folder, *arguments):
    command = [sys.executable, "-m", "bmerge.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder):
    return start(folder, "run", "study.yaml", "--trials", TRIALS, "--plugin", EXAMPLE)


def rate(folder, port):
    """Start the page; return the process and the address that it prints."""
    process = start(folder, "rate", "study", "--port", port, "--no-open")
    return process, process.stdout.readline().strip()


def kill(process):
    process.kill()
    process.communicate()


@pytest.fixture
def study(tmp_path):
    for name, value in (("a", 0.1), ("b", 0.9)):
        tensors = {f"layers.{i}.w": np.full((4, 4), value) for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def wait_for_offer(ratings, process):
    while not ratings.exist:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def check_study(folder, person_of):
    """Rate 24 pairs: undo, close, come back, kill the page, kill the run; nothing may be lost."""
    ratings, port = Ratings(folder / "study"), free_port()
    running = run(folder)
    wait_for_offer(ratings, running)
    page, url = rate(folder, port)
    try:
        with person_of(folder, url) as person:
            for _ in range(5):
                person.answer()
            assert ratings.answered() == 5
            kill(page)
            person.answer_nobody()
            page, again = rate(folder, port)
            assert again == url
            person.answer()
            person.wait()
            person.undo()
            person.undo()
            assert ratings.answered() == 4
            undone = person.question()
        kill(running)  # while it waits
        with person_of(folder) as person:  # closed, and opened again without the token
            assert person.question() == undone
            for _ in range(4):
                person.answer()  # trial 1's last; no run is there to take it
            running = run(folder)
            for _ in range(PAIRS - 8):
                person.answer()
            assert ratings.answered() == PAIRS
            out, err = running.communicate(timeout=60)
        assert running.returncode == 0, err
    finally:
        for process in (page, running):
            if process.poll() is None:
                kill(process)
    return out, err


def check_result(folder, out, err):
    trials = read_study(folder / "study").trials
    assert len(trials) == TRIALS
    assert {trial.state for trial in trials.values()} == {"complete"}
    found = standings(Ratings(folder / "study"))
    for one, other in itertools.permutations(trials.values(), 2):
        if one.means["brightness"] > other.means["brightness"] + 0.01:
            assert found[one.number].score > found[other.number].score + 1
    assert found[0].score == 0
    best = max(trials.values(), key=lambda trial: found[trial.number].score)
    assert f"best        trial {best.number}, score {best.score:.4f}" in out
    assert "8 questions are answered; `bmerge rate study` asks them" in err


def test_person_over_http_loses_nothing(study):
    check_result(study, *check_study(study, HttpPerson))


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium is installed")
def test_person_in_a_browser_loses_nothing(study):
    check_result(study, *check_study(study, BrowserPerson))


MARKS = STUDY.replace("name: person", "name: person, mode: 0-10, questions: 4")
GIVEN = [[3, 10, 0, 7], [10, 9, 8, 10], [1, 2, "skip", 2], [5, 5, 4, 6]]
HASTY = """(() => {  // hit keys, and others while the next picture loads
  const hit = (keys) => keys.forEach(
    (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key })));
  const [now, loading] = %s;
  const pictures = document.getElementById("pictures");
  new MutationObserver((_, observer) => {
    if (!pictures.classList.contains("loading")) return;
    observer.disconnect();
    hit(loading);
  }).observe(pictures, { attributes: true });
  hit(now);
})()"""


def marks(folder):
    """Return the marks that are stored, trial by trial."""
    ratings = Ratings(folder / "study")
    return [[r.value for r in ratings.ratings(offer.trial)] for offer in ratings.offers()]


def hit(person, now, loading, *, answers, undone):
    """Hit keys faster than the page gets its answers; wait until so many were sent by then."""
    person.wait()
    person.browser.run(HASTY % json.dumps([now, loading]))
    sent = "performance.getEntriesByName(location.origin + '/api/%s').length == %d"
    person.browser.wait(sent % ("answer", answers))
    person.browser.wait(sent % ("undo", undone))


def mark(person, value):
    """Give a mark: tens by a click, others by a key."""
    before = person._count()
    if value == 10:
        person.browser.click("[data-answer='10']")
    else:
        person.browser.key(str(value)[0])
    person.browser.wait(f"parseInt(document.getElementById('count').textContent) > {before}")


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium is installed")
def test_marks_in_a_browser_undo_included(study):
    (study / "study.yaml").write_text(MARKS)
    running = run(study)
    wait_for_offer(Ratings(study / "study"), running)
    page, url = rate(study, free_port())
    try:
        with BrowserPerson(study, url) as person:
            (first,) = person.question()
            shown = f"document.querySelector('#pictures img').src.endsWith({first!r})"
            hit(person, ["3", "u", "5", "6"], [], answers=3, undone=1)  # 6 comes too late
            person.browser.wait(f"!{shown}")
            assert marks(study) == [[5]]
            hit(person, ["u"], [], answers=3, undone=2)
            person.browser.wait(shown)
            hit(person, ["3"], ["9", "u"], answers=4, undone=3)  # nobody has seen what 9 is for
            person.browser.wait(shown)
            assert marks(study) == [[]]
            for value in itertools.chain(*GIVEN):
                person.wait()
                mark(person, value)
            out, err = running.communicate(timeout=60)
        assert running.returncode == 0, err
    finally:
        for process in (page, running):
            if process.poll() is None:
                kill(process)
    assert marks(study) == [[None if m == "skip" else m for m in trial] for trial in GIVEN]
    trials = read_study(study / "study").trials
    assert [trials[i].score for i in range(TRIALS)] == pytest.approx([5, 9.25, 5 / 3, 5])
    assert "best        trial 1, score 9.2500" in out


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium is installed")
def test_pictures_that_take_long_keep_nothing_else_waiting(desk, client, tmp_path):
    """Undo works, and what another device has answered arrives; an answer is not taken."""
    question = "document.getElementById('text').textContent == 'prompt %d'"
    order = []
    with chromium.Browser(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{client.port}/?token={client.token}")
        browser.wait(READY)
        order.append(prompt_of(client))
        browser.hold("*/pictures/*")
        browser.key("t")
        browser.wait(f"!({question % order[0]})")
        order.append(prompt_of(client))
        browser.key("t")  # for pictures that are not there yet
        client.post("/api/answer", {"question": client.state()["question"]["id"], "answer": "left"})
        order.append(prompt_of(client))
        assert desk.ratings.answered() == 2
        browser.wait(question % order[2])
        for prompt in reversed(order[:2]):
            browser.key("u")
            browser.wait(question % prompt)
    assert desk.ratings.answered() == 0


def prompt_of(client):
    return int(client.state()["question"]["prompt"].split()[1])


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("interruptible")
def test_page_ends_quietly_after_an_interrupt(study):
    running = run(study)
    wait_for_offer(Ratings(study / "study"), running)
    kill(running)
    page, _ = rate(study, 0)
    page.send_signal(2)
    _, err = page.communicate(timeout=30)
    assert (page.returncode, err) == (0, "stopped; all answers are stored\n")


def test_folder_without_a_study_is_refused(bmerge, tmp_path):
    called = bmerge("rate", tmp_path, "--no-open")
    assert called.status == 1
    assert f"error: no study in {tmp_path}" in called.err
    assert not list(tmp_path.iterdir())


def test_port_that_is_taken_is_named(bmerge, study_folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        called = bmerge("rate", study_folder, "--port", port, "--no-open")
    assert called.status == 1
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in called.err
    assert "hint: give another --port" in called.err


def test_lan_and_host_exclude_each_other(bmerge, tmp_path):
    called = bmerge("rate", tmp_path, "--lan", "--host", "127.0.0.1")
    assert called.status == 2
    assert "--lan and --host exclude each other" in called.err


@pytest.fixture
def study_folder(tmp_path):
    from bmerge.study.loop import run_study
    from toy_study import make_study

    run_study(make_study(tmp_path / "toy", init=0, n_iters=0, design="random"))
    return tmp_path / "toy"
