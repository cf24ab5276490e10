"""What merged files say of themselves: true things of the first model, and each ancestor once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint, sha256_of
from bmerge.pipeline import merge_to_file
from bmerge.pipeline.metadata import build_metadata, fitted
from bmerge.testing.checkpoints import write_checkpoint, write_random
from bmerge.testing.layouts import sd1_layout, shrink
from comfyui import shapes_of
from merges import plan_of

NATIVE = NativeExecutor(threads=1)
KEY = "bmerge.recipe"


def model(path, value=1.0, metadata=None):
    return write_checkpoint(path, {"model.layers.0.w": np.full((4, 4), value)}, metadata=metadata)


def merged(path, inputs, **options):
    merge_to_file(plan_of(inputs), path, executor=NATIVE, **options)
    return path


def origin(path):
    return json.loads(open_checkpoint(path).metadata[KEY])


def generations(folder, count, **options):
    """Merge each model with the one before; return all files."""
    files = [model(folder / f"m{i}.safetensors", i + 1.0) for i in range(2)]
    for k in range(2, count):
        files.append(merged(folder / f"m{k}.safetensors", [files[-1], files[-2]], **options))
    return files


@pytest.mark.parametrize("hashes", [True, False])
def test_ancestors_are_stored_once(tmp_path, hashes):
    files = generations(tmp_path, 26, hashes=hashes)
    assert len(open_checkpoint(files[-1]).metadata[KEY]) < 12_000
    told = origin(files[-1])
    assert len(told["ancestors"]) == 23
    if hashes:
        known = [m["sha256"] for entry in told["ancestors"] for m in entry["recipe"]["models"]]
        assert set(known) == {sha256_of(file) for file in files[:24]}


def test_no_ancestor_is_lost_or_told_wrongly(tmp_path):
    """Follow every way back through the table: it is the way that the merges went."""
    files = generations(tmp_path, 7)

    def made_of(recipe, entries):
        models = recipe["models"]
        return {
            m["name"]: made_of(entries[m["ancestor"]]["recipe"], entries) if "ancestor" in m else {}
            for m in models
        }

    told = origin(files[-1])
    expected = {0: {}, 1: {}}
    for k in range(2, 7):
        expected[k] = {f"m{k - i}.safetensors": expected[k - i] for i in (1, 2)}
    assert made_of(told, told["ancestors"]) == expected[6]


def nested(files, numbers, hashes):
    """Return what version 1 wrote: ancestors within each other."""
    models = []
    for number in numbers:
        entry = {"name": files[number], "sha256": hashes[number]}
        if number > 1:
            entry["recipe"] = nested(files, (number - 1, number - 2), hashes)
        models.append(entry)
    return {"version": 1, "method": "weighted_sum", "models": models, "architecture": "sd1"}


def test_nested_ancestry_of_before_is_flattened(tmp_path):
    names, hashes = [f"m{k}.safetensors" for k in range(16)], [f"{k:064x}" for k in range(16)]
    old = json.dumps(nested(names, (14, 13), hashes))
    assert len(old) > 100_000
    a = model(tmp_path / "a.safetensors", metadata={KEY: old, "sd_merge_recipe": "x"})
    told = origin(merged(tmp_path / "out.safetensors", [a, a]))
    assert len(json.dumps(told)) < 5_000
    assert len(told["ancestors"]) == 14
    last = told["ancestors"][told["models"][0]["ancestor"]]
    assert last["foreign"] == {"sd_merge_recipe": "x"}
    assert [m["sha256"] for m in last["recipe"]["models"]] == [hashes[14], hashes[13]]
    assert all("version" not in entry["recipe"] for entry in told["ancestors"])


@pytest.mark.parametrize(
    "text",
    [
        "{", "[1]", "null", '{"models": 5}', '{"models": [3, {"ancestor": 7}], "ancestors": 5}',
        '{"models": [{"ancestor": 0}], "ancestors": [{"recipe": {"models": [{"ancestor": 0}]}}]}',
        '{"models": [{"ancestor": -1, "loras": 3}], "ancestors": ["x", {"recipe": []}]}',
        "[" * 5000, '{"models": [{"recipe": ' * 400 + "1" + "}]}" * 400,
    ],
    ids=range(9),
)  # fmt: skip
def test_spoilt_ancestry_stops_no_merge(tmp_path, text):
    a = model(tmp_path / "a.safetensors", metadata={KEY: text})
    first = merged(tmp_path / "first.safetensors", [a, a])
    told = origin(merged(tmp_path / "out.safetensors", [first, a]))
    entries = told["ancestors"]
    for number, entry in enumerate(entries):
        for known in json.dumps(entry).split('"ancestor": ')[1:]:
            assert int(known.split("}")[0].split(",")[0]) < number


def test_what_the_first_model_says_is_carried_over(tmp_path):
    metadata = {
        "config": '{"vae": 1}', "license": "mit", "tags": "x", "modelspec.license": "CC0",
        "modelspec.title": "A", "modelspec.hash_sha256": "0x1", "modelspec.date": "2024",
        "modelspec.author": "me", "modelspec.thumbnail": "data:", "modelspec.description": "of A",
        "modelspec.resolution": "768x768", "modelspec.prediction_type": "v",
        "sshs_model_hash": "12", "sd_merge_models": "{}", "bmerge.lora.largest_rank": "4",
        "format": "np", "ss_base_model_version": "sdxl",
    }  # fmt: skip
    a = model(tmp_path / "a.safetensors", metadata=metadata)
    b = model(tmp_path / "b.safetensors", metadata={"license": "other", "only_b": "1"})
    told = open_checkpoint(merged(tmp_path / "out.safetensors", [a, b])).metadata
    kept = (
        "config", "license", "tags", "modelspec.license", "modelspec.resolution",
        "modelspec.prediction_type", "ss_base_model_version",
    )  # fmt: skip
    assert {key: told.get(key) for key in kept} == {key: metadata[key] for key in kept}
    assert told["format"] == "pt"
    assert told["modelspec.title"] == "weighted_sum of a.safetensors, b.safetensors"
    gone = metadata.keys() - set(kept) - {"format", "modelspec.title"}
    assert not gone & told.keys()
    assert "only_b" not in told


def sd1(path, metadata=None, more=(), **options):
    layout = [*shrink(sd1_layout(**options)), *((key, "F16", (1,)) for key in more)]
    return write_random(path, layout, seed=1, metadata=metadata)


ID, PREDICTION = "modelspec.architecture", "modelspec.prediction_type"


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({}, {"in_channels": 9}, {ID: "stable-diffusion-v1-inpainting"}),
        ({"metadata": {ID: "stable-diffusion-v1"}}, {"in_channels": 9},
         {ID: "stable-diffusion-v1-inpainting"}),
        ({"metadata": {ID: "stable-diffusion-v1-inpainting"}}, {}, {ID: "stable-diffusion-v1"}),
        ({"metadata": {ID: "nai-v1", "modelspec.resolution": "640x640"}}, {},
         {ID: "nai-v1", "modelspec.resolution": "640x640"}),
        ({}, {}, {ID: "stable-diffusion-v1", "modelspec.resolution": "512x512", PREDICTION: None}),
        ({"more": ["v_pred"], "metadata": {PREDICTION: "epsilon"}}, {}, {PREDICTION: "v"}),
        ({}, {"metadata": {"config": "{}", "tags": "b"}}, {"config": "{}", "tags": None}),
    ],
    ids=["wider", "wider, told", "no longer", "unknown", "plain", "marker", "config"],
)  # fmt: skip
def test_modelspec_is_that_of_the_output(tmp_path, first, second, told):
    files = [sd1(tmp_path / "a.safetensors", **first), sd1(tmp_path / "b.safetensors", **second)]
    metadata = open_checkpoint(merged(tmp_path / "out.safetensors", files)).metadata
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert {key: metadata.get(key) for key in told} == told


DEPTH, CANNY = "Flux.1-dev/depth", "Flux.1-dev/canny"


@pytest.mark.parametrize(
    ("said", "width", "told"),
    [(None, 128, DEPTH), (CANNY, 128, CANNY), (CANNY, 64, "Flux.1-dev"), ("a", 128, DEPTH)],
    ids=["nothing", "the other", "no longer", "strange"],
)
def test_modelspec_of_variants_that_no_key_tells_apart_is_kept(tmp_path, said, width, told):
    tensors = {
        key: np.zeros((4, width) if key == "img_in.weight" else [min(n, 4) for n in shape], "f4")
        for key, shape in shapes_of("flux_canny").items()
        if ".1." not in key
    }
    file = write_checkpoint(
        tmp_path / "a.safetensors", tensors, metadata={ID: said} if said else {}
    )
    assert open_checkpoint(merged(tmp_path / "out.safetensors", [file] * 2)).metadata[ID] == told


def test_ancestry_is_shortened_to_what_a_header_has_room_for(tmp_path):
    files = generations(tmp_path, 18)
    plan = plan_of(files[-2:])
    whole = build_metadata(plan, None)
    found, notes = fitted(whole, plan, largest=3_000)
    told = json.loads(found[KEY])
    left = len(told["ancestors"])
    assert 0 < left < 16
    assert notes == (f"the header has no room for {16 - left} of 16 ancestors",)
    assert sum(map(len, found.values())) < 3_000
    names = [model["name"] for model in told["models"]]
    assert names == ["m16.safetensors", "m17.safetensors"]
    nearest = told["ancestors"][told["models"][0]["ancestor"]]["recipe"]
    assert [m["name"] for m in nearest["models"]] == ["m15.safetensors", "m14.safetensors"]
    for number, entry in enumerate(told["ancestors"]):
        assert all(m.get("ancestor", -1) < number for m in entry["recipe"]["models"])
    assert fitted(whole, plan) == (whole, ())


def test_entries_without_room_are_named(tmp_path):
    metadata = {"config": "c" * 5_000, "license": "mit"}
    plan = plan_of([model(tmp_path / "a.safetensors", metadata=metadata)] * 2)
    found, notes = fitted(build_metadata(plan, None), plan, largest=4_000)
    assert notes == ("the header has no room for 'config' of a.safetensors",)
    assert found["license"] == "mit"
    assert "config" not in found


def test_shortened_ancestry_is_noted_and_the_merge_goes_on(tmp_path, monkeypatch):
    files = generations(tmp_path, 10)
    limited = fitted.__kwdefaults__ | {"largest": 2_000}
    monkeypatch.setattr(fitted, "__kwdefaults__", limited)
    report = merge_to_file(plan_of(files[-2:]), tmp_path / "o.safetensors", executor=NATIVE)
    assert any("no room for" in note for note in report.notes)
    assert len(origin(tmp_path / "o.safetensors").get("ancestors", [])) < 8


def test_tensors_take_as_much_room_in_a_header_as_they_need(tmp_path):
    tensors = {f"model.layers.{number}.w": np.full((4, 4), 1.0) for number in range(300)}
    metadata = {"config": "c" * 5_000}
    files = [
        write_checkpoint(tmp_path / f"{n}.safetensors", tensors, metadata=metadata) for n in "ab"
    ]
    plan = plan_of(files)
    written = merged(tmp_path / "o.safetensors", files).read_bytes()
    header, whole = int.from_bytes(written[:8], "little"), build_metadata(plan, None)
    assert fitted(whole, plan, largest=header + 30 * len(tensors)) == (whole, ())
    _, notes = fitted(whole, plan, largest=header - 1_000)
    assert notes == ("the header has no room for 'config' of a.safetensors",)
