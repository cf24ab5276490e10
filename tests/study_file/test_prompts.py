"""Where a study's prompts come from: wildcards, text files, pictures, payload files."""

from __future__ import annotations

import json
import os
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bmerge import Payload, Picture, RecipeError
from bmerge.evaluate.pictures import save_picture
from bmerge.evaluate.wildcards import Wildcards
from bmerge.recipe.document import Node
from bmerge.study_file.infotext import parse_infotext
from bmerge.study_file.load import load_study
from bmerge.study_file.prompt_texts import parse_line

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDY = """\
merge: {{method: weighted_sum, models: [a.safetensors, b.safetensors]}}
payloads:
  {payloads}
generator: {{name: demo}}
scorers: [{{name: sharpness}}]
optimiser: {{name: random}}
"""
INFOTEXT = """\
a cat, (fluffy:1.2)
on a roof, Steps: 3
Negative prompt: blurry,
dark
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 1234, Size: 512x768, \
Model hash: 0123456789, Model: some_model, Lora hashes: "a: 01, b: 02", Version: v1.10.1"""


@pytest.fixture
def load(tmp_path):
    """Read a study with some payloads; files in it lie beside it."""

    def call(payloads, **files):
        for name, text in files.items():
            write(tmp_path, name, text)
        file = tmp_path / "study.yaml"
        file.write_text(STUDY.format(payloads=payloads.replace("\n", "\n  ")))
        return load_study(file).payloads

    return call


def write(folder, name, text):
    """Write a file; ``wildcards__hat_txt`` is ``wildcards/hat.txt``."""
    stem, _, ending = name.replace("__", "/").rpartition("_")
    file = folder / f"{stem}.{ending}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


# -- wildcards ---------------------------------------------------------------------------------


def test_wildcards_are_drawn_for_each_picture_and_always_the_same(load):
    files = {
        "wildcards__hat_txt": "# hats\na __colour__ hat\n\na bare head\n",
        "wildcards__colour_txt": "red\nblue\ngreen\n",
    }
    text = (
        "seeds: {start: 1, count: 40}\n"
        "prompts: [{prompt: a man with __hat__, negative_prompt: __colour__}]"
    )
    payloads = load(text, **files)
    drawn = {payload.prompt for payload in payloads}
    hats = ("a red hat", "a blue hat", "a green hat", "a bare head")
    assert drawn == {f"a man with {hat}" for hat in hats}
    assert {payload.negative_prompt for payload in payloads} == {"red", "blue", "green"}
    assert load(text) == payloads


def test_two_prompts_of_one_seed_draw_independently(load):
    payloads = load(
        "seeds: {start: 0, count: 30}\nprompts: [a __colour__ cat, a __colour__ dog]",
        wildcards__colour_txt="\n".join(string.ascii_letters),
    )
    cats = [payload.prompt.split()[1] for payload in payloads[:30]]
    dogs = [payload.prompt.split()[1] for payload in payloads[30:]]
    assert sum(cat == dog for cat, dog in zip(cats, dogs, strict=True)) < 5


def test_weights_say_how_often_a_line_is_drawn(tmp_path):
    write(tmp_path, "pet_txt", "3::cat\ndog\n0::fox\n0.5:: owl")
    wildcards = Wildcards(tmp_path)
    drawn = Counter(wildcards.render("__pet__", seed) for seed in range(4500))
    assert set(drawn) == {"cat", "dog", "owl"}
    assert abs(drawn["cat"] - 3000) < 150
    assert abs(drawn["dog"] - 1000) < 120


def test_wildcards_in_folders_and_elsewhere(load):
    payloads = load(
        "wildcards: words\nprompts: [__clothes/hat__ and __my_hat-2__]",
        words__clothes__hat_txt="a cap",
        **{"words__my_hat-2_txt": "a hood"},
    )
    assert payloads[0].prompt == "a cap and a hood"


def test_wildcards_false_takes_prompts_as_they_are(load):
    (payload,) = load("wildcards: false\nprompts: ['<lora:my__style__v1:1>']")
    assert payload.prompt == "<lora:my__style__v1:1>"


@pytest.mark.parametrize(
    ("files", "where", "message", "hint"),
    [
        (
            {},
            "study.yaml:3",
            "the wildcard __hat__, but there is no wildcards folder",
            "or to false",
        ),
        ({"wildcards__hut_txt": "x"}, "study.yaml:3", "no wildcard __hat__", "'hut'"),
        ({"wildcards__hat_txt": "# x\n"}, "hat.txt", "nothing to draw from", None),
        ({"wildcards__hat_txt": "0::x"}, "hat.txt", "nothing to draw from", None),
        (
            {"wildcards__hat_txt": "x\n\na __color__ hat", "wildcards__colour_txt": "red"},
            "hat.txt:3",
            "no wildcard __color__",
            "'colour'",
        ),
        (
            {"wildcards__hat_txt": "x\n__cap__", "wildcards__cap_txt": "y\n__hat__"},
            "cap.txt:2",
            "__hat__ leads back to itself: hat → cap → hat",
            None,
        ),
    ],
    ids=["folder", "unknown", "empty", "weightless", "nested", "cycle"],
)
def test_a_wrong_wildcard_is_found_before_anything_is_drawn(load, files, where, message, hint):
    with pytest.raises(RecipeError) as caught:
        load("prompts: [a __hat__]", **files)
    assert f"{where}: " in str(caught.value)
    assert message in str(caught.value)
    assert hint is None or hint in caught.value.hint


def _doubled(depth, last):
    files = {f"wildcards__w{n}_txt": f"__w{n + 1}____w{n + 1}__" for n in range(depth)}
    return {**files, f"wildcards__w{depth}_txt": last}


@pytest.mark.parametrize("last", ["word", "1::"], ids=["words", "nothing"])
@pytest.mark.parametrize("depth", [20, 60])
def test_wildcards_that_multiply_are_refused_before_anything_is_drawn(load, depth, last):
    message = r"study.yaml:4: its wildcards can make it longer than 100000 characters"
    with pytest.raises(RecipeError, match=message):
        load("prompts:\n- __w0__", **_doubled(depth, last))


def test_wildcards_within_wildcards_are_drawn_up_to_that_length(load):
    (payload,) = load("prompts: [__w0__]", **_doubled(12, "word"))
    assert payload.prompt == "word" * 4096


def test_a_long_chain_of_wildcards_is_refused(load):
    files = {f"wildcards__w{n}_txt": f"__w{n + 1}__" for n in range(3000)}
    with pytest.raises(RecipeError, match="lead to others more than 100 times: __w0__"):
        load("prompts: [__w0__]", **files)


def test_a_weight_that_is_infinite_is_refused(load):
    with pytest.raises(RecipeError, match=r"hat.txt:2: the weight is too large"):
        load("prompts: [__hat__]", wildcards__hat_txt="a\n" + "9" * 400 + "::b")


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        ("seeds: {start: 0, count: 100000000}\nprompts: [a]", "100000000 are more than the 100000"),
        ("seeds: {start: 0, count: 90000}\nprompts: [a, b]", "180000 are more than the 100000"),
        ("prompts: [{from: p.yaml}]", "1000000 are more than the 100000 pictures of a trial"),
    ],
    ids=["seeds", "seeds times prompts", "batches"],
)
def test_more_pictures_than_a_trial_can_have_are_refused(load, payloads, message):
    files = {"p_yaml": "prompt: x\nn_iter: 1000\nbatch_size: 1000"}
    with pytest.raises(RecipeError, match=message):
        load(payloads, **files)


@pytest.mark.parametrize("seed", ["[1]", "{a: 1}", "x", "1.5"])
def test_seed_of_a_payload_file_that_is_no_number_is_refused(load, seed):
    with pytest.raises(RecipeError, match=r"p.yaml:2: .*seed"):
        load("prompts: [{from: p.yaml}]", p_yaml=f"prompt: x\nseed: {seed}")


@pytest.mark.parametrize("name", ["p.txt", "p.yaml", "p.png", "wildcards/hat.txt"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_a_pipe_is_not_waited_for(load, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    prompt = "__hat__" if "hat" in name else f"{{from: {name}}}"
    with pytest.raises(RecipeError, match="cannot be read: it is a pipe or a device, not a file"):
        load(f"prompts: [{prompt}]")


def test_a_picture_with_absurd_numbers_is_no_failure():
    text = INFOTEXT.replace("1234,", "9" * 5000 + ",").replace("512x768", "9" * 5000 + "x1")
    found = parse_infotext(text)
    assert found["seed"] == found["width"] == "9" * 5000


@pytest.mark.parametrize("line", ["a" * 500_000, 'a:"' * 200_000], ids=["words", "quotes"])
def test_a_long_line_of_settings_takes_no_time(line):
    found = parse_infotext(f"a cat\nSteps: 1, {line}, Seed: 3")
    assert found["prompt"].startswith("a cat\nSteps: 1")


@pytest.mark.parametrize("damage", ["cut", "bomb", "folder"])
def test_a_damaged_picture_is_named(load, tmp_path, damage):
    file = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(file)
    data = file.read_bytes()
    if damage == "cut":
        file.write_bytes(data[:30])
    elif damage == "bomb":
        file.write_bytes(data[:16] + b"\x00\xff\xff\xff" * 2 + data[24:])
    else:
        file.unlink()
        file.mkdir()
    with pytest.raises(RecipeError, match=r"p\.png"):
        load("prompts: [{from: p.png}]")


def test_a_wildcards_folder_that_is_not_there_is_an_error(load):
    with pytest.raises(RecipeError, match=r"study.yaml:3: there is no wildcards folder"):
        load("wildcards: nowhere\nprompts: [a cat]")


@given(
    st.text(st.characters(exclude_characters="_", exclude_categories=["Cs"]), max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_text_without_wildcards_stays_as_it_is(tmp_path_factory, text, seed):
    folder = tmp_path_factory.getbasetemp() / "no wildcards"
    folder.mkdir(exist_ok=True)
    wildcards = Wildcards(folder)
    wildcards.check(text)
    assert wildcards.render(text, seed) == text


# -- text files --------------------------------------------------------------------------------


def test_prompts_from_a_text_file(load):
    payloads = load(
        "seeds: [1, 2]\ndefaults: {steps: 20}\nprompts:\n- from: cats.txt\n- a dog",
        cats_txt="# cats\n\na cat\na lion --neg blurry, dark --steps 30 --seed 7 --weight 0.5\n",
    )
    assert [(p.prompt, p.seed, p.steps) for p in payloads] == [
        ("a cat", 1, 20), ("a cat", 2, 20), ("a lion", 7, 30), ("a dog", 1, 20), ("a dog", 2, 20),
    ]  # fmt: skip
    assert payloads[2].negative_prompt == "blurry, dark"
    assert payloads[2].weight == 0.5
    assert [payload.tags for payload in payloads[1:4]] == [("cats",), ("cats",), ()]


def test_settings_beside_from_go_before_those_of_the_file(load):
    (payload,) = load(
        "prompts: [{from: cats.txt, steps: 9, seed: 3, tags: [pets]}]",
        cats_txt="a cat --steps 30 --cfg 5 --seed 7",
    )
    assert (payload.steps, payload.cfg, payload.seed, payload.tags) == (9, 5.0, 3, ("pets",))


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("a cat --stps 3", "unknown option --stps", "'steps'"),
        ("a cat --steps many", "--steps must be a whole number, not 'many'", None),
        ("a cat --cfg", "--cfg must be a number, not ''", None),
        ("a cat --seed -1", "--seed must be 0 or more", None),
        ("--neg blurry", "the line has no prompt", None),
    ],
)
def test_a_wrong_line_is_an_error_with_its_place(load, line, message, hint):
    with pytest.raises(RecipeError, match=message) as caught:
        load("prompts: [{from: cats.txt}]", cats_txt=f"a cat\n\n{line}\n")
    assert caught.value.line == 3
    assert hint is None or hint in caught.value.hint


WORDS = st.text(string.ascii_letters + " ,.:()<>'äß東", min_size=1).filter(str.strip)


@given(prompt=WORDS, negative=WORDS, seed=st.integers(0, 2**32 - 1), cfg=st.floats(0, 100))
def test_a_line_says_what_was_put_into_it(prompt, negative, seed, cfg):
    text = f"{prompt.strip()} --seed {seed} --neg {negative.strip()} --cfg {cfg!r}"
    draft = parse_line(Node(text, 1, None, "the prompt"))
    assert draft.prompt == prompt.strip()
    assert draft.seeds == (seed,)
    assert draft.settings == {"negative_prompt": negative.strip(), "cfg": cfg}


# -- pictures ----------------------------------------------------------------------------------


def png(file, **texts):
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(file, pnginfo=info)


def test_prompts_from_pictures_of_web_uis(load, tmp_path):
    png(tmp_path / "liked" / "a.png", parameters=INFOTEXT)
    png(tmp_path / "liked" / "b.PNG", parameters="a dog\nSteps: 20, Sampler: Euler a, Seed: 5")
    (tmp_path / "liked" / "notes.md").write_text("not a prompt")
    first, second = load("prompts: [{from: liked}]\nseeds: [1, 2]")
    assert first.prompt == "a cat, (fluffy:1.2)\non a roof, Steps: 3"
    assert first.negative_prompt == "blurry,\ndark"
    assert (first.seed, first.steps, first.cfg) == (1234, 25, 6.5)
    assert (first.width, first.height, first.sampler) == (512, 768, "DPM++ 2M Karras")
    assert (second.prompt, second.sampler, second.seed) == ("a dog", "Euler a", 5)


def test_seeds_beside_from_replace_the_pictures_own(load, tmp_path):
    png(tmp_path / "a.png", parameters=INFOTEXT)
    payloads = load("prompts: [{from: a.png, seeds: [1, 2], width: 512, height: 512}]")
    assert [payload.seed for payload in payloads] == [1, 2]
    assert payloads[0].height == 512


def test_prompts_from_pictures_of_a_study(load, tmp_path):
    payload = Payload("p00-s7", "a __red__ fox", "", 7)
    save_picture(
        tmp_path, "pictures/0003", Picture(payload, Image.new("RGB", (8, 8), "red")), {"x": 1.0}
    )
    (again,) = load("prompts: [{from: pictures/0003}]")
    assert (again.prompt, again.seed) == ("a __red__ fox", 7)


@pytest.mark.parametrize("texts", [{}, {"prompt": json.dumps({"3": {"class_type": "KSampler"}})}])
def test_a_picture_that_does_not_say_is_an_error(load, tmp_path, texts):
    png(tmp_path / "a.png", **texts)
    with pytest.raises(RecipeError, match=r"a.png: does not say what it was made with"):
        load("prompts: [{from: a.png}]")


def test_what_is_no_picture_is_an_error(load):
    with pytest.raises(RecipeError, match=r"a.png: is not a picture"):
        load("prompts: [{from: a.png}]", a_png="hello")


LINES = st.lists(WORDS.map(str.strip), min_size=1, max_size=3).map("\n".join)


@given(LINES, st.none() | LINES, st.integers(0, 2**32 - 1), st.integers(1, 150), st.booleans())
def test_infotext_says_what_was_put_into_it(prompt, negative, seed, steps, quoted):
    lines = [prompt, *([f"Negative prompt: {negative}"] if negative else [])]
    hashes = 'TI hashes: "a: 1, Seed: 5, b", ' if quoted else ""
    lines.append(f"Steps: {steps}, {hashes}Sampler: Euler, CFG scale: 7, Seed: {seed}, Size: 8x16")
    found = parse_infotext("\n".join(lines))
    assert found == {
        "prompt": prompt,
        **({"negative_prompt": negative} if negative else {}),
        "seed": seed, "steps": steps, "cfg": 7.0, "width": 8, "height": 16, "sampler": "Euler",
    }  # fmt: skip


SETTINGS = "Steps: 3, Sampler: Euler, CFG scale: 7, Seed: 4259953662, Size: 8x16"


@pytest.mark.parametrize(
    "after",
    [
        "Template: a {cat|dog} on a roof\nNegative Template: blurry",
        "Template: a cat,\nand a dog\nNegative Template: blurry, Seed: 7\nand more",
        "Wildcard Prompt: Steps: 9 of a stair",
    ],
)
def test_lines_of_extensions_after_the_settings_are_no_part_of_the_prompts(after):
    found = parse_infotext(f"a cat\nNegative prompt: blurry\n{SETTINGS}\n{after}")
    assert found == {
        "prompt": "a cat", "negative_prompt": "blurry", "seed": 4259953662, "steps": 3,
        "cfg": 7.0, "width": 8, "height": 16, "sampler": "Euler",
    }  # fmt: skip


def test_a_prompt_that_quotes_settings_keeps_them():
    assert parse_infotext(f"{SETTINGS}\nis what I wrote") == {
        "prompt": f"{SETTINGS}\nis what I wrote"
    }
    found = parse_infotext(f"{SETTINGS}\n{SETTINGS.replace('3', '4', 1)}")
    assert (found["prompt"], found["steps"]) == (SETTINGS, 4)


# -- payload files of the old tool ---------------------------------------------------------------

FLAT = """\
prompt: "a portrait of __who__"
neg_prompt: "blurry"
seed: -1
cfg: 7
steps: 20
width: 512
height: 640
sampler: "Euler"
"""
CARGO = """\
defaults:
  - _self_
  - cargo:
    - cats
    - dogs

neg_prompt: ""
n_iter: 1
batch_size: 2
steps: 20
cfg_scale: 7
sampler_name: DPM++ 2M Karras
sampler_index: Euler
seed: -1
subseed: -1
enable_hr: true
hr_scale: 1.5
denoising_strength: 0.4
styles: [film]
restore_faces: false
tiling: true
eta: 0
s_churn: 0.1
s_noise: 1
"""


def test_a_flat_payload_file(load):
    payloads = load(
        "seeds: [3, 4]\nprompts: [{from: old.yaml}]",
        old_yaml=FLAT,
        wildcards__who_txt="an old man",
    )
    assert [payload.seed for payload in payloads] == [3, 4]
    assert payloads[0].prompt == "a portrait of an old man"
    assert payloads[0].negative_prompt == "blurry"
    assert (payloads[0].cfg, payloads[0].steps, payloads[0].sampler) == (7.0, 20, "Euler")
    assert (payloads[0].width, payloads[0].height, payloads[0].extra) == (512, 640, {})


def test_a_cargo_with_its_payloads(load):
    cats, _, dog, *rest = load(
        "seeds: [3, 4, 5]\nprompts: [{from: cargo.yaml}]",
        cargo_yaml=CARGO,
        cargo__cats_yaml="catspayload: {score_weight: 0.5, prompt: cats, steps: 30, cfg: 5}",
        cargo__dogs_yaml="dogspayload: {prompt: a dog, negative_prompt: cat, seed: 9, tiling: null,"
        " batch_size: 1}",
    )
    assert not rest
    assert (cats.prompt, cats.weight, cats.steps, cats.cfg) == ("cats", 0.5, 30, 5.0)
    assert (cats.sampler, cats.seed) == ("DPM++ 2M Karras", 3)
    assert cats.extra == {
        "enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.4, "styles": ["film"],
        "tiling": True, "s_churn": 0.1,
    }  # fmt: skip
    assert (dog.prompt, dog.negative_prompt, dog.seed, dog.cfg) == ("a dog", "cat", 9, 7.0)
    assert "tiling" not in dog.extra


def test_a_folder_of_payload_files_leaves_templates_out(load):
    payloads = load(
        "prompts: [{from: payloads, weight: 2}]",
        payloads__a_yaml="prompt: a\nbatch_count: 2\nbatch_size: 2\nseed: 10",
        payloads__b_yaml="first: {prompt: b}\nsecond: {prompt: c}",
        **{"payloads__payload.tmpl_yaml": "prompt: your prompt, even with __wildcard__"},
    )
    assert [(p.prompt, p.seed) for p in payloads] == [
        ("a", 10), ("a", 11), ("a", 12), ("a", 13), ("b", 0), ("c", 0),
    ]  # fmt: skip
    assert {payload.weight for payload in payloads} == {2.0}


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("prompt: a\nstep: 3", 2, "unknown key 'step'", "'steps'"),
        ("prompt: a\nsteps: x", 2, "steps must be a whole number", None),
        ("steps: 3", 1, "the payload has no prompt", None),
        ("prompt: a\nn_iter: 0", 2, "n_iter must be 1 or more", None),
        ("defaults:\n- cargo:\n  - cat\n", 3, "there is no payload file", "'cats'"),
    ],
)
def test_a_wrong_payload_file_is_an_error_with_its_place(load, text, line, message, hint):
    with pytest.raises(RecipeError, match=message) as caught:
        load("prompts: [{from: old.yaml}]", old_yaml=text, cargo__cats_yaml="prompt: a")
    assert caught.value.path.name == "old.yaml"
    assert caught.value.line == line
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        ("prompts: [{from: nowhere.txt}]", "there is no file or folder"),
        ("prompts: [{from: study.yaml, prompt: a}]", "not both"),
        ("prompts: [{steps: 3}]", "not neither"),
        ("prompts: [{from: nothing}]", "holds no prompts"),
        ("prompts: [{from: empty.txt}]", "there is no prompt in it"),
    ],
)
def test_a_wrong_source_is_an_error(load, payloads, message):
    with pytest.raises(RecipeError, match=message):
        load(payloads, nothing__readme_md="x", empty_txt="# nothing")


def test_the_example_for_stable_diffusion_is_whole():
    study = load_study(EXAMPLES / "sd15.yaml")
    tags = Counter(tag for payload in study.payloads for tag in payload.tags)
    assert set(tags) == {file.stem for file in (EXAMPLES / "prompts").iterdir()}
    assert tags["hands"] == 8
    assert not [payload for payload in study.payloads if "__" in payload.prompt]
    assert {payload.steps for payload in study.payloads} == {20}
    hand = next(payload for payload in study.payloads if "hands" in payload.tags)
    assert "fingers" in hand.negative_prompt
