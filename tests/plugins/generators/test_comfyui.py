"""The comfyui generator against a server that has the real one's behaviour and traps."""

from __future__ import annotations

import copy
import json
import logging
import threading
import time

import pytest

from bmerge import GeneratorError, Payload
from bmerge.testing import check_generator
from bmerge_plugins.generators.comfyui import make_comfyui
from bmerge_plugins.servers.comfyui_graphs import GRAPHS
from bmerge_plugins.servers.comfyui_workflow import Workflow
from servers.fake_comfyui import FakeComfyUI
from servers.faulty_http import colour, only, rate

EXPORTED = {
    "3": {"class_type": "KSampler", "_meta": {"title": "KSampler"},
          "inputs": {"seed": 5, "steps": 20, "cfg": 8.0, "sampler_name": "euler",
                     "scheduler": "normal", "denoise": 1.0, "model": ["4", 0],
                     "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "_meta": {"title": "Load Checkpoint"},
          "inputs": {"ckpt_name": "sd15.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "_meta": {"title": "Empty Latent Image"},
          "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "_meta": {"title": "CLIP Text Encode (Prompt)"},
          "inputs": {"text": "beautiful scenery", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "_meta": {"title": "CLIP Text Encode (Prompt)"},
          "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "_meta": {"title": "VAE Decode"},
          "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "_meta": {"title": "Save Image"},
          "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}  # fmt: skip


@pytest.fixture
def server(models_dir):
    with FakeComfyUI(models_dir) as server:
        yield server


@pytest.fixture
def generator(models_dir):
    made = []

    def make(*addresses, **options):
        options = {"models_dir": str(models_dir), "backoff": 0.01, "timeout": 10.0, **options}
        made.append(make_comfyui(addresses=list(addresses), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def workflow(tmp_path):
    """Write a workflow, changed as a test wants it, and return its path."""

    def write(change=lambda graph: None):
        graph = copy.deepcopy(EXPORTED)
        change(graph)
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(graph))
        return str(path)

    return write


def pixels(pictures):
    return [picture.image.getpixel((0, 0)) for picture in pictures]


def expected(model, payloads):
    return [colour(model.weights, payload.prompt, payload.seed) for payload in payloads]


@pytest.mark.parametrize("modern", [False, True], ids=["list", "COMBO"])
def test_pictures_come_in_order_from_the_merged_weights(
    modern, models_dir, generator, merged, payloads
):
    with FakeComfyUI(models_dir, modern=modern) as server:
        model, wanted = merged(), payloads(4, width=16)
        one = generator(server.url)
        one.load(model)
        made = list(one.generate(wanted))
    assert [picture.payload for picture in made] == wanted
    assert pixels(made) == expected(model, wanted)
    assert made[0].image.size[0] == 16
    assert made[0].info["model"].startswith("bmerge-")
    assert list(models_dir.iterdir()) == []


def test_each_trial_gets_its_own_weights_and_memory_does_not_grow(
    server, generator, merged, payloads
):
    one = generator(server.url)
    for weights in (b"first", b"second", b"third"):
        model, wanted = merged(weights), payloads(2)
        one.load(model)
        assert pixels(one.generate(wanted)) == expected(model, wanted)
    assert server.most_loaded == 1


def test_no_thread_waits_for_a_server_that_says_nothing_to_the_end_of_its_websocket(
    server, generator, merged, payloads
):
    before = set(threading.enumerate())
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1)))
    one.close()
    ours = [t for t in threading.enumerate() if t.name.startswith("ThreadPool")]
    for thread in (waiting := set(ours) - before):
        thread.join(5)
    assert not [thread for thread in waiting if thread.is_alive()]


def test_the_trap_of_a_replaced_file_is_real(server, models_dir):
    file = models_dir / "trial.safetensors"
    for weights in (b"old", b"new"):
        file.write_bytes(weights)
        assert server._loaded("trial.safetensors") == b"old"


def test_a_checkpoint_in_a_subfolder_is_named_as_the_server_does(
    models_dir, generator, merged, payloads
):
    inside = models_dir / "merges"
    inside.mkdir()
    with FakeComfyUI(models_dir) as server:
        one = generator(server.url, models_dir=str(inside))
        one.load(merged())
        (picture,) = one.generate(payloads(1))
    assert picture.info["model"].startswith("merges/bmerge-")


def test_a_checkpoint_that_is_never_listed_is_an_error(server, generator, merged, tmp_path):
    one = generator(server.url, models_dir=str(tmp_path), list_timeout=0.0)
    with pytest.raises(GeneratorError, match="does not list the checkpoint 'bmerge-"):
        one.load(merged())


def test_a_users_workflow_is_filled_in_by_following_its_links(server, generator, merged, workflow):
    payload = Payload("p", "a cat", "blurry", 7, 30, 5.5, 64, 80, "dpmpp_2m",
                      extra={"scheduler": "karras", "3.denoise": 0.9})  # fmt: skip
    model = merged()
    one = generator(server.url, workflow=workflow())
    one.load(model)
    (picture,) = one.generate([payload])
    assert pixels([picture]) == expected(model, [payload])
    (body,) = server.made("/prompt")
    graph = body["prompt"]
    assert graph["3"]["inputs"] == {
        **EXPORTED["3"]["inputs"], "seed": 7, "steps": 30, "cfg": 5.5,
        "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 0.9,
    }  # fmt: skip
    assert (graph["6"]["inputs"]["text"], graph["7"]["inputs"]["text"]) == ("a cat", "blurry")
    assert graph["5"]["inputs"] == {"width": 64, "height": 80, "batch_size": 1}


def test_titles_go_before_links_and_the_option_before_titles(workflow):
    def change(graph):
        graph["7"]["_meta"]["title"] = "prompt"
        graph["6"]["_meta"]["title"] = "Negative"
        graph["20"] = {"class_type": "PrimitiveInt", "inputs": {"value": 1},
                       "_meta": {"title": "seed steps"}}  # fmt: skip

    graph = copy.deepcopy(EXPORTED)
    change(graph)
    filled = Workflow(graph, {"steps": "KSampler.steps"}).fill(
        Payload("p", "a cat", "bad", 9, 30), "m.safetensors"
    )
    assert filled["7"]["inputs"]["text"] == "a cat"
    assert filled["6"]["inputs"]["text"] == "bad"
    assert filled["20"]["inputs"]["value"] == 9
    assert filled["3"]["inputs"]["steps"] == 30
    assert filled["3"]["inputs"]["seed"] == 5
    assert graph["7"]["inputs"]["text"] == "text, watermark"


def test_one_slot_can_have_several_places():
    graph = copy.deepcopy(EXPORTED)
    graph["6"]["class_type"] = "CLIPTextEncodeSDXL"
    graph["6"]["inputs"] = {"text_g": "", "text_l": "", "clip": ["4", 1]}
    filled = Workflow(graph, {}).fill(Payload("p", "a cat"), "m")
    assert filled["6"]["inputs"] == {"text_g": "a cat", "text_l": "a cat", "clip": ["4", 1]}


def test_the_flux_workflow_is_guided_by_its_own_number():
    filled = Workflow(GRAPHS["flux"], {}).fill(Payload("p", "a cat", cfg=2.5), "m")
    assert filled["guidance"]["inputs"]["guidance"] == 2.5
    assert filled["sampler"]["inputs"]["cfg"] == 1.0
    with pytest.raises(GeneratorError, match="no slot for 'negative'"):
        Workflow(GRAPHS["flux"], {}).fill(Payload("p", "a cat", "bad"), "m")


@pytest.mark.parametrize("name", GRAPHS)
def test_each_of_our_workflows_is_whole_and_takes_a_payload(name):
    payload = Payload("p", "a cat", seed=11, steps=3, width=640, height=768, sampler="lcm")
    filled = Workflow(GRAPHS[name], {}).fill(payload, "merged.safetensors")
    values = [v for node in filled.values() for v in node["inputs"].values()]
    assert all(value[0] in filled for value in values if isinstance(value, list))
    plain = [value for value in values if not isinstance(value, list)]
    for wanted in ("a cat", 11, 3, 640, 768, "lcm", "merged.safetensors"):
        assert wanted in plain
    assert {512, 1024, 1328, 832, 480}.isdisjoint(plain), "a size that the payload does not set"


def test_a_diffusion_model_is_loaded_beside_the_servers_own_parts(
    server, generator, merged, payloads
):
    model, wanted = merged(), payloads(2, width=16)
    one = generator(server.url, workflow="flux2_klein")
    one.check(paint=False)
    one.load(model)
    made = list(one.generate(wanted))
    assert pixels(made) == expected(model, wanted)
    assert made[0].image.size[0] == 16


def test_the_parts_of_a_sampler_are_followed_to_where_their_values_are():
    graph = copy.deepcopy(GRAPHS["flux2_klein"])
    graph["68"] = {"class_type": "PrimitiveInt", "inputs": {"value": 1024}}
    for node in ("size", "schedule"):
        graph[node]["inputs"]["width"] = ["68", 0]
    payload = Payload("p", "a cat", "bad", seed=4, steps=9, cfg=2.0, width=320, height=256)
    filled = Workflow(graph, {}).fill(payload, "m")
    assert filled["noise"]["inputs"]["noise_seed"] == 4
    assert filled["schedule"]["inputs"] == {"steps": 9, "width": ["68", 0], "height": 256}
    assert filled["68"]["inputs"] == {"value": 320}
    assert filled["size"]["inputs"]["height"] == 256
    assert filled["guider"]["inputs"]["cfg"] == 2.0
    assert filled["negative"]["inputs"]["text"] == "bad"


def test_an_input_of_a_workflow_is_set_for_every_picture(server, generator, merged, payloads):
    server.encoders = ["mine.safetensors"]
    name = "text_encoder.clip_name"
    with pytest.raises(GeneratorError, match="no clip_name 'qwen_3_4b.safetensors'") as caught:
        generator(server.url, workflow="flux2_klein").check(paint=False)
    assert f'inputs sets another: {{"{name}": …}}' in caught.value.hint
    one = generator(server.url, workflow="flux2_klein", inputs={name: "mine.safetensors"})
    one.check(paint=False)
    seen = []
    server.before_run = lambda graph: seen.append(graph["text_encoder"]["inputs"]["clip_name"])
    one.load(merged())
    list(one.generate(payloads(1)))
    assert seen == ["mine.safetensors"]
    with pytest.raises(GeneratorError, match="has no input 'vae.name'"):
        generator(server.url, workflow="flux2", inputs={"vae.name": "x"})


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda graph: graph.update(nodes=[], links=[]), {}, "is not in API format"),
        (lambda graph: graph.update({"1": []}), {}, "is not a ComfyUI workflow"),
        (lambda graph: graph.pop("3"), {}, "the workflow has no slot for 'prompt'"),
        (lambda graph: None, {"slots": {"prmpt": "6.text"}}, "unknown slot 'prmpt'"),
        (lambda graph: None, {"slots": {"prompt": "6.txt"}}, "has no input '6.txt'"),
        (lambda graph: None, {"workflow": "/no/such.json"}, "cannot read the workflow"),
    ],
    ids=["ui-format", "no-workflow", "no-sampler", "slot", "input", "file"],
)
def test_a_workflow_that_makes_no_sense_is_refused_at_once(
    change, options, message, workflow, models_dir
):
    with pytest.raises(GeneratorError) as caught:
        make_comfyui(**{"workflow": workflow(change), "models_dir": str(models_dir), **options})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (Payload("p", "x", sampler="euler"), "no slot for 'sampler'"),
        (Payload("p", "x", extra={"3.nonsense": 1}), "has no input '3.nonsense'"),
        (Payload("p", "x", extra={"checkpoint": "own"}), "names a checkpoint of its own"),
    ],
    ids=["sampler", "extra", "checkpoint"],
)
def test_what_a_workflow_has_no_place_for_is_an_error(payload, message):
    graph = copy.deepcopy(EXPORTED)
    graph["3"]["inputs"]["sampler_name"] = ["30", 0]
    with pytest.raises(GeneratorError, match=message):
        Workflow(graph, {}).fill(payload, "m")


def test_a_refused_workflow_is_told_by_its_nodes_in_one_line(
    server, generator, merged, payloads, models_dir
):
    one = generator(server.url)
    one.load(merged())
    for file in models_dir.iterdir():
        file.unlink()
    with pytest.raises(GeneratorError) as caught:
        list(one.generate(payloads(1)))
    assert "node checkpoint (CheckpointLoaderSimple): Value not in list" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caught.value.transient
    assert caught.value.blame == "surroundings"
    assert "folder" in caught.value.hint


def test_a_node_that_the_server_does_not_have_is_named(server, generator, merged, workflow):
    path = workflow(lambda graph: graph["4"].update(class_type="MyLoader"))
    with pytest.raises(GeneratorError, match="the server has no node 'MyLoader'") as caught:
        generator(server.url, workflow=path).load(merged())
    assert caught.value.blame == "study"


def test_a_workflow_of_which_a_part_is_left_out_is_an_error(
    server, generator, merged, payloads, workflow
):
    """The server runs the preview's branch and says with 200 that it ignores the other."""
    one = generator(server.url)
    one.load(merged())
    assert len(list(one.generate(payloads(1)))) == 1
    error = {"type": "value_not_in_list", "message": "Value not in list",
             "details": "model_name: '4x.pth' not in []"}  # fmt: skip
    server.ignored = {"11": {"errors": [error], "class_type": "UpscaleModelLoader"}}
    one.load(merged())
    with pytest.raises(GeneratorError, match=r"node 11 .*'4x.pth' not in \[\]") as caught:
        list(one.generate(payloads(1)))
    assert caught.value.blame == "study"
    assert len(server.made("/prompt")) == 2
    assert server.made("/queue")[-1] is None or not server.pending


def test_a_checkpoint_that_is_missing_does_not_hide_what_else_is_wrong(
    server, generator, merged, payloads, models_dir
):
    one = generator(server.url)
    one.load(merged())
    (file,) = models_dir.iterdir()
    errors = [{"message": "Value not in list", "details": f"ckpt_name: {file.name!r} not in []"},
              {"message": "Value not in list", "details": "vae_name: 'x' not in []"}]  # fmt: skip
    server.ignored = {"1": {"errors": errors, "class_type": "Loader"}}
    with pytest.raises(GeneratorError, match="vae_name: 'x'") as caught:
        list(one.generate(payloads(1)))
    assert caught.value.blame == "study"


def failing(kind, node_type="KSampler"):
    return lambda graph: {
        "node_id": "3", "node_type": node_type, "exception_type": kind,
        "exception_message": "expected\n  a tensor",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "blame"),
    [
        ("RuntimeError", "study"),
        ("torch.OutOfMemoryError", "surroundings"),
        ("safetensors_rust.SafetensorError", "merge"),
    ],
)
def test_a_node_that_fails_is_told_in_one_line(kind, blame, server, generator, merged, payloads):
    server.before_run = failing(kind)
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(
        GeneratorError, match=rf"node 3 \(KSampler\): {kind}: expected a tensor"
    ) as e:
        list(one.generate(payloads(1)))
    assert e.value.blame == blame
    assert e.value.transient is (blame == "surroundings")


@pytest.mark.parametrize(
    ("node", "blame"), [("KSampler", "surroundings"), ("CheckpointLoaderSimple", "merge")]
)
def test_a_workflow_that_has_worked_is_not_to_blame(
    node, blame, server, generator, merged, payloads
):
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(1)))
    (server.folder / "own.safetensors").write_bytes(b"own")
    one.check(paint=True)  # as in the middle of a study that waits
    server.before_run = failing("RuntimeError", node)
    one.load(merged())
    with pytest.raises(GeneratorError) as caught:
        list(one.generate(payloads(1)))
    assert caught.value.blame == blame


def test_a_prompt_that_somebody_interrupted_is_run_again(server, generator, merged, payloads):
    runs = iter([True, False])
    server.before_run = lambda graph: server.interrupted.set() if next(runs, False) else None
    ran = server._run

    def interrupted(graph):
        status, outputs = ran(graph)
        return ran(graph) if server.interrupted.is_set() else (status, outputs)

    server._run = interrupted
    model, wanted = merged(), payloads(2)
    one = generator(server.url)
    one.load(model)
    assert pixels(one.generate(wanted)) == expected(model, wanted)
    assert server.runs == 3


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/prompt", []), ("/prompt", 3), ("/prompt", {"prompt": 1}),
        ("/history/", [3]), ("/history/", {"ID": 3}), ("/history/", {"ID": {"status": 3}}),
        ("/history/", {"ID": {"outputs": {"9": []}}}),
        ("/history/", {"ID": {"status": {"messages": [1]}}}),
        ("/view", b"no picture"), ("/view", b""),
    ],
)  # fmt: skip
def test_a_bad_answer_of_any_shape_is_a_passing_fault(
    path, answer, server, generator, merged, payloads
):
    routes = server.answer

    def instead(method, where, query, body):
        given = routes(method, where, query, body)
        if not where.startswith(path) or not (given or path == "/prompt"):
            return given
        if isinstance(answer, dict) and "ID" in answer:
            return {where.rpartition("/")[2]: answer["ID"]}
        return answer

    one = generator(server.url, retries=0)
    one.load(merged())
    server.answer = instead
    with pytest.raises(GeneratorError) as caught:
        list(one.generate(payloads(1)))
    assert caught.value.blame == "surroundings"


def test_a_saved_picture_goes_before_a_preview_and_a_titled_one_before_all(
    server, generator, merged, payloads, workflow
):
    def previews(graph):
        graph["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}

    def two(graph):
        graph["10"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}

    def titled(graph):
        two(graph)
        graph["10"]["_meta"] = {"title": "output"}

    for change, wrong in ((previews, None), (titled, None), (two, "2 pictures")):
        one = generator(server.url, workflow=workflow(change))
        one.load(merged())
        if wrong:
            with pytest.raises(GeneratorError, match=wrong):
                list(one.generate(payloads(1)))
        else:
            assert len(list(one.generate(payloads(1)))) == 1


def test_a_batch_in_the_workflow_is_an_error(server, generator, merged, payloads, workflow):
    path = workflow(lambda graph: graph["5"]["inputs"].update(batch_size=4))
    one = generator(server.url, workflow=path)
    one.load(merged())
    with pytest.raises(GeneratorError, match="gave 4 pictures") as caught:
        list(one.generate(payloads(1)))
    assert "batch_size" in caught.value.hint


def test_a_workflow_that_an_extension_changed_is_not_believed(
    server, generator, merged, payloads, models_dir
):
    (models_dir / "own.safetensors").write_bytes(b"own")

    def switch(graph):
        graph["checkpoint"]["inputs"]["ckpt_name"] = "own.safetensors"

    server.before_run = switch
    one = generator(server.url)
    one.load(merged())
    with pytest.raises(GeneratorError, match=r"made with the model \['own.safetensors'\]"):
        list(one.generate(payloads(1)))


def test_a_restarted_server_loses_the_prompt_and_gets_it_again(server, generator, merged, payloads):
    model, wanted = merged(), payloads(3)
    one = generator(server.url)
    one.load(model)
    submit = server.prompt
    lost = iter([{"prompt_id": "lost in the restart", "number": 0, "node_errors": {}}])
    server.prompt = lambda body: next(lost, None) or submit(body)
    assert pixels(one.generate(wanted)) == expected(model, wanted)


def test_the_websocket_wakes_the_client_and_its_loss_does_no_harm(
    server, generator, merged, payloads, caplog
):
    caplog.set_level(logging.DEBUG, "bmerge_plugins")
    model, wanted = merged(), payloads(3)
    one = generator(server.url)
    server.faults = only("/ws", "cut")
    one.load(model)
    assert pixels(one.generate(wanted)) == expected(model, wanted)
    assert "polling instead" in caplog.text
    server.before_run = lambda graph: time.sleep(0.2)  # so that there is something to wait for
    one.load(model)
    assert pixels(one.generate(wanted)) == expected(model, wanted)
    assert "step 20 of 20" in caplog.text


def test_stopping_early_interrupts_only_our_prompt(server, generator, merged, payloads):
    server.hold_from = 2  # this prompt runs until somebody interrupts
    one = generator(server.url)
    one.load(merged())
    pictures = one.generate(payloads(30))
    next(pictures)
    until(lambda: server.runs == 2)
    ours = server.running
    pictures.close()
    assert server.made("/interrupt") == [{"prompt_id": ours}]
    assert server.runs == 2


def test_stopping_early_leaves_the_prompts_of_others_alone(server, generator, merged, payloads):
    server.hold_from = 2
    one = generator(server.url)
    one.load(merged())
    pictures = one.generate(payloads(30))
    next_prompt = threading.Event()
    submit = server.prompt

    def after_somebody_else(body):
        if server.runs == 1:  # somebody's own prompt comes in between ours
            submit({**body, "prompt_id": "somebody else's"})
            until(lambda: server.running == "somebody else's")
            next_prompt.set()
        return submit(body)

    server.prompt = after_somebody_else
    next(pictures)
    assert next_prompt.wait(10)
    pictures.close()
    assert server.made("/interrupt") == []
    assert not server.pending
    assert server.running == "somebody else's"


@pytest.mark.parametrize("trouble", ["it begins", "a request fails"])
def test_stopping_early_is_asked_for_until_the_prompt_has_gone(
    trouble, server, generator, merged, payloads
):
    server.hold_from = 2
    server.beginning = 0.3 if trouble == "it begins" else 0.0
    one = generator(server.url)
    one.load(merged())
    pictures = one.generate(payloads(30))
    next(pictures)
    until(lambda: server.runs == 2)
    if trouble == "a request fails":
        server.faults = only("/interrupt", "cut")
    pictures.close()
    assert server.running is None
    assert not server.pending
    assert server.runs == 2


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends, "it never came so far"
        time.sleep(0.01)


def test_a_prompt_that_is_just_being_sent_is_taken_back_too(server, generator, merged, payloads):
    server.hold_from = 2
    one = generator(server.url)
    one.load(merged())
    submit, sending = server.prompt, threading.Event()

    def slowly(body):
        if server.runs == 1:
            sending.set()
            time.sleep(0.3)
        return submit(body)

    server.prompt = slowly
    pictures = one.generate(payloads(30))
    next(pictures)
    assert sending.wait(10)
    pictures.close()
    assert not server.pending
    assert server.running is None or server.made("/interrupt")


def test_no_interruption_is_sent_when_all_pictures_were_made(server, generator, merged, payloads):
    one = generator(server.url)
    one.load(merged())
    list(one.generate(payloads(3)))
    assert server.made("/interrupt") == []


def test_a_picture_that_takes_too_long_is_given_up(server, generator, merged, payloads):
    one = generator(server.url, timeout=0.5)
    one.load(merged())
    server.hold_from = 1
    with pytest.raises(GeneratorError, match="not ready after|interrupted") as caught:
        list(one.generate(payloads(1)))
    assert caught.value.transient


def test_many_pictures_over_a_server_that_fails_every_tenth_time(
    server, generator, merged, payloads
):
    server.faults = rate(0.1, ("cut", "500", "half", "html"), seed=5)
    model, wanted = merged(), payloads(60)
    one = generator(server.url, retries=6)
    one.load(model)
    assert pixels(one.generate(wanted)) == expected(model, wanted)


def test_two_servers_share_the_pictures_and_one_may_die(
    server, models_dir, generator, merged, payloads, caplog
):
    with FakeComfyUI(models_dir) as other:
        other.before_run = lambda graph: setattr(other, "down", other.runs >= 2)
        model, wanted = merged(), payloads(12)
        one = generator(server.url, other.url, retries=0)
        one.load(model)
        assert pixels(one.generate(wanted)) == expected(model, wanted)
        assert other.runs > 0
    assert f"{other.url} is left out of this trial" in caplog.text


def test_basic_authentication_of_a_proxy_before_the_server(
    models_dir, generator, merged, payloads, caplog
):
    caplog.set_level(logging.INFO, "bmerge_plugins")
    with FakeComfyUI(models_dir, auth="me:s3cret") as server:
        one = generator(server.url, user="me", password="s3cret")
        one.load(merged())
        assert len(list(one.generate(payloads(2)))) == 2
        assert server.made("/ws") == [None]
    assert "no websocket" not in caplog.text


@pytest.mark.parametrize("modern", [False, True], ids=["list", "COMBO"])
def test_a_check_leaves_no_trace(modern, models_dir, generator, workflow):
    (models_dir / "own.safetensors").write_bytes(b"own")
    with FakeComfyUI(models_dir, modern=modern) as server:
        one = generator(server.url, workflow=workflow())
        one.check(paint=False)
        assert server.runs == 0
        assert [file.name for file in models_dir.iterdir()] == ["own.safetensors"]
        one.check(paint=True)
        (body,) = server.made("/prompt")
        assert body["prompt"]["4"]["inputs"]["ckpt_name"] == "own.safetensors"
        assert body["prompt"]["5"]["inputs"]["width"] == 64
        assert server.weights == {}
        assert [file.name for file in models_dir.iterdir()] == ["own.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: graph["8"].update(class_type="VAEDecodeBest"), "no node 'VAEDecodeBest'"),
        (lambda graph: graph["4"].update(class_type="MyLoader"), "no node 'MyLoader'"),
        (lambda graph: graph["3"]["inputs"].update(sampler_name="eular"),
         r"node 3 \(KSampler\): the server has no sampler_name 'eular'"),
        (lambda graph: graph["3"]["inputs"].update(scheduler="odd"), "no scheduler 'odd'"),
    ],
    ids=["node", "loader", "sampler", "scheduler"],
)  # fmt: skip
def test_a_check_finds_what_the_server_lacks(change, message, server, generator, workflow):
    with pytest.raises(GeneratorError, match=message) as caught:
        generator(server.url, workflow=workflow(change)).check(paint=False)
    assert caught.value.blame == "study"
    assert server.runs == 0


def test_a_check_leaves_what_a_node_does_not_list_to_the_node(server, generator, workflow):
    path = workflow(lambda graph: graph["9"]["inputs"].update(style_name="any", image="a.png"))
    generator(server.url, workflow=path).check(paint=False)


def test_a_node_that_one_of_two_servers_lacks_is_no_matter_of_waiting(
    server, generator, models_dir
):
    with FakeComfyUI(models_dir) as other:
        other.known.discard("VAEDecode")
        one = generator(server.url, other.url)
        with pytest.raises(GeneratorError, match="no node 'VAEDecode'") as caught:
            one.check(paint=False)
    assert caught.value.blame == "study"


def test_a_check_finds_that_the_server_looks_elsewhere(server, generator, tmp_path, models_dir):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    one = generator(server.url, models_dir=str(elsewhere), list_timeout=0.0)
    with pytest.raises(GeneratorError, match="does not list the checkpoint") as caught:
        one.check(paint=False)
    assert caught.value.blame == "surroundings"
    assert list(elsewhere.iterdir()) == []


def test_a_checkpoint_of_another_kind_says_nothing_against_a_workflow(
    server, generator, models_dir, workflow, caplog
):
    (models_dir / "other.safetensors").write_bytes(b"another kind of model")
    server.before_run = failing("RuntimeError")
    generator(server.url, workflow=workflow()).check(paint=True)
    assert "with 'other.safetensors', for want of a merge: " in caplog.text
    (models_dir / "sd15.safetensors").write_bytes(b"what the workflow itself names")
    with pytest.raises(GeneratorError, match="expected a tensor"):
        generator(server.url, workflow=workflow()).check(paint=True)


def test_it_keeps_to_what_every_generator_must(server, generator, merged, payloads):
    check_generator(generator(server.url), [merged(b"one"), merged(b"two")], payloads(3, width=16))
