from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge import load_recipe
from bmerge.testing import write_checkpoint


def _trials(bmerge, folder="runs/small"):
    return json.loads(bmerge("studies", "show", folder, "--json").out)["trials"]


def test_run_ends_with_checkpoint_recipe_and_report(bmerge, study_file, example, tmp_path):
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 0, called.err
    folder = tmp_path / "runs" / "small"
    for name in ("best/best.safetensors", "best/recipe.yaml", "report.html"):
        assert (folder / name).is_file()
        assert name in called.out
    assert [t["number"] for t in _trials(bmerge)] == list(range(8))
    lines = [line for line in called.err.splitlines() if line.startswith("trial ")]
    assert len(lines) == 8
    assert "iters (walk)" in lines[-1]


def test_recipe_of_the_best_gives_the_same_bytes(bmerge, study_file, example, tmp_path):
    bmerge("run", "study.yaml", *example)
    best = tmp_path / "runs/small/best"
    called = bmerge("merge", best / "recipe.yaml", "-o", "again.safetensors", *example)
    assert called.status == 0, called.err
    assert (tmp_path / "again.safetensors").read_bytes() == (best / "best.safetensors").read_bytes()


def test_same_command_goes_on_and_trials_counts_all(bmerge, study_file, example):
    bmerge("run", "study.yaml", "--trials", "4", *example)
    first = _trials(bmerge)
    assert len(first) == 4
    called = bmerge("run", "study.yaml", "--trials", "6", *example)
    assert called.status == 0
    assert "continuing: 4 of 6 trials are done" in called.err
    whole = _trials(bmerge)
    assert len(whole) == 6
    assert whole[:4] == first


def test_resumed_study_is_the_undisturbed_one(bmerge, study_file, example):
    bmerge("run", "study.yaml", "--out", "one", *example)
    for count in (2, 3, 8):
        bmerge("run", "study.yaml", "--out", "two", "--trials", count, *example)
    one, two = (
        [(t["params"], t["values"]) for t in _trials(bmerge, folder)] for folder in ("one", "two")
    )
    assert one == two


def test_options_of_the_executor_are_heeded(bmerge, study_file, example):
    called = bmerge("run", "study.yaml", "--executor", "torch", "--device", "cpu", *example)
    assert called.status == 0, called.err
    assert "torch on the CPU" in called.err


def test_observer_is_told_of_every_trial(bmerge, study_file, example, write_plugin, tmp_path):
    source = f"""
        from bmerge import hookimpl

        @hookimpl
        def bmerge_trial_finished(trial):
            with open({str(tmp_path / "seen")!r}, "a") as file:
                file.write(f"{{trial.number}}\\n")
    """
    watcher = write_plugin("watcher.py", source)
    bmerge("run", "study.yaml", *example, "--plugin", watcher)
    assert (tmp_path / "seen").read_text().split() == list("01234567")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prompts:", "promts:", "study.yaml:9: "),
        ("walk", "wolk", "unknown optimiser 'wolk'"),
        ("swatch", "swutch", "unknown generator 'swutch'"),
        ("name: brightness", "name: brightnes", "unknown scorer 'brightnes'"),
        ("from_middle", "form_middle", "unknown merge method 'form_middle'"),
        ("target", "taget", "brightness has no option 'taget'"),
        (
            "name: brightness, target: 1.0",
            "name: person, only_best: 0.5",
            "only_best needs another scorer, with a weight",
        ),
        ("n_iters: 3", "n_iters: 3, step: -1", "step is -1, must be above 0"),
        ("n_iters: 3", "n_iters: 3, step: [1]", "'step' of walk must be a number, not a list"),
        ("a.safetensors,", "x.safetensors,", "x.safetensors"),
        ("pull:", "push:", "unknown hyperparameter 'push'"),
        (", b.safetensors", "", "from_middle takes 2 models (a, b), got 1"),
    ],
)
def test_everything_is_checked_before_anything_is_done(
    bmerge, study_file, example, tmp_path, old, new, message
):
    study_file.write_text(study_file.read_text().replace(old, new, 1))
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 1
    assert message in called.err
    assert not (tmp_path / "runs").exists()


def test_attempt_of_the_file_is_tried(bmerge, study_file, example):
    study_file.write_text(study_file.read_text() + "try:\n  - {pull: 1.25}\n  - {pull: 3}\n")
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 0, called.err
    tried = [t for t in _trials(bmerge) if t["phase"] == "try"]
    assert [t["weights"]["pull"] for t in tried] == [{"*": 1.25}, {"*": 3.0}]
    assert [len(t["params"]) for t in tried] == [1, 0]  # 3 lies outside the space


def test_wrong_attempt_is_named(bmerge, study_file, example):
    study_file.write_text(study_file.read_text() + "try:\n  - {pull: GRAD}\n")
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 1
    assert "try[0].pull: 'GRAD' is neither a number nor a preset" in called.err


def test_two_runs_on_one_study_are_refused(bmerge, study_file, example):
    from bmerge.storage.lock import FolderLock

    bmerge("run", "study.yaml", "--trials", "2", *example)
    lock = FolderLock(study_file.parent / "runs/small")
    try:
        called = bmerge("run", "study.yaml", *example)
    finally:
        lock.close()
    assert called.status == 1
    assert "another run is working on the study" in called.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("interruptible")
def test_interrupt_says_how_to_go_on_and_the_same_command_does(bmerge, study_file, example):
    command = [sys.executable, "-m", "bmerge.cli", "run", "study.yaml", *map(str, example)]
    with subprocess.Popen(
        [*command, "--trials", "500"], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        seen = ""
        while "trial 2 " not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate()[1]
    assert process.returncode == 130, rest
    assert "stopped: interrupted; finished trials are stored in runs/small\n" in rest
    assert "hint: run the same command again to continue" in rest
    assert "Traceback" not in rest
    before = [t for t in _trials(bmerge) if t["state"] == "complete"]
    count = len(_trials(bmerge)) + 2
    assert bmerge("run", "study.yaml", "--trials", count, *example).status == 0
    after = _trials(bmerge)
    assert after[: len(before)] == before
    assert [t["number"] for t in after] == list(range(count))
    assert {t["state"] for t in after} == {"complete"}


def test_progress_line_in_a_terminal():
    from bmerge.cli.progress import LiveLine
    from bmerge.cli.study_progress import StudyProgress
    from bmerge.study.events import PictureDone, StudyStarted, TrialFinished, TrialStarted
    from bmerge.trials.limits import Limits
    from bmerge.trials.trial import Proposal, Trial

    stream = _Terminal()
    with LiveLine(stream) as line:
        progress = StudyProgress(line)
        trial = Trial(1, "complete", Proposal("init", "sobol", {}, {}), score=0.5)
        progress.on_event(StudyStarted(1, 8, None, Limits(8)))
        progress.on_event(TrialStarted(1, "init", "sobol"))
        progress.on_event(PictureDone(1, 2, 16, 0.25))
        assert "2/8  init (sobol)  painting 3 of 16  score 0.250" in stream.last
        progress.on_event(TrialFinished(trial, trial))
        assert "best 0.5000" in stream.last
        assert stream.last.rstrip().endswith("left")
        tiny = Trial(
            2, "complete", Proposal("init", "sobol", {}, {}), score=-3e-11, scores=(1e300,)
        )
        progress.on_event(TrialFinished(tiny, tiny))
        assert any("score -3e-11 = +1e+300  best -3e-11 (trial 2)" in t for t in stream.texts)
        failed = Trial(2, "failed", Proposal("init", "sobol", {}, {}), reason="no luck")
        progress.on_event(TrialFinished(failed, trial))
        assert any("trial 2  init (sobol)  failed: no luck" in text for text in stream.texts)
    assert stream.last.strip() == ""


def test_wait_is_told_once_for_each_reason_of_one_outage(capsys):
    from bmerge.cli.progress import LiveLine
    from bmerge.cli.study_progress import StudyProgress
    from bmerge.study.events import Paused, PictureDone, StudyStarted

    progress = StudyProgress(LiveLine())
    events = [
        StudyStarted(0, 8, None),
        Paused(None, "refused", 1, 120),
        Paused(3, "refused", 2, 1800),
        Paused(3, "disk full", 4, 1798),
        Paused(3, "disk full", 8, 1794),
        PictureDone(3, 0, 2, 0.5),
        Paused(3, "disk full", 1, 1800),
    ]
    for event in events:
        progress.on_event(event)
    assert capsys.readouterr().err.splitlines() == [
        "the study waits, for 2:00 at most: refused",
        "trial 3 waits, for 29:58 at most: disk full",
        "trial 3 waits, for 30:00 at most: disk full",
    ]
    stream = _Terminal()
    StudyProgress(LiveLine(stream)).on_event(Paused(3, "refused", 4, 1800))
    assert "next attempt in 4 s: refused" in stream.last


class _Terminal:
    """A stream that says it is a terminal and keeps what was written."""

    def __init__(self):
        self.texts = []

    def isatty(self):
        return True

    def write(self, text):
        self.texts.append(text)

    def flush(self):
        pass

    @property
    def last(self):
        return self.texts[-1]


def test_what_does_not_fit_is_told_before_the_first_trial(bmerge, study_file, example):
    layers = {f"layers.{i}.w": np.full((4, 4), 0.5) for i in range(2)}
    write_checkpoint(study_file.parent / "b.safetensors", {**layers, "te.w": np.ones(3)})
    called = bmerge("run", study_file, *example)
    assert called.status == 0, called.err
    assert "warning: tensor 'te.w' only in b.safetensors: left out" in called.err
    others = {f"layers.{i}.v": np.ones(3) for i in range(2)}
    write_checkpoint(study_file.parent / "b.safetensors", others)
    called = bmerge("run", study_file, "--out", "other", *example)
    assert called.status == 1
    assert "nothing would be merged: b.safetensors has no 2 tensors" in called.err
    assert not (study_file.parent / "other" / "study.db").exists()


def test_check_finds_out_and_leaves_nothing(bmerge, study_file, example, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    called = bmerge("run", "study.yaml", "--check", *example)
    assert called.status == 0, called.err
    assert sorted(tmp_path.rglob("*")) == before
    lines = called.out.splitlines()
    assert lines[0] == "study       small: trials 8, pictures of each trial 2"
    assert "works       room" in lines
    assert "ready       generator" in lines
    assert "ready       scorer brightness" in lines
    assert "time        not known before the first trial" in lines


def test_check_of_a_begun_study_forecasts_from_its_trials(bmerge, study_file, example):
    bmerge("run", "study.yaml", "--trials", "4", *example)
    called = bmerge("run", "study.yaml", "--check", *example)
    assert called.status == 0, called.err
    assert "works       the study so far" in called.out
    assert "for 4 trials, 0:00 each, the mean of 4" in called.out
    assert len(_trials(bmerge)) == 4


def test_check_that_fails_says_all_of_it(bmerge, study_file, example, write_plugin, tmp_path):
    source = """
        from bmerge import GeneratorError, GeneratorKind, hookimpl

        class Down:
            def load(self, model): pass
            def generate(self, payloads): return iter(())
            def close(self): pass
            def check(self, *, paint):
                raise GeneratorError("nobody answers", blame="surroundings", hint="start it")

        @hookimpl
        def bmerge_generators():
            return [GeneratorKind("down", Down, "is down")]
    """
    plugin = write_plugin("down.py", source)
    study_file.write_text(study_file.read_text().replace("swatch", "down"))
    called = bmerge("run", "study.yaml", "--check", *example, "--plugin", plugin)
    assert called.status == 1
    assert "wrong       generator: nobody answers" in called.out
    assert "error: the study cannot run: generator: nobody answers" in called.err
    assert "hint: start it" in called.err
    assert not (tmp_path / "runs").exists()


def test_run_without_a_complete_trial_fails(bmerge, study_file, example, write_plugin):
    source = """
        from bmerge import ScorerKind, hookimpl

        class Broken:
            def score(self, pictures):
                return [1 / 0]

        @hookimpl
        def bmerge_scorers():
            return [ScorerKind("broken", Broken, "fails")]
    """
    plugin = write_plugin("broken.py", source)
    text = study_file.read_text().replace("brightness, target: 1.0", "broken")
    study_file.write_text(text)
    called = bmerge("run", "study.yaml", "--trials", "2", *example, "--plugin", plugin)
    assert called.status == 1
    assert "error: no trial succeeded, so there is no best merge" in called.err
    assert "report " in called.out


def test_retry_failed_evaluates_them_again(bmerge, study_file, example, write_plugin, tmp_path):
    source = f"""
        from pathlib import Path
        from bmerge import ScorerError, ScorerKind, hookimpl

        class Moody:
            def score(self, pictures):
                with open({str(tmp_path / "calls")!r}, "a+") as file:
                    file.write("x")
                    file.seek(0)
                    if file.read() in ("x", "xxx"):
                        raise ScorerError("cannot judge that")
                return [0.5] * len(pictures)

        @hookimpl
        def bmerge_scorers():
            return [ScorerKind("moody", Moody, "fails at first")]
    """
    plugin = write_plugin("moody.py", source)
    study_file.write_text(study_file.read_text().replace("brightness, target: 1.0", "moody"))
    assert bmerge("run", "study.yaml", *example, "--plugin", plugin).status == 0
    before = _trials(bmerge)
    assert [t["number"] for t in before if t["state"] == "failed"] == [0, 2]
    called = bmerge("run", "study.yaml", "--retry-failed", *example)
    assert called.status == 0, called.err
    assert "continuing: 6 of 8 trials are done" in called.err
    after = _trials(bmerge)
    assert {t["state"] for t in after} == {"complete"}
    assert [t["params"] for t in after] == [t["params"] for t in before]


FAULTY = """
    from pathlib import Path
    from bmerge import GeneratorKind, OptimiserKind, Picture, ScorerKind, hookimpl
    from PIL import Image

    class Walk:
        def __init__(self, space, seed, budget):
            self.space = space
        def ask(self):
            {ask}
            return {{p.name: p.low for p in self.space.parameters}}
        def tell(self, result):
            {tell}
        def replay(self, results):
            {replay}

    class Swatch:
        def load(self, model):
            {load}
        def generate(self, payloads):
            for payload in payloads:
                {generate}
                yield Picture(payload, Image.new("RGB", (8, 8), "white"))
        def close(self):
            {close}

    class Brightness:
        def score(self, pictures):
            {score}
            return [0.5] * len(pictures)

    @hookimpl
    def bmerge_optimisers():
        return [OptimiserKind("faulty", Walk, "x")]

    @hookimpl
    def bmerge_generators():
        return [GeneratorKind("painter", Swatch, "x")]

    @hookimpl
    def bmerge_scorers():
        return [ScorerKind("judge", Brightness, "x")]
"""
_FAULTS = ("ask", "tell", "replay", "load", "generate", "close", "score")


@pytest.fixture
def faulty(study_file, write_plugin, example):
    """Write a plugin that raises KeyError in some of its methods; return options, file, lines."""
    study = study_file.read_text()
    study = study.replace("name: swatch", "name: painter").replace("name: walk", "name: faulty")
    study = study.replace("name: brightness, target: 1.0", "name: judge")
    study_file.write_text(study)

    def write(*faults):
        code = {name: '{}["x"]' if name in faults else "pass" for name in _FAULTS}
        file = write_plugin("faulty.py", FAULTY.format(**code))
        lines = file.read_text().splitlines()
        places = [f"{file}:{n}" for n, line in enumerate(lines, 1) if '["x"]' in line]
        return [*example, "--plugin", file], places

    return write


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("load", "the generator 'painter' failed to take the model: KeyError: 'x'"),
        ("generate", "the generator 'painter' failed at 'p00-s0' (hello): KeyError: 'x'"),
        ("score", "the scorer 'judge' failed at 'p00-s0' (hello), 'p01-s0' (world): KeyError: 'x'"),
        ("ask", "the optimiser 'faulty' failed when it was asked for trial 5: KeyError: 'x'"),
        ("tell", "the optimiser 'faulty' failed when it was told of trial 5: KeyError: 'x'"),
        ("replay", "the optimiser 'faulty' failed when it was told of 4 finished trials: KeyE"),
    ],
)
def test_failure_of_a_plugin_says_what_was_done_and_where(bmerge, faulty, fault, told):
    options, (place,) = faulty(fault)
    called = bmerge("run", "study.yaml", *options)
    assert called.status == 1
    assert told in called.err
    assert f"({place})" in called.err
    assert "Traceback" not in called.err
    assert "bug in bmerge" not in called.err
    debugged = bmerge("run", "study.yaml", "--debug", *options)
    assert "Traceback" in debugged.err
    assert "KeyError: 'x'" in debugged.err


def test_failure_to_close_hides_nothing(bmerge, faulty):
    options, (generate, close) = faulty("generate", "close")
    called = bmerge("run", "study.yaml", *options)
    assert called.status == 1
    assert f"({generate})" in called.err.splitlines()[-2]
    told = f"warning: the generator 'painter' could not be closed: KeyError: 'x' ({close})"
    assert told in called.err.splitlines()


def test_failure_to_close_is_told_and_loses_nothing(bmerge, faulty):
    options, (close,) = faulty("close")
    called = bmerge("run", "study.yaml", *options)
    assert called.status == 0
    assert (
        f"warning: the generator 'painter' could not be closed: KeyError: 'x' ({close})"
        in called.err
    )
    assert "best " in called.out


def test_optimiser_that_cannot_search_a_kind_of_parameter_is_refused(bmerge, study_file, example):
    text = study_file.read_text()
    study_file.write_text(text.replace("range: [0, 2]", "range: [0, 2], integer: true"))
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 1
    assert "the optimiser 'walk' cannot propose a whole number, which pull is" in called.err
    assert (
        "these do: auto, bayes, cmaes, coordinate, gp, grid, nevergrad, nsga2, qmc, random"
        in called.err
    )
    study_file.write_text(study_file.read_text().replace("name: walk", "name: random"))
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 0, called.err
    tried = {t["params"]["pull"] for t in _trials(bmerge) if t["params"]}
    assert 1 < len(tried) <= 3
    assert tried <= {0, 1, 2}


def test_study_chooses_the_method_and_a_model(bmerge, study_file, example, tmp_path):
    write_checkpoint(
        tmp_path / "c.safetensors", {f"layers.{i}.w": np.full((4, 4), 2.0) for i in range(2)}
    )
    text = study_file.read_text().replace("name: walk", "name: random")
    text = text.replace("n_iters: 3", "n_iters: 8").replace("target: 1.0", "target: 0.95")
    method, model = "[from_middle, weighted_sum]", "[b.safetensors, c.safetensors]"
    study_file.write_text(f"{text}choose: {{method: {method}, models.1: {model}}}\n")
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 0, called.err
    trials = _trials(bmerge)
    tried = [t["params"] for t in trials if t["params"]]
    assert len({(values["merge.method"], values["merge.models.1"]) for values in tried}) == 4
    best = max(trials, key=lambda t: t["values"])
    recipe = load_recipe(tmp_path / "runs/small/best/recipe.yaml")
    assert best["model"] is None
    assert recipe.method == best["params"]["merge.method"]
    assert recipe.models[1].path.endswith(best["params"]["merge.models.1"])
    name = "pull" if recipe.method == "from_middle" else "alpha"
    assert recipe.hyperparameters[name].assignments == best["weights"][name]
    recipe_file = tmp_path / "runs/small/best/recipe.yaml"
    merged = bmerge("merge", recipe_file, "-o", "again.safetensors", *example)
    assert merged.status == 0, merged.err
    kept = tmp_path / "runs/small/best/best.safetensors"
    again, found = (load_file(file) for file in (tmp_path / "again.safetensors", kept))
    for key, tensor in again.items():
        np.testing.assert_array_equal(tensor, found[key])
    goes_on = bmerge("run", "study.yaml", "--trials", str(len(trials) + 2), *example)
    assert goes_on.status == 0, goes_on.err
    assert [t["params"] for t in _trials(bmerge)][: len(trials)] == [t["params"] for t in trials]
    write_checkpoint(
        tmp_path / "c.safetensors", {f"layers.{i}.w": np.full((4, 4), 3.0) for i in range(2)}
    )
    refused = bmerge("run", "study.yaml", "--trials", str(len(trials) + 3), *example)
    assert refused.status == 1
    assert "was made with different choose" in refused.err


STEPS = """
name: small
merge:
  models: {a: a.safetensors, b: b.safetensors, c: c.safetensors, d: d.safetensors}
  steps:
    full: {method: add, models: [a, b - a], hyperparameters: {}}
    mixed: {method: weighted_sum, models: [full, c]}
    out: {method: add, models: [mixed, d - d], hyperparameters: {weight: 0.5}}
choose: {steps.mixed.models.1: [c, a]}
space: {full.weight: {range: [0.5, 1], per: single}}
try: [{mixed.alpha: 0.25, full.weight: 0.75}]
payloads: {prompts: [hello, world]}
generator: {name: swatch}
scorers: [{name: brightness, target: 0.6}]
optimiser: {name: random, init_points: 2, n_iters: 3}
"""


def test_study_of_steps_searches_their_hyperparameters(bmerge, study_file, example, tmp_path):
    values = {"a": 0.1, "b": 0.9, "c": 0.5}
    for name, value in {**values, "d": 0.3}.items():
        tensors = {f"layers.{i}.w": np.full((4, 4), value) for i in range(1 if name == "d" else 2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    study_file.write_text(STEPS)
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 0, called.err
    trials = _trials(bmerge)
    sources = [trial["source"] for trial in trials]
    assert sources == [
        "model a",
        "model b",
        "model c",
        "centre",
        "try 1",
        *["sobol"] * 2,
        *["random"] * 3,
    ]
    assert [t["model"] for t in trials[:4]] == [0, 1, 2, None]  # d has not all tensors
    point = {"full.weight_1", "mixed.alpha.L00", "mixed.alpha.L01", "merge.steps.mixed.models.1"}
    assert set(trials[4]["params"]) == point  # the weight of the last step has a value
    assert {t["params"]["merge.steps.mixed.models.1"] for t in trials[4:]} == {"c", "a"}
    for trial, value in zip(trials[:3], values.values(), strict=True):
        assert trial["values"][0] == pytest.approx(1 - abs(value - 0.6), abs=0.01)
    for trial in trials[3:]:
        own = trial["params"]
        full = 0.1 + own["full.weight_1"] * (0.9 - 0.1)
        alpha, other = own["mixed.alpha.L00"], values[own["merge.steps.mixed.models.1"]]
        expected = 1 - abs((1 - alpha) * full + alpha * other - 0.6)
        assert trial["values"][0] == pytest.approx(expected, abs=0.01)  # of the noise
    for seconds in (trial["seconds"] for trial in trials):
        parts = [seconds[key] for key in ("merge", "load", "generate", "wait")]
        assert 0 < seconds["merge"] <= sum(parts) <= seconds["total"]
    best = tmp_path / "runs/small/best"
    again = bmerge("merge", best / "recipe.yaml", "-o", "again.safetensors", *example)
    assert again.status == 0, again.err
    assert (tmp_path / "again.safetensors").read_bytes() == (best / "best.safetensors").read_bytes()
    goes_on = bmerge("run", "study.yaml", "--trials", str(len(trials) + 1), *example)
    assert goes_on.status == 0, goes_on.err
    assert [t["params"] for t in _trials(bmerge)][:-1] == [t["params"] for t in trials]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{full.weight:", "{out.weight:", "out.weight has a value in the merge"),
        ("{full.weight:", "{fall.weight:", "unknown hyperparameter 'fall.weight'"),
        ("{mixed.alpha:", "{missed.alpha:", "no step of the merge is called 'missed'"),
        ("{mixed.alpha:", "{alpha:", "it must be STEP.NAME"),
        ("{mixed.alpha:", "{mixed.beta:", "beta"),
        ("steps:\n", "method: add\n  steps:\n", "unknown key 'method'"),
    ],
    ids=["given", "no step", "try no step", "try plain", "try unknown", "method beside steps"],
)
def test_mistake_in_a_study_of_steps_is_told(
    bmerge, study_file, example, tmp_path, old, new, message
):
    for name in "cd":
        tensors = {f"layers.{i}.w": np.full((4, 4), 0.5) for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    study_file.write_text(STEPS.replace(old, new))
    called = bmerge("run", "study.yaml", "--check", *example)
    assert called.status == 1
    assert message in called.err


def test_choice_that_cannot_be_merged_is_refused_before_the_start(bmerge, study_file, example):
    text = study_file.read_text().replace("name: walk", "name: random")
    study_file.write_text(text + "choose: {models.1: [b.safetensors, lost.safetensors]}\n")
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 1
    assert "lost.safetensors" in called.err
    assert "trial 0" not in called.err


def test_a_space_of_a_few_points_is_tried_once_and_whole(bmerge, study_file, example):
    text = study_file.read_text().replace("name: walk", "name: auto")
    head, _, rest = text.partition("space:")
    _, _, rest = rest.partition("\npayloads:")
    space = "{pull: {range: [0, 4], per: single, integer: true}}"
    study_file.write_text(f"{head}space: {space}\npayloads:{rest}")
    ran = bmerge("run", "study.yaml", "--trials", "30", *example)
    assert ran.status == 0, ran.err
    assert "all 5 merges of the space were tried" in ran.out
    trials = json.loads(bmerge("studies", "show", "runs/small", "--json").out)["trials"]
    points = [trial["params"]["pull"] for trial in trials if trial["params"]]
    assert sorted(points) == [0, 1, 2, 3, 4]
