"""The a1111 generator against a server on 127.0.0.1 that has the real ones' behaviour and traps."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import shutil
import ssl
import subprocess
import sys
import threading
import time

import pytest

from bmerge import BmergeError, GeneratorError, Payload, fresh_name, open_checkpoint
from bmerge.study_file.payload_files import read_payload_file
from bmerge.testing import check_generator
from bmerge_plugins.generators.a1111 import make_a1111
from bmerge_plugins.servers.a1111_session import A1111Session
from servers.fake_a1111 import FakeA1111
from servers.faulty_http import HttpError, colour, only, png, rate

TXT2IMG = "/sdapi/v1/txt2img"


@pytest.fixture
def own_model(models_dir):
    """The user's own model, which the server has loaded at its start."""
    file = models_dir / "own.safetensors"
    file.write_bytes(b"the user's own weights")
    return file


@pytest.fixture
def server(models_dir, own_model):
    with FakeA1111(models_dir) as server:
        yield server


@pytest.fixture
def generator(models_dir):
    """Make a generator; it is closed at the end."""
    made = []

    def make(*addresses, **options):
        options = {"models_dir": str(models_dir), "backoff": 0.01, "timeout": 5.0, **options}
        made.append(make_a1111(addresses=list(addresses), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def pixel(picture):
    return picture.image.getpixel((0, 0))


def expected(model, payload):
    return colour(model.weights, payload.prompt, payload.seed)


def test_pictures_come_in_order_from_the_merged_weights(server, generator, merged, payloads):
    model, wanted = merged(), payloads(5)
    one = generator(server.url)
    one.load(model)
    made = list(one.generate(wanted))
    assert [picture.payload for picture in made] == wanted
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]
    assert made[0].info["server"] == server.url
    assert made[0].info["model"].startswith("bmerge-")


def test_each_trial_gets_its_own_weights(server, generator, merged, payloads):
    one = generator(server.url)
    for weights in (b"first", b"second", b"third"):
        model = merged(weights)
        one.load(model)
        (picture,) = one.generate(payloads(1))
        assert pixel(picture) == expected(model, picture.payload)


def test_the_checkpoint_is_removed_after_the_pictures(
    server, generator, merged, payloads, models_dir, own_model
):
    model = merged()
    one = generator(server.url)
    one.load(model)
    assert len(list(models_dir.iterdir())) == 2
    list(one.generate(payloads(2)))
    assert list(models_dir.iterdir()) == [own_model]
    assert model.file().read_bytes() == model.weights


def test_the_checkpoint_is_removed_when_loading_fails(
    server, generator, merged, models_dir, own_model
):
    server.faults = only("/sdapi/v1/options", *["500"] * 20)
    one = generator(server.url, retries=1)
    with pytest.raises(GeneratorError, match="CUDA error: busy") as caught:
        one.load(merged())
    assert caught.value.transient
    assert list(models_dir.iterdir()) == [own_model]


def test_leftovers_of_a_killed_run_are_removed(models_dir, generator, server):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    ours = fresh_name(".safetensors")
    machine, _, token = ours.removeprefix("bmerge-").split("-")
    stale = models_dir / f"bmerge-{machine}-{ended}-{token}"
    living = models_dir / ours
    foreign = models_dir / f"bmerge-000000-{ended}-{token}"
    for file in (stale, living, foreign):
        file.write_bytes(b"")
    generator(server.url)
    assert not stale.exists()
    assert living.exists()
    assert foreign.exists()


@pytest.mark.parametrize("dialect", ["a1111", "sdnext", "silent"])
def test_a_model_switched_by_somebody_else_is_loaded_again(
    dialect, models_dir, own_model, generator, merged, payloads
):
    with FakeA1111(models_dir, dialect=dialect) as server:
        # One person's click between the second and the third picture.
        server.before_picture = lambda count: server.use(own_model) if count == 3 else None
        model, wanted = merged(), payloads(5)
        one = generator(server.url)
        one.load(model)
        made = list(one.generate(wanted))
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]


@pytest.mark.parametrize("dialect", ["a1111", "sdnext", "silent"])
def test_a_wrong_models_picture_is_an_error(
    dialect, models_dir, own_model, generator, merged, payloads
):
    with FakeA1111(models_dir, dialect=dialect) as server:
        server.before_picture = lambda count: server.use(own_model)
        one = generator(server.url)
        one.load(merged())
        with pytest.raises(GeneratorError, match="made with the model 'own'") as caught:
            list(one.generate(payloads(1)))
    assert caught.value.transient


def test_a_wrong_hash_under_the_right_name_is_an_error(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    server.reported_hash = "ffffffffff"
    with pytest.raises(GeneratorError, match=r"\[ffffffffff\], not with 'bmerge-"):
        next(one.generate(payloads(1)))


@pytest.mark.parametrize("before", [0, 1], ids=["first", "second"])
def test_bytes_that_did_not_arrive_whole_are_an_error(server, generator, merged, before):
    one = generator(server.url)
    for number in range(before):
        one.load(merged(b"whole %d" % number))
    server.corrupt = lambda weights: weights[:-1]
    with pytest.raises(GeneratorError, match="read other bytes under the name"):
        one.load(merged())


def test_a_fresh_name_defeats_the_servers_memory_of_file_names(server, models_dir):
    """Shows the trap itself, so that the guard above is known to guard something."""
    file = models_dir / "trial.safetensors"
    for weights in (b"old", b"new"):
        file.write_bytes(weights)
        server.refresh()
        server.set_options({"sd_model_checkpoint": "trial.safetensors"})
    assert server.weights[file] == b"old"


def test_a_checkpoint_that_is_never_listed_is_an_error(
    generator, merged, own_model, server, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    one = generator(server.url, models_dir=str(elsewhere), list_timeout=0.0)
    with pytest.raises(GeneratorError, match="does not list the checkpoint 'bmerge-") as caught:
        one.load(merged())
    assert "models_dir" in caught.value.hint
    assert caught.value.blame == "surroundings"
    assert list(elsewhere.iterdir()) == []


def test_remote_models_is_checked_against_the_servers_own_path(
    server, generator, merged, models_dir, payloads
):
    one = generator(server.url, remote_models={str(models_dir): str(server.folder)})
    one.load(merged())
    assert len(list(one.generate(payloads(1)))) == 1
    wrong = generator(server.url, remote_models=f"{models_dir}=/elsewhere", list_timeout=0.0)
    with pytest.raises(GeneratorError, match=r"as '/elsewhere/bmerge-"):
        wrong.load(merged())


def test_remote_models_alone_serves_files_from_where_they_are(
    generator, merged, payloads, tmp_path
):
    model = merged()
    with FakeA1111(tmp_path / "scratch") as server:
        one = generator(server.url, models_dir=None, remote_models={str(tmp_path): str(tmp_path)})
        one.load(model)
        (picture,) = one.generate(payloads(1))
    assert pixel(picture) == expected(model, picture.payload)
    assert model.file().exists()


@pytest.mark.parametrize(
    ("address", "linked", "ways", "lent"),
    [
        ("127.0.0.1:7860", True, {}, True),
        ("http://localhost:7860", True, {}, True),
        ("192.168.0.7:7860", True, {}, False),
        ("127.0.0.1:7860", True, {"remote_models": {"/": "/"}}, False),
        ("127.0.0.1:7860", False, {"remote_models": {"/": "/"}}, False),
        ("127.0.0.1:7860", False, {"upload": "true {checkpoint} {name}"}, False),
    ],
)
def test_files_are_lent_where_the_server_reads_this_machines_disk(
    merged, generator, monkeypatch, address, linked, ways, lent
):
    monkeypatch.setattr(A1111Session, "load", lambda *_: None)
    monkeypatch.setattr(A1111Session, "close", lambda _: None)
    model, other = merged(), "127.0.0.1:7861"
    one = generator(address, other, **({} if linked else {"models_dir": None}), **ways)
    one.load(model)
    assert model.lent is lent


def test_upload_and_remove_commands_carry_the_file(
    server, generator, merged, payloads, models_dir, own_model
):
    copy = f"cp {{checkpoint}} '{models_dir}/{{name}}'"
    one = generator(server.url, models_dir=None, upload=copy, remove=f"rm '{models_dir}/{{name}}'")
    model = merged()
    one.load(model)
    (picture,) = one.generate(payloads(1))
    assert pixel(picture) == expected(model, picture.payload)
    assert list(models_dir.iterdir()) == [own_model]


def test_a_failing_upload_is_told_in_its_own_words(server, generator, merged):
    one = generator(server.url, models_dir=None, upload="ls /no/such/{checkpoint}/{name}")
    with pytest.raises(GeneratorError, match=r"ls exited with 2: .*No such file"):
        one.load(merged())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models_dir": None}, "nothing says how a merged checkpoint gets to the server"),
        ({"models_dir": "/no/such/folder"}, "models_dir: no such folder"),
        ({"models_dir": None, "upload": "scp {checkpoint}"}, "upload must use {name}"),
        ({"models_dir": None, "upload": "scp {file} {name}"}, "upload has no {file}"),
        ({"models_dir": None, "remote_models": "/a"}, "remote_models is '/a'"),
        ({"user": "me"}, "no password for the user 'me'"),
        ({"addresses": []}, "addresses is empty"),
        ({"addresses": ["ftp://x"]}, "'ftp://x' is not a server's address"),
        ({"addresses": ["http:/me:hush@x:1"]}, "'x:1' is not a server's address"),
        ({"addresses": ["x:1", "http://x:1/"]}, "the address http://x:1 is given twice"),
        ({"timeout": 0.0}, "timeout must be above 0, not 0.0"),
        ({"retries": -1}, "retries must be 0 or more"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else None,
)
def test_options_that_make_no_sense_are_refused_at_once(options, message, models_dir, monkeypatch):
    monkeypatch.delenv("BMERGE_SERVER_PASSWORD", raising=False)
    with pytest.raises(BmergeError) as caught:
        make_a1111(**{"models_dir": str(models_dir), **options})
    assert message in str(caught.value)


def test_the_payloads_fields_and_extras_reach_the_server(server, generator, merged):
    extra = {"enable_hr": True, "hr_scale": 1.5, "styles": ["film"], "tiling": True, "eta": 0.3,
             "s_churn": 0.1, "alwayson_scripts": {"controlnet": {"args": [{"weight": 1}]}},
             "override_settings": {"CLIP_stop_at_last_layers": 2}}  # fmt: skip
    payload = Payload("p", "a cat", "blurry", 7, 25, 6.5, 16, 24, "Euler a", extra=extra)
    one = generator(server.url)
    one.load(merged())
    (picture,) = one.generate([payload])
    (body,) = server.made(TXT2IMG)
    assert body == {
        **extra, "prompt": "a cat", "negative_prompt": "blurry", "seed": 7, "steps": 25,
        "cfg_scale": 6.5, "width": 16, "height": 24, "sampler_name": "Euler a",
        "override_settings_restore_afterwards": False, "save_images": False, "send_images": True,
    }  # fmt: skip
    assert picture.image.size == (16, 24)


@pytest.mark.parametrize("how", ["interrupted", "skipped"])
def test_a_picture_that_somebody_interrupted_is_made_again(
    how, server, generator, merged, payloads
):
    def interrupt_the_second(count):
        server.state[how] = count == 2

    server.before_picture = interrupt_the_second
    model, wanted = merged(), payloads(3)
    one = generator(server.url)
    one.load(model)
    made = list(one.generate(wanted))
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]
    assert server.pictures == 4


def test_a_picture_that_is_always_interrupted_is_never_scored(server, generator, merged, payloads):
    server.before_picture = lambda count: server.state.update(interrupted=True)
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match="picture 'p0': interrupted on the server") as caught:
        list(one.generate(payloads(1)))
    assert caught.value.blame == "surroundings"


@pytest.mark.parametrize("cut", [(), (1,), (2, 3), (4,)], ids=str)
def test_a_picture_is_made_twice_where_anothers_job_hides_whether_it_is_whole(
    cut, server, generator, merged, payloads
):
    """Somebody interrupts our job, and theirs begins before the server is asked for its state."""

    def another_begins(count):
        server.state = {"interrupted": False, "skipped": False, "job": "task(theirs)"}

    def interrupt(count):
        server.cut = count in cut

    server.before_picture, server.after_picture = interrupt, another_begins
    model, wanted = merged(), payloads(2)
    one = generator(server.url)
    one.load(model)
    made = list(one.generate(wanted))
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]
    assert server.pictures == 2 * len(wanted) + len(cut)


def test_pictures_of_which_no_two_are_alike_are_not_scored(server, generator, merged, payloads):
    def another_begins(count):
        server.state["job"] = "task(theirs)"

    def interrupt(count):
        server.cut = True

    server.before_picture, server.after_picture = interrupt, another_begins
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match="'p0': others use this server, and no two") as caught:
        list(one.generate(payloads(1)))
    assert caught.value.blame == "surroundings"


def test_a_server_that_cannot_tell_of_interruptions_is_believed(
    server, generator, merged, payloads
):
    server.tells_progress = False
    one = generator(server.url)
    one.load(merged())
    assert len(list(one.generate(payloads(3)))) == 3
    assert len(server.made("/sdapi/v1/progress")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "NansException", "errors": "A tensor with all NaNs was produced in Unet."},
        {"error": "RuntimeError", "errors": "Error(s) in loading state_dict for UNet"},
    ],
    ids=["nan", "weights"],
)
def test_a_merge_that_gives_nan_is_asked_for_once(fault, server, generator, merged, payloads):
    def fail(count):
        raise HttpError(500, fault)

    server.before_picture = fail
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match="500 Internal Server Error") as caught:
        list(one.generate(payloads(1)))
    assert server.pictures == 1
    assert caught.value.blame == "merge"


def test_a_bad_answer_of_any_shape_is_a_passing_fault(server, generator, merged, payloads):
    one = generator(server.url, retries=0)
    one.load(merged())
    for answer in ([], 3, {"info": 3}, {"info": "{}", "images": 7}, {"info": "[" * 9999},
                   {"info": '{"infotexts": 3}'}, {"info": "{}", "images": ["AAAA"]},
                   {"info": '{"index_of_first_image": []}', "images": [1]}):  # fmt: skip
        server.render = lambda body, answer=answer: answer
        with pytest.raises(GeneratorError) as caught:
            list(one.generate(payloads(1)))
        assert caught.value.blame == "surroundings", answer
        one.load(merged())
    server.refresh = lambda: None
    server.entry = lambda file: [file.name]
    with pytest.raises(GeneratorError, match="the list of models"):
        one.load(merged())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"scheduler": "Karas"}, "the server has no scheduler 'Karas'"),
        ({"override_settings": {"sd_vae": "mse.ckpt"}}, "the server has no sd_vae 'mse.ckpt'"),
    ],
    ids=["scheduler", "vae"],
)
def test_what_a_web_ui_would_drop_without_a_word_is_refused(
    extra, message, server, generator, merged, payloads
):
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1, extra=extra)))  # a fork without such lists
    server.lists = {
        "GET schedulers": [{"name": "karras", "label": "Karras", "aliases": ["k"]}],
        "GET sd-vae": [{"model_name": "mse.safetensors", "filename": "/vae/mse.safetensors"}],
    }
    for known in ({"scheduler": "KARRAS"}, {"scheduler": "k"}, {"scheduler": "Automatic"},
                  {"override_settings": {"sd_vae": "mse.safetensors"}},
                  {"override_settings": {"sd_vae": "None"}}, {}):  # fmt: skip
        one.load(merged())
        assert len(list(one.generate(payloads(3, extra=known)))) == 3
    assert len(server.made("/sdapi/v1/schedulers")) <= 4
    fresh, before = generator(server.url), server.pictures
    fresh.load(merged())
    with pytest.raises(GeneratorError, match=message) as caught:
        list(fresh.generate(payloads(1, extra=extra)))
    assert caught.value.blame == "study"
    assert "Karras" in caught.value.hint or "mse.safetensors" in caught.value.hint
    assert server.pictures == before


@pytest.mark.parametrize(
    ("wanted", "used", "warns"),
    [("Euler a", "Euler a", False), ("DPM++ 2M Karras", "DPM++ 2M", False),
     ("Euler a", "euler_a", False), ("k_euler", "Euler", False), (None, "UniPC", False),
     ("Euler a", None, False), ("Euler x", "UniPC", True), ("Heun", "Euler", True)],
)  # fmt: skip
def test_a_sampler_that_was_not_the_wanted_one_is_told_once(
    wanted, used, warns, server, generator, merged, payloads, caplog
):
    render = server.render

    def with_sampler(body):
        answer = render(body)
        info = {**json.loads(answer["info"]), "sampler_name": used}
        return {**answer, "info": json.dumps(info)}

    server.render = with_sampler
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(3, sampler=wanted)))
    assert caplog.text.count("where") == warns
    assert not warns or f"sampled with {used!r} where {wanted!r} was wanted" in caplog.text


def test_what_a_payload_leaves_out_is_left_to_the_server(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1)))
    (body,) = server.made(TXT2IMG)
    assert not {"steps", "cfg_scale", "width", "height", "sampler_name"} & set(body)


def test_init_images_make_it_img2img(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1, extra={"init_images": ["AAAA"], "denoising_strength": 0.5})))
    (body,) = server.made("/sdapi/v1/img2img")
    assert body["init_images"] == ["AAAA"]
    assert server.made(TXT2IMG) == []


def test_pictures_in_files_are_sent_along(server, generator, merged, payloads, tmp_path):
    pose = tmp_path / "pose.png"
    pose.write_bytes(png((9, 9, 9)))
    there = base64.b64encode(pose.read_bytes()).decode()
    unit = {"module": "openpose", "weight": 0.8, "image": {"file": str(pose)}}
    extra = {
        "init_images": [{"file": str(pose)}],
        "alwayson_scripts": {"controlnet": {"args": [unit]}},
    }
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1, extra=extra)))
    (body,) = server.made("/sdapi/v1/img2img")
    assert body["init_images"] == [there]
    assert body["alwayson_scripts"]["controlnet"]["args"] == [{**unit, "image": there}]


def test_a_file_that_is_not_there_is_named(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match=r"'/none.png': No such file"):
        list(one.generate(payloads(1, extra={"init_images": [{"file": "/none.png"}]})))


def test_clip_skip_is_the_web_uis_own_setting(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    extra = {"clip_skip": 2, "override_settings": {"sd_vae": "None"}}
    list(one.generate(payloads(1, extra=extra)))
    (body,) = server.made(TXT2IMG)
    assert body["override_settings"] == {"sd_vae": "None", "CLIP_stop_at_last_layers": 2}
    assert "clip_skip" not in body


def test_every_field_of_a_payload_file_reaches_the_server(server, generator, merged, tmp_path):
    """A payload as sd-webui-bayesian-merger has them, through a study file to the request."""
    fields = {
        "enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "hr_second_pass_steps": 8,
        "denoising_strength": 0.4, "styles": ["film"], "tiling": True, "restore_faces": True,
        "eta": 0.3, "s_churn": 0.1, "s_tmax": 5, "s_tmin": 0.2, "s_noise": 1.1, "subseed": 3,
        "subseed_strength": 0.2, "seed_resize_from_h": 64, "firstphase_width": 8,
    }  # fmt: skip
    usual = {
        "prompt": "a cat", "negative_prompt": "blurry", "steps": 25, "cfg_scale": 6.5, "width": 16,
        "height": 24, "sampler_name": "Euler a", "seed": 7,
    }  # fmt: skip
    old = tmp_path / "old.yaml"
    old.write_text(json.dumps({**fields, **usual}))
    (draft,) = read_payload_file(old)
    payload = Payload("p", draft.prompt, seed=draft.seeds[0], **draft.settings)
    one = generator(server.url)
    one.load(merged())
    list(one.generate([payload]))
    (body,) = server.made(TXT2IMG)
    assert {**body, **fields, **usual} == body


def test_a_black_picture_is_an_error(server, generator, merged, payloads):
    server.black = True
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match="is black all over") as caught:
        list(one.generate(payloads(1)))
    assert "fp32 or bf16" in caught.value.hint
    assert caught.value.blame == "merge"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"override_settings": {"sd_model_checkpoint": "own"}}, "overrides sd_model_checkpoint"),
        ({"batch_size": 4}, "has batch_size 4, but is one picture"),
        ({"n_iter": 2}, "has n_iter 2, but is one picture"),
    ],
    ids=["model", "batch_size", "n_iter"],
)
def test_extras_that_would_falsify_the_score_are_refused(
    extra, message, server, generator, merged, payloads
):
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match=message):
        list(one.generate(payloads(1, extra=extra)))


def test_a_grid_before_the_picture_is_not_taken_for_it(server, generator, merged, payloads):
    server.grid = True
    model = merged()
    one = generator(server.url)
    one.load(model)
    (picture,) = one.generate(payloads(1))
    assert pixel(picture) == expected(model, picture.payload)


@pytest.mark.parametrize("fault", ["cut", "500", "half", "html"])
def test_a_passing_fault_is_met_by_another_attempt(fault, server, generator, merged, payloads):
    server.faults = only(TXT2IMG, fault, fault)
    model, wanted = merged(), payloads(2)
    one = generator(server.url)
    one.load(model)
    made = list(one.generate(wanted))
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]
    assert len(server.made(TXT2IMG)) == 4


@pytest.mark.parametrize("fault", ["hang", "slow"])
def test_an_answer_that_takes_too_long_is_given_up(fault, server, generator, merged, payloads):
    one = generator(server.url, timeout=0.4)
    one.load(merged())
    server.faults = only(TXT2IMG, fault)
    assert len(list(one.generate(payloads(1)))) == 1
    assert len(server.made(TXT2IMG)) == 2


def test_a_request_that_is_wrong_is_not_made_again(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match="404 Not Found: Sampler not found") as caught:
        list(one.generate(payloads(3, sampler="nonsense")))
    assert not caught.value.transient
    assert caught.value.blame == "study"
    assert len(server.made(TXT2IMG)) <= 1


def test_a_server_that_stays_broken_is_a_passing_error(server, generator, merged, payloads):
    one = generator(server.url, retries=1)
    one.load(merged())
    server.down = True
    with pytest.raises(GeneratorError) as caught:
        list(one.generate(payloads(1)))
    assert caught.value.transient


def test_no_server_at_all_is_a_passing_error(generator, merged):
    one = generator("127.0.0.1:9", retries=0)
    with pytest.raises(GeneratorError, match=r"http://127\.0\.0\.1:9/sdapi/v1/options") as caught:
        one.load(merged())
    assert caught.value.transient
    assert caught.value.hint == "is the server running?"


def test_many_pictures_over_a_server_that_fails_every_tenth_time(
    server, generator, merged, payloads
):
    kinds = ("cut", "500", "half", "html", "hang", "deep", "drip")
    server.faults = rate(0.1, kinds, seed=3)
    model, wanted = merged(), payloads(200)
    one = generator(server.url, timeout=0.5)
    one.load(model)
    made = list(one.generate(wanted))
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]
    assert len(server.made(TXT2IMG)) > 200


def test_two_servers_share_the_pictures_and_keep_their_order(
    server, models_dir, generator, merged, payloads
):
    with FakeA1111(models_dir) as other:
        model, wanted = merged(), payloads(20)
        one = generator(server.url, other.url)
        one.load(model)
        made = list(one.generate(wanted))
        assert server.pictures > 0
        assert other.pictures > 0
        assert server.pictures + other.pictures == 20
    assert [picture.payload for picture in made] == wanted
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]


def test_one_file_serves_all_servers_of_one_folder(
    server, models_dir, own_model, generator, merged
):
    with FakeA1111(models_dir) as other:
        one = generator(server.url, other.url)
        one.load(merged())
        assert len([file for file in models_dir.iterdir() if file != own_model]) == 1
        assert server.current == other.current


def test_a_server_that_dies_is_left_out_with_a_warning_and_asked_again(
    server, models_dir, generator, merged, payloads, caplog
):
    with FakeA1111(models_dir) as other:
        other.before_picture = lambda count: setattr(other, "down", count >= 2)
        model, wanted = merged(), payloads(12)
        one = generator(server.url, other.url, retries=0)
        one.load(model)
        with caplog.at_level(logging.WARNING):
            made = list(one.generate(wanted))
        assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]
        assert f"{other.url} is left out of this trial" in caplog.text
        other.down, other.before_picture = False, lambda count: None
        before = other.pictures
        one.load(merged())
        list(one.generate(payloads(12)))
        assert other.pictures > before


def test_a_server_that_refuses_the_password_in_the_middle_leaves_the_others_at_work(
    server, models_dir, generator, merged, payloads, caplog
):
    with FakeA1111(models_dir) as other:

        def refuse(count):
            raise HttpError(401, {"detail": "Incorrect username or password"})

        other.before_picture = refuse
        model, wanted = merged(), payloads(12)
        one = generator(server.url, other.url)
        one.load(model)
        made = list(one.generate(wanted))
    assert [pixel(picture) for picture in made] == [expected(model, p) for p in wanted]
    assert f"{other.url} is left out of this trial" in caplog.text
    assert other.pictures == 1


def test_a_server_that_is_down_at_loading_is_left_out(
    server, models_dir, generator, merged, payloads, caplog
):
    with FakeA1111(models_dir) as other:
        other.down = True
        one = generator(server.url, other.url, retries=0)
        one.load(merged())
        assert len(list(one.generate(payloads(4)))) == 4
    assert server.pictures == 4
    assert f"{other.url} is left out of this trial" in caplog.text


class DeafAtFirst(threading.Event):
    """An interruption that comes before its request has no effect on a real server."""

    heard = 0

    def set(self):
        self.heard += 1
        if self.heard > 1:
            super().set()


def test_a_server_that_was_left_out_is_asked_with_little_patience(
    server, models_dir, generator, merged, payloads
):
    with FakeA1111(models_dir) as other:
        other.down = True
        one = generator(server.url, other.url, retries=3)
        one.load(merged())
        asked = len(other.requests)
        assert asked == 4
        one.load(merged())
        assert len(other.requests) == asked + 1
    assert len(list(one.generate(payloads(2)))) == 2


def test_a_failed_upload_to_one_host_leaves_only_its_server_out(
    server, models_dir, generator, merged, payloads, caplog
):
    copy = f"sh -c 'test $2 = 127.0.0.1 && cp $0 {models_dir}/$1' {{checkpoint}} {{name}} {{host}}"
    one = generator(server.url, "127.0.0.2:9", models_dir=None, upload=copy)
    one.load(merged())
    assert len(list(one.generate(payloads(2)))) == 2
    assert "http://127.0.0.2:9 is left out of this trial: sh exited with 1" in caplog.text


def test_it_keeps_to_what_every_generator_must(server, generator, merged, payloads):
    check_generator(generator(server.url), [merged(b"one"), merged(b"two")], payloads(3, width=16))


@pytest.mark.parametrize("event", [threading.Event, DeafAtFirst], ids=["at-once", "too-early"])
def test_stopping_early_interrupts_the_server_and_makes_little_in_vain(
    event, server, generator, merged, payloads, models_dir, own_model
):
    server.interrupted = event()
    server.hold_from = 2  # this picture takes until somebody interrupts
    one = generator(server.url, timeout=20)
    one.load(merged())
    pictures = one.generate(payloads(50))
    next(pictures)
    until(lambda: server.pictures == 2)
    pictures.close()
    assert server.interrupted.is_set()
    assert server.pictures == 2
    assert list(models_dir.iterdir()) == [own_model]


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends, "it never came so far"
        time.sleep(0.01)


def test_no_interruption_is_sent_when_all_pictures_were_made(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(3)))
    assert not server.interrupted.is_set()


def test_a_server_that_a_killed_run_left_with_its_merge_is_not_given_that_back(
    server, generator, merged, payloads, models_dir, caplog
):
    left = models_dir / fresh_name(".safetensors")
    left.write_bytes(b"the last merge of a run that was killed")
    server.refresh()
    server.use(left)
    left.unlink()
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1)))
    one.close()
    assert "closing" not in caplog.text


def test_closing_gives_the_server_its_own_model_back(
    server, generator, merged, payloads, own_model
):
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1)))
    one.close()
    assert server.current == own_model


@pytest.mark.parametrize("way", ["option", "environment", "variable", "address"])
def test_basic_authentication(way, models_dir, own_model, generator, merged, payloads, monkeypatch):
    monkeypatch.setenv("BMERGE_SERVER_PASSWORD", "s3cret" if way == "environment" else "wrong")
    monkeypatch.setenv("OTHER", "s3cret")
    options = {
        "option": {"user": "me", "password": "s3cret"},
        "environment": {"user": "me"},
        "variable": {"user": "me", "password_env": "OTHER"},
        "address": {},
    }[way]
    with FakeA1111(models_dir, auth="me:s3cret") as server:
        at = "me:s3cret@" if way == "address" else ""
        one = generator(server.url.replace("//", f"//{at}"), **options)
        one.load(merged())
        assert len(list(one.generate(payloads(1)))) == 1


def test_a_wrong_password_is_told_at_once_and_never_shown(
    models_dir, own_model, generator, merged, caplog
):
    caplog.set_level(logging.DEBUG)
    with FakeA1111(models_dir, auth="me:right") as server:
        one = generator(server.url, user="me", password="s3cret")
        with pytest.raises(GeneratorError, match="401 Unauthorized: Incorrect user") as caught:
            one.load(merged())
        assert not caught.value.transient
        assert caught.value.blame == "surroundings"
        assert len(server.requests) == 1
    assert "s3cret" not in f"{caught.value!r} {caught.value.hint} {caplog.text}"


@pytest.mark.parametrize("fault", ["echo", "500", "cut"])
def test_secrets_stay_out_of_errors_logs_and_pictures(
    fault, models_dir, own_model, generator, merged, payloads, caplog
):
    import base64

    token = base64.b64encode(b"me:s3cret").decode()
    caplog.set_level(logging.DEBUG)
    with FakeA1111(models_dir, auth="me:s3cret") as server:
        one = generator(server.url.replace("//", "//me:s3cret@"), retries=1)
        one.load(merged())
        (picture,) = one.generate(payloads(1))
        one.load(merged())
        server.faults = itertools.repeat(fault)
        with pytest.raises(GeneratorError) as caught:
            list(one.generate(payloads(1)))
    told = f"{caught.value!r} {caught.value.hint} {picture.info} {vars(one)} {caplog.text}"
    for secret in ("s3cret", token):
        assert secret not in told


def test_a_check_leaves_no_trace(server, generator, models_dir, own_model):
    listed, current = list(server.listed), server.current
    one = generator(server.url)
    one.check(paint=False)
    assert server.pictures == 0
    one.check(paint=True)
    assert server.pictures == 1
    assert (server.listed, server.current) == (listed, current)
    assert list(models_dir.iterdir()) == [own_model]
    one.close()
    assert server.made("/sdapi/v1/options") == [None] * 2  # asked, never set


def test_a_check_holds_nothing_against_a_server_whose_model_is_broken(server, generator):
    def fail(count):
        raise HttpError(500, {"error": "NansException", "errors": "A tensor with all NaNs"})

    server.before_picture = fail
    generator(server.url).check(paint=True)
    server.before_picture = lambda count: setattr(server, "down", True)
    server.render = lambda body: {"images": []}
    with pytest.raises(GeneratorError):
        generator(server.url, retries=0).check(paint=True)


def test_the_marker_of_a_check_can_be_read_as_a_checkpoint(server, generator, models_dir):
    seen, refresh = [], server.refresh

    def look():
        refresh()
        seen.extend(dict(open_checkpoint(file).tensors) for file in models_dir.glob("bmerge-*"))

    server.refresh = look
    generator(server.url).check(paint=False)
    assert [list(tensors) for tensors in seen] == [["marker"]]


def test_a_check_names_what_would_make_every_trial_fail(
    server, models_dir, own_model, generator, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cases = [
        (generator("127.0.0.1:9", retries=0), "http://127.0.0.1:9/sdapi"),
        (generator(server.url, models_dir=str(elsewhere), list_timeout=0.0), "does not list"),
        (generator(server.url, remote_models=f"{models_dir}=/x", list_timeout=0.0), "as '/x/b"),
        (generator(server.url, models_dir=None, remote_models="/no/such=/x"), "there is no folder"),
    ]
    with FakeA1111(models_dir, auth="me:right") as other:
        cases.append((generator(other.url, user="me", password="wrong"), "401 Unauthorized"))
        for one, message in cases:
            with pytest.raises(GeneratorError, match=message) as caught:
                one.check(paint=False)
            assert caught.value.blame == "surroundings"
    assert list(elsewhere.iterdir()) == []
    assert list(models_dir.iterdir()) == [own_model]
    assert own_model in server.listed
    assert len(server.listed) == 1


def test_a_check_of_several_servers_warns_of_one_that_is_down(
    server, generator, models_dir, caplog
):
    generator("127.0.0.1:9", server.url, retries=0).check(paint=False)
    assert "http://127.0.0.1:9 cannot be used: " in caplog.text


def test_a_check_tries_an_upload_only_if_it_can_be_undone(server, generator, models_dir, own_model):
    copy = f"cp {{checkpoint}} '{models_dir}/{{name}}'"
    generator(server.url, models_dir=None, upload=copy).check(paint=False)
    assert server.made("/sdapi/v1/refresh-checkpoints") == []
    remove = f"rm '{models_dir}/{{name}}'"
    generator(server.url, models_dir=None, upload=copy, remove=remove).check(paint=False)
    assert len(server.made("/sdapi/v1/refresh-checkpoints")) == 2
    assert list(models_dir.iterdir()) == [own_model]


def test_https_with_a_certificate_of_ones_own(
    models_dir, own_model, generator, merged, payloads, tmp_path
):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with FakeA1111(models_dir, tls=context) as server:
        for verify in (False, str(cert)):
            one = generator(server.url, verify=verify)
            one.load(merged())
            assert len(list(one.generate(payloads(1)))) == 1
        with pytest.raises(GeneratorError, match="certificate is not trusted") as caught:
            generator(server.url).load(merged())
        assert not caught.value.transient
