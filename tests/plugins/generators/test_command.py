"""The command generator with real programs."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from dataclasses import replace

import pytest

from bmerge import GeneratorError, Payload
from bmerge.testing import check_generator
from bmerge_plugins.generators.command import CommandGenerator
from servers.faulty_http import colour

PROGRAM = """
    import json, os, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from servers.faulty_http import colour, png

    checkpoint, payloads, out, address = sys.argv[1:]
    weights, out = Path(checkpoint).read_bytes(), Path(out)

    def make(payload):
        content = png(colour(weights, payload["prompt"], payload["seed"]))
        (out / payload["file"]).write_bytes(content)

    records = json.load(open(payloads))
"""


@pytest.fixture
def program(tmp_path, pytestconfig):
    """Write a program; its body is given, ``make(payload)`` and ``records`` are there."""

    def write(body):
        file = tmp_path / "make pictures.py"
        head = PROGRAM.format(tests=str(pytestconfig.rootpath / "tests"))
        file.write_text(textwrap.dedent(head) + textwrap.dedent(body))
        return [sys.executable, str(file), "{checkpoint}", "{payloads}", "{out}", "{address}"]

    return write


def run(generator, model, payloads):
    generator.load(model)
    made = list(generator.generate(payloads))
    generator.close()
    return made


def expected(model, payloads):
    return [colour(model.weights, payload.prompt, payload.seed) for payload in payloads]


def pixels(pictures):
    return [picture.image.getpixel((0, 0)) for picture in pictures]


def test_pictures_come_in_order_whatever_the_programs_order(program, merged, payloads):
    command = program("for payload in reversed(records): make(payload)")
    model, wanted = merged(), payloads(4)
    made = run(CommandGenerator(command=command), model, wanted)
    assert [picture.payload for picture in made] == wanted
    assert pixels(made) == expected(model, wanted)


def test_the_program_is_told_all_of_a_payload(program, merged, tmp_path):
    told = tmp_path / "told.json"
    command = program(f"""
        Path({str(told)!r}).write_text(json.dumps(records))
        for payload in records: make(payload)
    """)
    payload = Payload("p", "a cat", "bad", 7, 20, 6.5, 512, 640, "euler", 2.0,
                      extra={"eta": 0.3})  # fmt: skip
    run(CommandGenerator(command=command), merged(), [payload, Payload("q", "ä dög")])
    assert json.loads(told.read_text()) == [
        {"file": "p.png", "id": "p", "prompt": "a cat", "negative_prompt": "bad", "seed": 7,
         "steps": 20, "cfg": 6.5, "width": 512, "height": 640, "sampler": "euler",
         "extra": {"eta": 0.3}},
        {"file": "q.png", "id": "q", "prompt": "ä dög", "negative_prompt": "", "seed": 0,
         "extra": {}},
    ]  # fmt: skip


def test_a_picture_is_yielded_while_the_program_goes_on(program, merged, payloads, tmp_path):
    go = tmp_path / "go"
    command = program(f"""
        make(records[0])
        while not Path({str(go)!r}).exists(): time.sleep(0.01)
        make(records[1])
    """)
    one = CommandGenerator(command=command, timeout=20)
    one.load(merged())
    pictures = one.generate(payloads(2))
    assert next(pictures).payload.id == "p0"
    go.touch()
    assert next(pictures).payload.id == "p1"
    assert next(pictures, None) is None


def test_half_a_picture_is_not_taken(program, merged, payloads):
    command = program("""
        whole = png(colour(weights, records[0]["prompt"], records[0]["seed"]), (64, 64))
        with open(out / records[0]["file"], "wb") as file:
            for piece in (whole[:60], whole[60:]):
                file.write(piece)
                file.flush()
                time.sleep(0.3)
    """)
    model, wanted = merged(), payloads(1)
    assert pixels(run(CommandGenerator(command=command), model, wanted)) == expected(model, wanted)


def test_stopping_early_ends_the_program_and_its_children(program, merged, payloads, tmp_path):
    alive = tmp_path / "alive"
    command = program(f"""
        import subprocess
        make(records[0])
        subprocess.run(["sh", "-c", "while :; do date +%s%N > {alive}; sleep 0.02; done"])
    """)
    one = CommandGenerator(command=command)
    one.load(merged())
    pictures = one.generate(payloads(2))
    next(pictures)
    while not alive.exists():
        time.sleep(0.01)
    pictures.close()
    before = alive.read_text()
    time.sleep(0.2)
    assert alive.read_text() == before


@pytest.mark.parametrize(
    ("body", "message", "blame"),
    [
        ('sys.stderr.write("Traceback\\nCUDA out of memory\\n"); sys.exit(3)',
         "exited with 3: CUDA out of memory", "surroundings"),
        ('print("no model"); sys.exit(1)', "exited with 1: no model", "study"),
        ('print("NaN"); sys.exit(65)', "exited with 65: NaN", "merge"),
        ('print("try later"); sys.exit(75)', "exited with 75: try later", "surroundings"),
        ('print("no such option"); sys.exit(64)', "exited with 64: no such", "study"),
        ("make(records[0])", r"left no picture 'p1' \(2 missing\)", "study"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9", "surroundings"),
        ("time.sleep(30)", "no picture 'p0' after 0.5 s", "surroundings"),
    ],
    ids=["stderr", "stdout", "data", "temporary", "usage", "missing", "killed", "hangs"],
)  # fmt: skip
def test_a_failing_program_is_told_in_one_line(body, message, blame, program, merged, payloads):
    generator = CommandGenerator(command=program(body), timeout=0.5 if "sleep" in body else 30)
    with pytest.raises(GeneratorError, match=message) as caught:
        run(generator, merged(), payloads(3))
    assert caught.value.blame == blame
    assert caught.value.transient is (blame == "surroundings")


def test_a_check_looks_for_the_program(program):
    CommandGenerator(command=program("")).check(paint=True)
    CommandGenerator(command="{address} {checkpoint} {payloads} {out}").check(paint=False)
    with pytest.raises(GeneratorError, match="there is no program 'no-such'") as caught:
        CommandGenerator(command="no-such {checkpoint} {payloads} {out}").check(paint=False)
    assert caught.value.blame == "study"


def test_a_program_that_has_made_pictures_is_not_to_blame(program, merged, payloads):
    body = "[make(record) for record in records] if records[0]['seed'] == 100 else sys.exit(1)"
    generator = CommandGenerator(command=program(body))
    run(generator, merged(), payloads(2))
    with pytest.raises(GeneratorError, match="exited with 1") as caught:
        run(generator, merged(), [replace(one, seed=7) for one in payloads(2)])
    assert caught.value.blame == "surroundings"
    assert not caught.value.transient  # nothing says that it will pass
    assert "\n" not in str(caught.value)


def test_several_addresses_share_the_pictures(program, merged, payloads):
    command = program("for payload in records: make(payload)")
    model, wanted = merged(), payloads(5)
    made = run(CommandGenerator(command=command, addresses=["cuda:0", "cuda:1"]), model, wanted)
    assert pixels(made) == expected(model, wanted)
    assert [picture.info["address"] for picture in made] == ["cuda:0", "cuda:1"] * 2 + ["cuda:0"]


def test_what_a_failed_address_did_not_make_is_made_by_another(program, merged, payloads, caplog):
    command = program("""
        make(records[0])
        if address == "cuda:1": sys.exit("device lost")
        for payload in records: make(payload)
    """)
    model, wanted = merged(), payloads(7)
    made = run(CommandGenerator(command=command, addresses=["cuda:0", "cuda:1"]), model, wanted)
    assert pixels(made) == expected(model, wanted)
    assert "cuda:1 is left out of this trial" in caplog.text
    assert "device lost" in caplog.text


def test_when_all_addresses_fail_the_trial_fails(program, merged, payloads):
    command = program("sys.exit('device lost')")
    with pytest.raises(GeneratorError, match="device lost"):
        run(CommandGenerator(command=command, addresses=["a", "b"]), merged(), payloads(4))


def test_ids_become_file_names_that_cannot_leave_the_folder(program, merged):
    command = program("for payload in records: make(payload)")
    ids = ["../../evil", "a/b", "a_b", ".hidden", "ok-1"]
    made = run(CommandGenerator(command=command), merged(), [Payload(name, name) for name in ids])
    assert [picture.payload.id for picture in made] == ids
    from bmerge_plugins.servers.payload_files import file_stems

    stems = file_stems([picture.payload for picture in made])
    assert stems == ["_.._evil", "a_b", "a_b-2", "hidden", "ok-1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "make {checkpoint} {payloads}"}, "command must use {out}"),
        ({"command": "make {model} {payloads} {out}"}, "command has no {model}"),
        ({"command": "make {checkpoint} {payloads} {out} '"}, "command: No closing quotation"),
        ({"command": []}, "command is empty"),
        ({"command": "m {checkpoint} {payloads} {out}", "addresses": ["a", "b"]},
         "command must use {address}"),
    ],
    ids=["out", "unknown", "quote", "empty", "address"],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_at_once(options, message):
    with pytest.raises(GeneratorError) as caught:
        CommandGenerator(**options)
    assert message in str(caught.value)


def test_no_shell_reads_the_command_line(merged, payloads, tmp_path):
    command = f"echo {{checkpoint}} {{payloads}} {{out}} ; touch {tmp_path}/evil"
    with pytest.raises(GeneratorError, match="left no picture"):
        run(CommandGenerator(command=command), merged(), payloads(1))
    assert not (tmp_path / "evil").exists()


def test_it_keeps_to_what_every_generator_must(program, merged, payloads):
    one = CommandGenerator(command=program("for payload in records: make(payload)"))
    check_generator(one, [merged(b"one"), merged(b"two")], payloads(3))
