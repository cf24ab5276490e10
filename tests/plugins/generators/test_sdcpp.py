"""The sdcpp generator with real processes that behave as sd-server and sd-cli do."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bmerge import GeneratorError, Payload
from bmerge.testing import check_generator
from bmerge_plugins.generators.sdcpp import make_sdcpp
from bmerge_plugins.servers.sdcpp_cli import cli_arguments
from servers.faulty_http import colour

FAKES = Path(__file__).parents[2] / "servers"
SERVER = [sys.executable, str(FAKES / "fake_sd_server.py"), "--model", "{checkpoint}",
          "--listen-ip", "{host}", "--listen-port", "{port}"]  # fmt: skip
CLI = [sys.executable, str(FAKES / "fake_sd_cli.py"), "--model", "{checkpoint}"]


@pytest.fixture
def free_port():
    """Find ports on which nothing listens."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture
def generator(free_port):
    made = []

    def make(count=1, **options):
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
        options = {"addresses": addresses, "command": SERVER, "start_timeout": 30.0, **options}
        made.append(make_sdcpp(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def pixels(pictures):
    return [picture.image.getpixel((0, 0)) for picture in pictures]


def expected(model, payloads):
    return [colour(model.weights, payload.prompt, payload.seed) for payload in payloads]


@pytest.mark.parametrize("old", [[], ["--old"]], ids=["info", "empty-info"])
def test_each_trial_has_a_server_with_its_weights(old, generator, merged, payloads):
    one = generator(command=[*SERVER, *old])
    for weights in (b"first", b"second"):
        model, wanted = merged(weights), payloads(3)
        one.load(model)
        assert pixels(one.generate(wanted)) == expected(model, wanted)


def test_two_servers_share_the_pictures_in_order(generator, merged, payloads):
    model, wanted = merged(), payloads(10)
    one = generator(count=2)
    one.load(model)
    made = list(one.generate(wanted))
    assert pixels(made) == expected(model, wanted)
    assert len({picture.info["server"] for picture in made}) == 2


def test_a_check_looks_for_the_program_and_the_port(generator):
    generator(2).check(paint=True)
    missing = generator(command=["no-such-sd-server", *SERVER[1:]])
    with pytest.raises(GeneratorError, match="there is no program 'no-such-sd-server'") as caught:
        missing.check(paint=False)
    assert caught.value.blame == "study"
    with pytest.raises(GeneratorError, match="there is no program 'no-such-sd-cli'"):
        generator(server=False, command="no-such-sd-cli -m {checkpoint}").check(paint=False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = generator(addresses=[f"127.0.0.1:{other.getsockname()[1]}"])
        with pytest.raises(GeneratorError, match="something else already listens") as caught:
            taken.check(paint=False)
    assert caught.value.blame == "surroundings"


def test_no_process_is_left_after_closing(generator, merged, payloads):
    one = generator()
    one.load(merged())
    (session,) = one._sessions
    program = session._program
    one.close()
    assert program.status is not None


def test_an_older_server_on_the_port_is_not_mistaken_for_ours(free_port, generator, merged):
    port, stale = free_port(), merged(b"stale")
    values = {"checkpoint": stale.file(), "host": "127.0.0.1", "port": port}
    with subprocess.Popen([part.format_map(values) for part in SERVER]) as older:
        try:
            one = generator(addresses=f"127.0.0.1:{port}")
            wait_until_it_listens(port)
            with pytest.raises(GeneratorError, match="something else already listens") as caught:
                one.load(merged())
            assert not caught.value.transient
        finally:
            older.kill()


def wait_until_it_listens(port):
    for _ in range(200):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError("it does not listen")


def test_a_server_with_another_model_is_refused(generator, merged):
    stale = merged(b"stale")
    command = [part.replace("{checkpoint}", str(stale.file())) for part in SERVER]
    # A wrapper script that ignores what it is given:
    script = " ".join(["exec", *command, "# $0"]).format(host="$1", port="$2")
    one = generator(command=["sh", "-c", script, "{checkpoint}", "{host}", "{port}"])
    with pytest.raises(GeneratorError, match=r"has the model \['trial-\d+'\], not 'trial-"):
        one.load(merged())


def test_a_server_that_does_not_come_up_says_why(generator, merged):
    with pytest.raises(GeneratorError, match=r"exited with 1: \[ERROR\] new_sd_ctx_t failed"):
        generator().load(merged(b"broken"))


@pytest.mark.parametrize(("worked", "blame"), [(False, "study"), (True, "merge")])
def test_a_server_that_read_other_merges_blames_the_one_it_cannot_read(
    worked, blame, generator, merged, payloads
):
    one = generator()
    if worked:
        one.load(merged())
        list(one.generate(payloads(1)))
    with pytest.raises(GeneratorError) as caught:
        one.load(merged(b"broken"))
    assert caught.value.blame == blame


def test_a_server_that_dies_is_started_again(generator, merged, payloads):
    one = generator(timeout=5.0)
    model = merged()
    one.load(model)
    with pytest.raises(GeneratorError, match="out of memory") as caught:
        list(one.generate([Payload("p", "die")]))
    assert caught.value.transient
    one.load(model)
    wanted = payloads(2)
    assert pixels(one.generate(wanted)) == expected(model, wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "sd-server -m {checkpoint}"}, "command must use {host}"),
        ({"addresses": "10.0.0.5:1234"}, "is not on this machine"),
        ({"server": False, "command": "sd-cli"}, "command must use {checkpoint}"),
    ],
    ids=["places", "remote", "cli"],
)
def test_options_that_make_no_sense_are_refused_at_once(options, message):
    with pytest.raises(GeneratorError) as caught:
        make_sdcpp(**options)
    assert message in str(caught.value)


def test_a_program_that_is_not_installed_is_named(generator, merged):
    one = generator(command="no-such-sd --m {checkpoint} {host} {port}")
    with pytest.raises(GeneratorError, match="cannot start 'no-such-sd': No such file"):
        one.load(merged())


def test_the_command_line_makes_each_picture(generator, merged, payloads):
    model, wanted = merged(), payloads(4, width=16, height=24)
    one = generator(count=2, server=False, command=CLI)
    one.load(model)
    made = list(one.generate(wanted))
    assert pixels(made) == expected(model, wanted)
    assert made[0].image.size == (16, 24)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("fail", r"exited with 1: \[ERROR\] generate failed"), ("nothing", "left no picture for 'p'")],
    ids=["fail", "nothing"],
)
def test_a_failing_command_line_says_why(prompt, message, generator, merged):
    one = generator(server=False, command=CLI)
    one.load(merged())
    with pytest.raises(GeneratorError, match=message) as caught:
        list(one.generate([Payload("p", prompt)]))
    assert not caught.value.transient
    assert caught.value.blame == "study"
    one.load(merged())
    list(one.generate([Payload("p", "a cat")]))
    one.load(merged())
    with pytest.raises(GeneratorError, match=message) as caught:
        list(one.generate([Payload("p", prompt)]))
    assert caught.value.blame == "merge"


def test_a_command_line_that_hangs_is_ended(generator, merged):
    one = generator(server=False, command=CLI, timeout=0.5)
    one.load(merged())
    with pytest.raises(GeneratorError, match=r"no picture after 0\.5 s"):
        list(one.generate([Payload("p", "wait")]))


def test_payloads_become_the_programs_options():
    payload = Payload("p", "-x", "bad", 7, 20, 6.5, 512, 640, "euler",
                      extra={"vae_tiling": True, "fa": False, "clip-skip": 2})  # fmt: skip
    assert cli_arguments(payload) == [
        "--prompt", "-x", "--negative-prompt", "bad", "--seed", "7", "--steps", "20",
        "--cfg-scale", "6.5", "--width", "512", "--height", "640", "--sampling-method", "euler",
        "--vae-tiling", "--clip-skip", "2",
    ]  # fmt: skip


def test_it_keeps_to_what_every_generator_must(generator, merged, payloads):
    check_generator(generator(), [merged(b"one"), merged(b"two")], payloads(3))
