from __future__ import annotations

import json

import pytest

from bmerge.foreign.lineage import lineage
from bmerge.foreign.maker import makers
from bmerge.recipe.ancestry import RECIPE_KEY


def test_generations_that_share_their_parents_stay_few():
    """Forty generations, each made of the two before, have a billion paths and forty merges."""
    entries = []
    for number in range(40):
        parents = [{"name": f"{k}.safetensors", "ancestor": k} for k in (number - 1, number - 2)]
        models = parents if number > 1 else [{"name": "x"}, {"name": "y", "sha256": "ab"}]
        entries.append({"recipe": {"method": "weighted_sum", "models": models}})
    *ancestors, last = entries
    origin = {"version": 2, **last["recipe"], "ancestors": ancestors}
    tree = lineage("last", {RECIPE_KEY: json.dumps(origin)})
    assert len(tree.merges) == len({made.parents for made in tree.merges}) == 39
    assert tree.merges[tree.file.made].how == "weighted_sum"


def test_supermerger_and_its_kin_tell_their_parents():
    inner = {"type": "webui", "interp_method": "Weighted sum"}
    metadata = {
        "sd_merge_recipe": json.dumps({"type": "sd-webui-supermerger", "mode": "Add difference"}),
        "sd_merge_models": json.dumps(
            {
                "aa": {"name": "one"},
                "bb": {
                    "name": "two",
                    "sd_merge_recipe": json.dumps(inner),
                    "sd_merge_models": json.dumps({"cc": {"name": "three"}}),
                },
            }
        ),
    }
    tree = lineage("x", metadata)
    top = tree.merges[tree.file.made]
    assert top.how == "sd-webui-supermerger, Add difference"
    assert [(parent.name, parent.sha256) for parent in top.parents] == [
        ("one", "aa"),
        ("two", "bb"),
    ]
    below = tree.merges[top.parents[1].made]
    assert (below.how, below.parents[0].name) == ("webui, Weighted sum", "three")


def test_mecha_recipe_tells_its_models_once():
    recipe = 'version 0.1.0\nmodel "a b.safetensors" model_arch="sd1"\nmodel "c"\nmodel "c"\n'
    tree = lineage("x", {"mecha_recipe": recipe})
    assert [parent.name for parent in tree.merges[0].parents] == ["a b.safetensors", "c"]


@pytest.mark.parametrize("text", ["{", "[]", '{"models": 3}', '{"ancestors": [5], "models": [1]}'])
def test_spoilt_metadata_has_no_parents(text):
    metadata = {RECIPE_KEY: text, "sd_merge_recipe": text, "sd_merge_models": text}
    tree = lineage("x", metadata)
    assert all(member.made is None for made in tree.merges for member in made.parents)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, []),
        ({"bmerge.recipe": "{}", "bmerge.version": "9.9"}, ["made by bmerge 9.9"]),
        ({"sd_merge_recipe": '{"type": "webui"}'}, ["merged by the AUTOMATIC1111 web UI"]),
        ({"workflow": "{}", "modelspec.author": "me"}, ["saved by ComfyUI", "by me"]),
        ({"software": '{"name": "ai-toolkit"}'}, ["trained with ai-toolkit"]),
        ({"software": "[" * 9999}, []),
        (
            {"ss_sd_scripts_commit_hash": "1", "ss_network_module": "lycoris.kohya"},
            ["trained with kohya's sd-scripts", "trained with LyCORIS"],
        ),
        (
            {"bmerge.lora.extracted": "{}", "ss_network_module": "networks.lora"},
            ["made by bmerge"],
        ),
        (
            {"bmerge.lora.resized": "{}", "ss_network_module": "networks.lora"},
            ["made by bmerge", "trained with a tool of kohya's"],
        ),
    ],
    ids=[
        "nobody",
        "bmerge",
        "webui",
        "comfyui",
        "ai-toolkit",
        "spoilt",
        "kohya",
        "extracted",
        "resized",
    ],
)
def test_makers_are_told_by_what_they_write(metadata, expected):
    assert makers(metadata) == expected
