from __future__ import annotations

import json

import pytest

KINDS = {
    "methods": {"weighted_sum", "add_difference", "tensor_sum", "weighted_subtraction"},
    "optimisers": {"bayes", "nevergrad", "gp", "random"},
    "scorers": {"demo_judge", "sharpness"},
    "generators": {"demo"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_listing_has_the_builtins(bmerge, kind):
    called = bmerge(kind)
    assert (called.status, called.err) == (0, "")
    words = {line.split()[0] for line in called.out.splitlines()}
    assert words >= KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_listing_as_json_says_the_same(bmerge, kind):
    entries = {entry["name"]: entry for entry in json.loads(bmerge(kind, "--json").out)}
    assert set(entries) >= KINDS[kind]
    for entry in entries.values():
        assert entry["summary"]
        assert entry["plugin"]


@pytest.mark.parametrize("words", [("{}", "--json"), ("--json", "{}"), ("{}", "{}", "--json")])
@pytest.mark.parametrize("kind", [*KINDS, "architectures", "plugins"])
def test_every_listing_takes_words(bmerge, kind, words):
    key = "id" if kind == "architectures" else "name"
    everything = [entry[key] for entry in json.loads(bmerge(kind, "--json").out)]
    word = everything[-1]
    called = bmerge(kind, *(each.format(word.upper()) for each in words))
    found = [entry[key] for entry in json.loads(called.out)]
    assert word in found
    assert len(found) < len(everything) or len(everything) == 1
    missing = bmerge(kind, "nosuchword")
    assert (missing.status, missing.out) == (1, "")
    assert missing.err.startswith("error: nothing in this list has 'nosuchword' in it")


def test_methods_as_json_have_models_and_hyperparameters(bmerge):
    entries = {e["name"]: e for e in json.loads(bmerge("methods", "--json").out)}
    assert entries["add_difference"]["models"] == ["a", "b", "c"]
    (alpha,) = entries["weighted_sum"]["hyperparameters"]
    assert alpha == {
        "name": "alpha", "default": 0.5, "low": 0.0, "high": 1.0, "per_model": False,
        "meaning": alpha["meaning"],
    }  # fmt: skip
    assert alpha["meaning"].endswith(".")
    meant = {o["name"]: o["meaning"] for o in entries["ties"]["options"]}
    assert meant["normalize"] == "divide by the sum of the weights that took part."


def test_help_of_a_method_says_what_its_forms_mean(bmerge):
    help_text = bmerge("merge", "ties", "--help").out.split("Forms of the method")[1]
    assert "divide by the sum of the weights that took part." in help_text.split("Options:")[0]


def test_options_of_a_plugin_are_listed_with_defaults(bmerge, example):
    (brightness,) = [
        entry
        for entry in json.loads(bmerge("scorers", "--json", *example).out)
        if entry["name"] == "brightness"
    ]
    assert brightness["options"] == [
        {"name": "target", "type": "float", "required": False, "default": 1.0}
    ]
    assert "target=1.0" in bmerge("scorers", *example).out


def test_architectures_have_their_blocks_in_order(bmerge):
    entries = {e["id"]: e for e in json.loads(bmerge("architectures", "--json").out)}
    assert entries["sd1"]["blocks"][:2] == ["BASE", "IN00"]
    assert len(entries["sd1"]["blocks"]) == 26
    assert len(entries["sdxl"]["blocks"]) == 20
    assert "BASE IN00 IN01" in bmerge("architectures").out


def test_plugins_say_where_they_come_from(bmerge, example):
    entries = {e["name"]: e for e in json.loads(bmerge("plugins", "--json", *example).out)}
    assert entries["weighted_sum"]["distribution"] == "bmerge"
    assert entries["bmerge_example"]["file"] == str(example[1])
    assert entries["bmerge_example"]["hooks"] == [
        "bmerge_generators",
        "bmerge_merge_methods",
        "bmerge_optimisers",
        "bmerge_scorers",
    ]
    assert all(entry["error"] is None for entry in entries.values())


def test_plugin_that_does_not_work_is_marked(bmerge, write_plugin):
    source = """
        from bmerge import hookimpl

        @hookimpl
        def bmerge_scorers():
            raise RuntimeError("no luck")
    """
    called = bmerge("plugins", "--plugin", write_plugin("odd.py", source))
    assert called.status == 0
    (line,) = [line for line in called.out.splitlines() if line.startswith("odd ")]
    assert "NOT WORKING: plugin 'odd' failed in bmerge_scorers: RuntimeError: no luck" in line


def test_blocked_plugin_is_left_out(bmerge):
    assert "nevergrad" not in bmerge("optimisers", "-p", "no:nevergrad").out
    assert "nevergrad" not in bmerge("-p", "no:nevergrad", "optimisers").out


def test_environment_restricts_plugins(bmerge, monkeypatch):
    monkeypatch.setenv("BMERGE_PLUGINS", "weighted_sum")
    entries = json.loads(bmerge("methods", "--json").out)
    assert [entry["name"] for entry in entries] == ["weighted_sum"]
