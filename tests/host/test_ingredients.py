"""What a study's definition takes from the options of plugins."""

from __future__ import annotations

import re

import pytest

from bmerge import GeneratorKind, load_registry
from bmerge.host.ingredients import options_of

INCIDENTAL = re.compile(
    r"address|timeout|retries|backoff|verify|^user$|password|_dir$|batch|device"
)


@pytest.mark.parametrize("kinds", ["generators", "scorers"])
def test_our_options_that_change_nothing_are_incidental(kinds):
    for kind in getattr(load_registry(), kinds).values():
        names = {option.name for option in kind.options}
        assert kind.without_effect() <= names
        assert {name for name in names if INCIDENTAL.search(name)} <= kind.without_effect()


def options(given, **more):
    def make(*, value=None, other=1, api_key=None, max_tokens=3, odd=object()):  # noqa: B008
        del value, other, api_key, max_tokens, odd

    return options_of(GeneratorKind("g", make, ""), {"value": given, **more})


def test_defaults_stand_for_what_is_not_given_and_secrets_are_left_out():
    assert options(2, api_key="hush") == {"value": 2, "other": 1, "max_tokens": 3}
    nested = {"auth-token": "hush", "a": ["http://me:hush@host/x?api_key=hush&b=1"]}
    assert options(nested)["value"] == {"a": ["http://***@host/x?api_key=***&b=1"]}


def test_a_file_is_known_by_name_and_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.json").write_text("abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    content = f"flow.json, sha256 {digest}"
    for name in ("flow.json", str(tmp_path / "flow.json"), "local-dir:flow.json"):
        assert options(name)["value"] == content
    entry = {"flow.json": [content, 0.5]}
    assert options({"flow.json": 0.5})["value"] == entry
    assert options({str(tmp_path / "flow.json"): 0.5})["value"] == entry
    both = {"flow.json": 0.5, "./flow.json": 1}
    assert set(options(both)["value"]) == set(both)
    command = "python flow.json {out}"
    assert options(command)["value"] == {"text": command, "flow.json": content}
    assert options("it's no \0 file")["value"] == "it's no \0 file"
    assert options("x" * 5000)["value"] == "x" * 5000


def test_a_program_of_the_system_is_no_content(tmp_path):
    (tmp_path / "sd").write_bytes(b"\x7fELF....")
    assert options(str(tmp_path / "sd"))["value"] == str(tmp_path / "sd")


def test_a_folder_is_content_only_where_it_holds_a_model(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights").write_text("1")
    assert options(str(tmp_path))["value"] == str(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    before = options(str(tmp_path))["value"]
    assert before.startswith(f"{tmp_path.name}, sha256 ")
    (tmp_path / "unet" / "weights").write_text("2")
    assert options(str(tmp_path))["value"] != before
