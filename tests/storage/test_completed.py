"""Definitions of earlier releases: what they did not record is no difference."""

from __future__ import annotations

from bmerge.storage.completed import completed

NOW = {
    "merge": {"method": "m", "rounding": "nearest", "code": "sha256 ab"},
    "payloads": [{"prompt": "x", "steps": None}],
    "generator": {"name": "g", "options": {"flow": "f.json, sha256 ab"}},
    "scorers": [
        {
            "name": "s",
            "options": {
                "weights": "w.pth, sha256 ab",
                "command": {"text": "run it.sh", "it.sh": "it.sh, sha256 ab"},
                "url": "http://***@host",
                "new": 1,
                "flow": "f.json, sha256 ab",
                "heads": ["h.pth, sha256 ab"],
            },
            "weights": {"usual.bin": "sha256 ab"},
        }
    ],
    "optimiser": {"name": "o", "options": {"step": 0.5}},
    "files": {"start.png": "start.png, sha256 ab"},
    "architecture": {"id": "sd1", "blocks": "sha256 ab"},
}


def old(**options):
    """Return what a release stored that knew no contents."""
    return {
        "merge": {"method": "m"},
        "payloads": [{"prompt": "x"}],
        "generator": {"name": "g"},
        "scorers": [{"name": "s", "options": options}],
        "optimiser": {"name": "o", "options": {}},
    }


def test_what_was_not_recorded_is_taken_as_it_is_now():
    options = {
        "weights": "folder/w.pth",
        "command": "run it.sh",
        "url": "http://me:hush@host",
        "gone": 3,
        "heads": ["local-dir:h.pth"],
    }
    assert completed(old(**options), NOW)["scorers"] == NOW["scorers"]
    known = completed(old(**options), NOW)
    assert known["merge"]["rounding"] == "nearest"
    assert known["payloads"][0]["steps"] is None
    assert {key: known[key] for key in ("generator", "optimiser", "files", "architecture")} == {
        key: NOW[key] for key in ("generator", "optimiser", "files", "architecture")
    }


def test_what_was_recorded_stays():
    known = completed(old(command="run that.sh", new=2, flow="default", heads=["i.pth"]), NOW)
    assert known["scorers"][0]["options"]["command"]["text"] == "run that.sh"
    assert known["scorers"][0]["options"]["new"] == 2
    assert known["scorers"][0]["options"]["flow"] == "default"
    assert known["scorers"][0]["options"]["heads"] == ["i.pth"]
    changed = {**NOW, "files": {"start.png": "start.png, sha256 cd"}}
    assert completed(changed, NOW)["files"] == changed["files"]


def test_sections_that_no_definition_has_are_left_alone():
    bench = {"models": ["a"], "merge": {"method": ""}}
    assert completed({"models": ["b"]}, bench)["models"] == ["b"]
    assert "scorers" not in completed(bench, bench)
    assert "files" not in completed(bench, bench)
