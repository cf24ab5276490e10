"""``bmerge bench`` as a user calls it, with the example plugin: brightness is the model's mean."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

COUNTING = """
import bmerge_example
from bmerge import GeneratorKind, hookimpl


class Counting(bmerge_example.Swatch):
    def generate(self, payloads):
        with open("painted", "a") as file:
            file.write(f"{payloads[0].id[0]} {self.level:.4f}\\n")
        yield from super().generate(payloads)


@hookimpl
def bmerge_generators():
    return [GeneratorKind("counting", Counting, "writes down what it paints")]
"""


@pytest.fixture
def bench(bmerge, study_file, example):
    """Call ``bmerge bench methods`` on the small study; return the rows by name and stage."""

    def call(*options, status=0):
        called = bmerge("bench", "methods", "study.yaml", "--json", *options, *example)
        assert called.status == status, called.err
        if status:
            return called.err
        return {(row["name"], row["stage"]): row for row in json.loads(called.out)}

    return call


def test_methods_are_compared_at_their_defaults_and_tuned(bench):
    rows = bench("--method", "weighted_sum", "--method", "from_middle", "--trials", 5)
    stages = ("defaults", "tuned")
    methods = {(name, stage) for name in ("weighted_sum", "from_middle") for stage in stages}
    assert set(rows) == {("a", "parent"), ("b", "parent"), *methods}
    for key, mean in {
        ("a", "parent"): 0.1,
        ("b", "parent"): 0.9,
        ("weighted_sum", "defaults"): 0.5,
        ("from_middle", "defaults"): 0.7,
    }.items():
        assert rows[key]["quality"] == pytest.approx(mean, abs=0.01)
        assert rows[key]["quality_low"] <= rows[key]["quality"] <= rows[key]["quality_high"]
    for name in ("weighted_sum", "from_middle"):
        assert rows[name, "tuned"]["quality"] > rows[name, "defaults"]["quality"] + 0.05
        assert rows[name, "defaults"]["executor"] == "native"
        assert rows[name, "defaults"]["seconds"] > 0
    assert rows["weighted_sum", "defaults"]["lead"] == pytest.approx(-0.4, abs=0.02)
    assert rows["b", "parent"]["rank"] == 1


def test_installed_and_given_plugins_take_part_by_themselves(
    bmerge, study_file, example, monkeypatch
):
    monkeypatch.setenv("BMERGE_PLUGINS", "weighted_sum,ties")
    study_file.write_text(f"{study_file.read_text()}plugins: ['{example[1]}']")
    called = bmerge("bench", "methods", study_file, "--json", "--trials", 0)
    assert called.status == 0, called.err
    rows = {(row["name"], row["stage"]): row for row in json.loads(called.out)}
    names = {name for name, _ in rows}
    assert names == {"a", "b", "from_middle", "weighted_sum", "ties", "ties_add_difference"}
    assert rows["ties", "defaults"]["reason"] == "takes base, …, and there is no model for base"
    assert rows["ties", "defaults"]["quality"] is None


def test_table_files_and_page(bmerge, study_file, example, tmp_path):
    called = bmerge(
        "bench", "methods", "study.yaml", "--method", "slerp", "--method", "ties",
        "--base", "a.safetensors", "--model", "b.safetensors", "--trials", 0, *example,
    )  # fmt: skip
    assert called.status == 0, called.err
    assert called.out.splitlines()[0].split()[:3] == ["name", "stage", "quality"]
    assert "not measured: slerp (defaults): takes a, b, and there is no model for b" in called.err
    folder = tmp_path / "runs" / "small-methods"
    with (folder / "results.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["ties"]["models"] == "a b"
    assert float(rows["a"]["quality"]) == pytest.approx(0.1, abs=0.01)
    page = (folder / "bench.html").read_text()
    assert page.count("<svg") == 2
    assert "there is no model for b" in page


def test_method_that_fails_is_named_with_its_reason(bench, write_plugin):
    write_plugin(
        "bad.py",
        """
        from bmerge import Weight, hookimpl, merge_method, tensor_method

        @merge_method
        def branches(a, b, *, alpha: Weight = 0.5):
            \"\"\"Formula: none.\"\"\"
            return a if a > b else b

        @tensor_method
        def breaks(a, b, *, alpha: Weight = 0.5):
            \"\"\"Formula: none.\"\"\"
            raise ZeroDivisionError("broken by design")

        @hookimpl
        def bmerge_merge_methods():
            return [branches, breaks]
        """,
    )
    rows = bench(
        "--method", "branches", "--method", "breaks", "--method", "slerp", "--plugin", "bad.py"
    )
    assert "branches" in rows["branches", "defaults"]["reason"]
    assert "broken by design" in rows["breaks", "defaults"]["reason"]
    assert rows["slerp", "tuned"]["quality"] > 0.5


def test_hyperparameters_of_blocks_are_tuned_apart(bench, study_file):
    rows = bench("--method", "weighted_sum", "--trials", 9, "--per", "block")
    assert "*=" in rows["weighted_sum", "tuned"]["hyperparameters"]


def test_other_pictures_are_refused(bench):
    bench("--method", "slerp", "--trials", 0)
    message = bench("--method", "slerp", "--trials", 0, "--held-out", 5, status=1)
    assert "the benchmark in runs/small-methods was made with different pictures" in message
    assert "or start a new benchmark with another --out" in message


def test_wrong_names_and_files_are_usage_errors(bench):
    assert "did you mean 'slerp'" in bench("--method", "slurp", status=1)
    assert "nope.safetensors" in bench("--model", "nope.safetensors", status=1)
    assert "a model is given twice" in bench(
        "--model", "a.safetensors", "--model", "a.safetensors", status=1
    )


def test_generator_that_cannot_paint_even_a_model_stops_the_benchmark(
    bench, study_file, write_plugin
):
    write_plugin(
        "down.py",
        """
        from bmerge import GeneratorError, GeneratorKind, hookimpl

        class Down:
            def load(self, model):
                raise GeneratorError("the server is away")

            def generate(self, payloads):
                return iter(())

            def close(self):
                pass

        @hookimpl
        def bmerge_generators():
            return [GeneratorKind("down", Down, "is away")]
        """,
    )
    study_file.write_text(study_file.read_text().replace("name: swatch", "name: down"))
    assert "the server is away" in bench("--plugin", "down.py", status=1)


@pytest.fixture
def painted(study_file, tmp_path, write_plugin, monkeypatch):
    """Let the study's generator write down what it paints; return a reader of that."""
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    source = study_file.read_text()
    study_file.write_text(source.replace("name: swatch", "name: counting"))
    write_plugin("counting.py", COUNTING)
    return lambda: (tmp_path / "painted").read_text().splitlines()


@pytest.fixture
def counted(example, monkeypatch):
    """The options that load the example plugin and the one that counts."""
    monkeypatch.syspath_prepend(str(example[1].parent))
    monkeypatch.setenv("PYTHONPATH", str(example[1].parent))
    return [*example, "--plugin", "counting.py"]


def test_done_is_not_done_again_and_a_changed_body_is(bmerge, painted, counted, write_plugin):
    def mine(formula):
        write_plugin(
            "mine.py",
            f"""
            from bmerge import Weight, hookimpl, merge_method

            @merge_method
            def mine(a, b, *, alpha: Weight = 0.5):
                \"\"\"Formula: {formula}.\"\"\"
                return {formula}

            @hookimpl
            def bmerge_merge_methods():
                return [mine]
            """,
        )
        called = bmerge(
            "bench", "methods", "study.yaml", "--method", "mine", "--trials", 0,
            "--plugin", "mine.py", *counted,
        )  # fmt: skip
        assert called.status == 0, called.err

    mine("a + alpha * (b - a)")
    first = painted()
    assert first == ["h 0.1000", "h 0.9000", "h 0.5000"]
    mine("a + alpha * (b - a)")
    assert painted() == first
    mine("a + alpha * alpha * (b - a)")
    assert painted() == [*first, "h 0.3000"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGINT]
)
@pytest.mark.usefixtures("interruptible")
def test_killed_benchmark_goes_on_where_it_was(bmerge, painted, counted, number):
    words = ["bench", "methods", "study.yaml", "--trials", "7"]
    words += ["--method", "slerp", "--method", "weighted_sum", *map(str, counted)]
    with subprocess.Popen(
        [sys.executable, "-m", "bmerge.cli", *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while "slerp (defaults)" not in (line := process.stderr.readline()):
            assert line
        while len(painted()) < 6:  # it is in the middle of the tuning
            time.sleep(0.01)
        os.killpg(process.pid, number)
        rest = process.communicate()[1]
    if number == signal.SIGINT:
        assert process.returncode == 130, rest
        assert "hint: run the same command again to continue" in rest
    before = painted()
    assert bmerge(*words).status == 0
    held_out = [line for line in painted() if line.startswith("h")]
    trials = [line for line in painted() if line.startswith("p")]
    assert len(held_out) == 6  # two parents, two methods at their defaults and tuned
    assert 14 <= len(trials) <= 15  # one may have been in flight
    assert painted()[: len(before)] == before


def test_executors_are_compared_on_a_users_models(bmerge, sd1_models):
    called = bmerge("bench", "executors", "weighted_sum", *sd1_models[:2], "--repeats", 1, "--json")
    assert called.status == 0, called.err
    rows = {row["executor"]: row for row in json.loads(called.out)}
    assert {"native", "torch (cpu)"} <= set(rows)
    assert all(row["seconds"] > 0 and row["cpu"] > 0 for row in rows.values())
    assert rows["native"]["peak"] < rows["torch (cpu)"]["peak"]


def test_executor_that_cannot_says_why_and_a_recipe_is_taken(bmerge, study_file):
    recipe = study_file.with_name("recipe.yaml")
    recipe.write_text("method: rotate\nmodels: [a.safetensors, b.safetensors]\n")
    called = bmerge("bench", "executors", recipe, "--repeats", 1)
    assert called.status == 0, called.err
    native, torch = called.out.splitlines()[1:3]
    assert "rotate needs whole tensors" in native
    assert torch.startswith("torch (cpu)")
    assert "got 1" in bmerge("bench", "executors", "slerp", "a.safetensors").err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demo_is_what_is_compared_without_a_study(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = bmerge(
        "bench", "methods", "--method", "ties", "--trials", 3, "--held-out", 1, "--json"
    )
    assert called.status == 0, called.err
    rows = {(row["name"], row["stage"]): row for row in json.loads(called.out)}
    assert {("base", "base"), ("shapes", "parent"), ("ties", "tuned")} <= set(rows)
    assert rows["ties", "defaults"]["quality"] > rows["shapes", "parent"]["quality"]


@pytest.mark.slow
def test_bench_optimisers_compares_plugins_too_and_goes_on(bmerge, example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--optimiser", "walk", "--landscape", "smooth", "--pictures", "240", *example)
    first = bmerge("bench", "optimisers", *options, "--seeds", "1", "--json")
    assert first.status == 0, first.err
    walk, old = json.loads(first.out)
    assert (walk["name"], old["name"]) == ("walk", "sd-webui-bayesian-merger")
    assert walk["quality"]["smooth"].keys() == {str(30 * part) for part in range(1, 9)}
    assert max(map(int, old["quality"]["smooth"])) == 1600
    kept = tmp_path / "runs/bench-optimisers/searches-240.jsonl"
    before = kept.read_text()
    again = bmerge("bench", "optimisers", *options, "--seeds", "2", "--jobs", "2")
    assert again.status == 0, again.err
    assert kept.read_text().startswith(before)
    assert len(kept.read_text().splitlines()) == 4
    page = (tmp_path / "runs/bench-optimisers/optimisers.md").read_text()
    assert "| walk | ." in page
    assert "sd-webui-bayesian-merger after 1600 pictures: smooth ." in page
    assert (tmp_path / "runs/bench-optimisers/optimisers.svg").read_text().count("<polyline") == 2


def test_bench_optimisers_says_which_one_fails(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(
        "from bmerge import OptimiserKind, StudyError, hookimpl\n"
        "class Bad:\n"
        "    def __init__(self, space, seed, budget): pass\n"
        "    def ask(self): raise StudyError('no idea')\n"
        "    def tell(self, result): pass\n"
        "    def replay(self, results): pass\n"
        "@hookimpl\n"
        "def bmerge_optimisers(): return [OptimiserKind('bad', Bad, 'has no idea')]\n"
    )
    options = ("--optimiser", "bad", "--landscape", "smooth", "--seeds", "1", "--plugin", "bad.py")
    called = bmerge("bench", "optimisers", *options, "--pictures", "240")
    assert called.status == 1
    assert "bad on smooth, seed 0: no idea" in called.err
