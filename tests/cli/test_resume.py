"""A study goes on only with what its results depend on: contents of files, code, options."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from bmerge import load_recipe

OLD = Path(__file__).parents[1] / "data" / "definitions" / "first_release.json"

STUDY = """
name: small
merge:
  method: weighted_sum
  models: [a.safetensors, b.safetensors]
space:
  alpha: {per: single}
payloads:
  prompts: [hello, {prompt: a __thing__, extra: {start: {file: start.png}}}]
generator: {name: painter, workflow: flow.json, words: {style.txt: 0.5}, command: 'sh paint.sh -x',
  address: 'http://me:hush@here', api_token: hush, patience: 3}
scorers:
  - {name: judge, weights: judge.bin, passwords: {password: hush}}
optimiser: {name: random, init_points: 0, n_iters: 2}
"""

PLUGIN = """
from bmerge import Download, GeneratorKind, Picture, ScorerKind, hookimpl

try:
    import shades
except ImportError:
    shades = None


class Painter:
    def __init__(self, *, workflow: str = "", words=None, command: str = "", address: str = "",
                 api_token: str = "", patience: float = 1, style: str = "plain"):
        pass

    def load(self, model):
        pass

    def generate(self, payloads):
        from PIL import Image

        for payload in payloads:
            yield Picture(payload, Image.new("RGB", (8, 8), (90, 90, 90)), {})

    def close(self):
        pass


class Judge:
    def __init__(self, *, weights: str = "", passwords=None):
        pass

    def score(self, pictures):
        return [0.5] * len(pictures)


@hookimpl
def bmerge_generators():
    return [GeneratorKind("painter", Painter, "grey", incidental=("patience",))]


@hookimpl
def bmerge_scorers():
    return [ScorerKind("judge", Judge, "half", downloads=(Download("owner/judge", "usual.bin"),))]
"""


@pytest.fixture
def begun(bmerge, study_file, tmp_path, monkeypatch):
    """A study with a trial, and everything that its file names."""
    monkeypatch.setenv("BMERGE_SCORER_MODELS", str(tmp_path / "weights"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    study_file.write_text(STUDY)
    for name, text in {
        "plugin/paint.py": PLUGIN,
        "plugin/shades.py": "GREY = (90, 90, 90)",
        "plugin/unused.py": "",
        "flow.json": '{"steps": 20}',
        "style.txt": "calm",
        "start.png": "a picture",
        "paint.sh": "echo",
        "wildcards/thing.txt": "cat",
        "weights/judge.bin": "one",
        "weights/judge/usual.bin": "two",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)

    def go_on(*more):
        return bmerge("run", "study.yaml", "--plugin", "plugin/paint.py", *more)

    called = go_on("--trials", "1")
    assert called.status == 0, called.err
    return go_on


def test_a_model_that_changes_under_a_run_ends_it_and_costs_no_trial(
    bmerge, study_file, example, write_plugin, tmp_path
):
    model = tmp_path / "b.safetensors"
    whole = model.read_bytes()
    watcher = write_plugin(
        "writer.py",
        f"""
        from pathlib import Path
        from bmerge import hookimpl

        @hookimpl
        def bmerge_trial_finished(trial):
            if trial.number == 3:
                model = Path({str(model)!r})
                model.write_bytes(model.read_bytes()[:-4] + b"1234")
        """,
    )
    stopped = bmerge("run", study_file, *example, "--plugin", watcher)
    assert stopped.status == 1
    assert f"error: {model}: it was changed while it was in use" in stopped.err
    model.write_bytes(whole)
    assert bmerge("run", study_file, *example).status == 0
    resumed = json.loads(bmerge("studies", "show", "runs/small", "--json").out)
    assert bmerge("run", study_file, *example, "--out", "runs/undisturbed").status == 0
    undisturbed = json.loads(bmerge("studies", "show", "runs/undisturbed", "--json").out)
    for shown in (resumed, undisturbed):
        shown["trials"] = [[trial["state"], trial["values"]] for trial in shown["trials"]]
    assert resumed["trials"] == undisturbed["trials"]


def test_a_file_with_another_content_is_named(begun, tmp_path):
    for file, place in {
        "flow.json": "generator.workflow",
        "style.txt": "generator.words.style.txt[0]: 'style.txt, sha256 ",
        "paint.sh": "generator.command.paint.sh",
        "plugin/paint.py": "generator.code",
        "plugin/shades.py": "generator.code",
        "start.png": "files.start.png",
        "wildcards/thing.txt": "payloads[1].prompt",
        "weights/judge.bin": "scorers[0].weights",
        "weights/judge/usual.bin": "scorers[0].weights.judge/usual.bin",
    }.items():
        path = tmp_path / file
        before = path.read_text()
        path.write_text(before + "\n# other" if file.endswith((".py", ".sh")) else "other")
        called = begun()
        assert called.status == 1
        assert f"/runs/small was made with different {place}" in called.err
        assert ", or start a new study with another --out" in called.err
        assert file.startswith("wild") == ("hint: write the former value there" in called.err)
        assert file.startswith("wild") or "hint: put the former one back" in called.err
        assert file.startswith("wild") or "; --accept-changes continues anyway" in called.err
        assert len(called.err.splitlines()) < 6
        path.write_text(before)
    assert begun().status == 0


def test_what_changes_no_picture_may_change(begun, tmp_path):
    (tmp_path / "moved").mkdir()
    shutil.copy(tmp_path / "flow.json", tmp_path / "moved")
    (tmp_path / "plugin" / "unused.py").write_text("something else")
    for before, after in (
        ("patience: 3", "patience: 4"),
        ("me:hush@here", "me:other@here"),
        ("api_token: hush", "api_token: other"),
        ("{password: hush}", "{password: other}"),
        ("workflow: flow.json", "workflow: moved/flow.json"),
        ("patience: 3}", "style: plain}"),
    ):
        (tmp_path / "study.yaml").write_text(STUDY.replace(before, after))
        called = begun("--trials", "1")
        assert called.status == 0, called.err


def test_an_option_that_may_change_pictures_is_named(begun, tmp_path):
    for before, after, place in (
        ("patience: 3", "style: wild", "generator.style: 'plain', now 'wild'"),
        ("hush@here", "hush@there", "generator.address: 'http://***@here', now 'http://***@there'"),
        ("workflow: flow.json", "workflow: other.json", "generator.workflow: 'flow.json, sha256 "),
        ("style.txt: 0.5", "style.txt: 0.6", "generator.words.style.txt[1]: 0.5, now 0.6"),
        ("sh paint.sh -x", "sh paint.sh -y", "generator.command: 'sh paint.sh -x', now"),
        ("init_points: 0", "init_points: 1", "optimiser.init_points: 0, now 1"),
    ):
        (tmp_path / "study.yaml").write_text(STUDY.replace(before, after))
        called = begun()
        assert called.status == 1
        assert f"made with different {place}" in called.err
        assert "hush" not in called.err


def test_changed_contents_are_accepted_on_request_and_told(begun, tmp_path):
    (tmp_path / "flow.json").write_text("other")
    (tmp_path / "study.yaml").write_text(STUDY.replace("patience: 3", "style: wild"))
    called = begun("--accept-changes")
    assert called.status == 1  # an option says what it means, a content does not
    assert "different generator.style" in called.err
    for before, after in (
        ("flow: flow.json", "flow: default"),
        ("patience: 3", "style: style.txt"),
    ):
        (tmp_path / "study.yaml").write_text(STUDY.replace(before, after))
        called = begun("--accept-changes")
        assert called.status == 1  # nor is an option another one's content
        assert "made with different generator." in called.err
    (tmp_path / "study.yaml").write_text(STUDY)
    called = begun("--trials", "2", "--accept-changes")
    assert called.status == 0, called.err
    assert "/runs/small was made with different generator.workflow" in called.err
    called = begun("--trials", "3")
    assert called.status == 0, called.err
    assert "workflow" not in called.err


def test_no_secret_is_stored(begun, tmp_path):
    del begun
    assert b"hush" not in (tmp_path / "runs/small/study.db").read_bytes()


def test_another_release_of_bmerge_is_told_and_goes_on(begun, tmp_path):
    change_definition(tmp_path, lambda known: {**known, "bmerge": "0.0.1"})
    for count in (1, 2):  # each time: its first trials stay what they are
        called = begun("--trials", count)
        assert called.status == 0
        assert "/runs/small was begun with bmerge 0.0.1, this is" in called.err


OLD_STUDY = """
name: small
merge:
  method: from_middle
  models: [a.safetensors, b.safetensors]
space:
  pull: {range: [0, 2], per: single}
payloads:
  prompts: [hello, {prompt: world, steps: 3, tags: [far], extra: {note: x}}]
generator: {name: swatch}
scorers:
  - {name: brightness, target: 1.0}
  - {name: sharpness, weight: 0, only: far}
try:
  - {pull: 1.5}
optimiser: {name: walk, init_points: 2, n_iters: 3}
"""


@pytest.fixture
def old(bmerge, study_file, example, tmp_path):
    """A study whose definition the first release has stored, as it was before it had contents."""
    study_file.write_text(OLD_STUDY)
    assert bmerge("run", "study.yaml", "--trials", "1", *example).status == 0
    change_definition(tmp_path, lambda _: json.loads(OLD.read_text()))
    return lambda *more: bmerge("run", "study.yaml", *example, *more)


def test_a_definition_of_an_earlier_release_goes_on_and_is_completed(old, tmp_path):
    assert old("--trials", "2").status == 0
    (tmp_path / "study.yaml").write_text(OLD_STUDY.replace("name: swatch", "name: swatch, side: 9"))
    called = old("--trials", "3")
    assert called.status == 1
    assert "different generator.side" in called.err


def test_a_definition_of_an_earlier_release_still_refuses(old, tmp_path):
    for before, after, place in (
        ("target: 1.0", "target: 0.5", "scorers[0].target: 1.0, now 0.5"),
        ("steps: 3", "steps: 4", "payloads[1].steps: 3, now 4"),
        ("models:", "rounding: stochastic\n  models:", "merge.rounding: 'nearest', now"),
    ):
        (tmp_path / "study.yaml").write_text(OLD_STUDY.replace(before, after))
        called = old("--trials", "2")
        assert called.status == 1
        assert f"different {place}" in called.err


def change_definition(folder, change):
    """Change the stored definition of the study in ``runs/small``."""
    with sqlite3.connect(folder / "runs/small/study.db") as database:
        where = "WHERE key = 'definition'"
        rows = database.execute(f"SELECT value_json FROM study_user_attributes {where}")
        text = json.dumps(change(json.loads(rows.fetchone()[0])))
        database.execute(f"UPDATE study_user_attributes SET value_json = ? {where}", [text])


HALVES = """
id: halves
name: two halves
blocks: [ONE, TWO]
rules:
  "layers.0": ONE
  "": TWO
"""


def test_another_block_map_is_named(bmerge, study_file, example, write_plugin, tmp_path):
    write_plugin(
        "halves.py",
        """
        from pathlib import Path
        from bmerge import hookimpl, load_architecture

        @hookimpl
        def bmerge_architectures():
            return [load_architecture(Path(__file__).with_name("halves.yaml"))]
        """,
    )
    (tmp_path / "halves.yaml").write_text(HALVES)
    study_file.write_text(OLD_STUDY.replace("merge:", "merge:\n  architecture: halves"))
    flags = (*example, "--plugin", "halves.py")
    assert bmerge("run", "study.yaml", "--trials", "1", *flags).status == 0
    names = [Path(ref.path).name for ref in load_recipe("runs/small/best/recipe.yaml").plugins]
    assert names == ["halves.py"]  # the best is model a as it is, without the method
    (tmp_path / "halves.yaml").write_text(HALVES.replace("layers.0", "layers.1"))
    called = bmerge("run", "study.yaml", "--trials", "2", *flags)
    assert called.status == 1
    assert "different architecture.blocks: 'sha256 " in called.err


def test_another_preset_is_named(bmerge, study_file, example, sd1_models, monkeypatch):
    study_file.write_text(
        OLD_STUDY.replace("a.safetensors, b.safetensors", f"{sd1_models[0]}, {sd1_models[1]}")
        .replace("pull: 1.5", "pull: MINE")
        .replace(", per: single", ", freeze: 1, blocks: {M00: [0, 2]}")
    )
    for status, first in ((0, 0.5), (1, 0.7)):
        presets = {"MINE": (first, *[0.25] * 25)}
        monkeypatch.setattr("bmerge.host.study_queue.load_presets", lambda presets=presets: presets)
        called = bmerge("run", "study.yaml", "--trials", "1", *example)
        assert called.status == status, called.err
    assert "different weights of try[0].pull.*: 0.5, now 0.7" in called.err
