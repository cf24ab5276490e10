"""The contract of every command: exit status, one clear line, no traceback."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import time

import pytest

import bmerge as bmerge_package
from bmerge import StudyError, _native
from bmerge.cli import replaced
from bmerge.cli.root import COMMANDS, root
from bmerge.cli.session import Session

COMMAND = [sys.executable, "-m", "bmerge.cli"]
BUG = """
    import click
    from bmerge import hookimpl

    @hookimpl
    def bmerge_commands(group):
        @group.command("hello")
        @click.option("--count", type=int, default=1)
        def hello(count):
            for _ in range(count):
                click.echo("hello")

        @group.command("bug")
        def bug():
            raise ValueError("something odd")

        @group.command("missing")
        def missing():
            open("not-there.txt")

        @group.command("interrupted")
        def interrupted():
            raise KeyboardInterrupt
"""

STRAY = """
    import os
    import subprocess
    import click
    from bmerge import hookimpl

    @hookimpl
    def bmerge_commands(group):
        @group.command("stray")
        def stray():
            with open({opened!r}, "wb", buffering=0) as file:
                file.write(b"mine")
                for number in (1, 2):
                    os.write(number, b"stray")
                subprocess.run("echo stray; echo stray >&2", shell=True, check=True)
                click.echo("stray")
                click.echo("stray", err=True)
"""


@pytest.fixture
def commands(write_plugin):
    return ["--plugin", write_plugin("commands.py", BUG)]


def test_version_is_said(bmerge):
    called = bmerge("--version")
    assert (called.status, called.err) == (0, "")
    assert called.out == f"bmerge {importlib.metadata.version('bmerge')}\n"


GARBAGE = """
import atexit, gc, sys
atexit.register(lambda: print(f"garbage: {gc.isenabled()}", file=sys.stderr))
from bmerge.cli import main
main()
"""


@pytest.mark.parametrize("verb", ["methods", "hello"])
def test_garbage_is_looked_for_while_a_verb_works(commands, verb):
    called = subprocess.run(
        [sys.executable, "-c", GARBAGE, *commands, verb], capture_output=True, text=True, check=True
    )
    assert "garbage: True" in called.stderr


def test_one_version_is_told_by_everything():
    installed = importlib.metadata.version("bmerge")
    assert (bmerge_package.__version__, _native.__version__) == (installed, installed)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]], ids=["long", "short"])
def test_help_lists_every_command(bmerge, arguments):
    called = bmerge(*arguments)
    assert called.status == 0
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name}" in called.out
        assert summary in called.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_begins_with_its_summary(name):
    context = root.make_context("bmerge", [], obj=Session())
    command = root.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help.splitlines()[0] == COMMANDS[name][1]
    assert "Examples:" in command.help


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["methds"], "error: no such command 'methds'; did you mean 'methods'?"),
        (["methods", "--jsn"], "error: no such option"),
        (["run"], "error: missing argument 'FILE'"),
        (["-p", "weighted_sum", "methods"], "error: invalid value for '-p': write no:NAME"),
        (["merge", "weighted_sum", "--memory", "lots"], "'lots' is not a size; write 512M or 4G"),
        (["run", "x.yaml", "--patience", "nan"], "'--patience': nan is not a finite number"),
        (["run", "x.yaml", "--patience", "1e999"], "'--patience': inf is not a finite number"),
    ],
    ids=["command", "option", "argument", "block", "size", "nan", "infinite"],
)
def test_wrong_usage_is_status_2_and_two_lines(bmerge, arguments, line):
    called = bmerge(*arguments)
    assert (called.status, called.out) == (2, "")
    assert line in called.err
    assert called.err.splitlines()[1].startswith("hint: `bmerge")
    assert len(called.err.splitlines()) == 2


@pytest.mark.parametrize("name", ["bench", "lora", "recipe", "studies", "weights"])
def test_a_verb_of_several_alone_shows_them(bmerge, name):
    called = bmerge(name)
    assert f"Usage: bmerge {name} " in called.out + called.err
    assert "\nCommands:\n" in called.out + called.err
    assert not called.err.startswith("error")


def test_error_is_status_1_with_a_hint(bmerge):
    called = bmerge("merge", "weigthed_sum", "a", "b", "-o", "out")
    assert (called.status, called.out) == (1, "")
    assert called.err.splitlines() == [
        "error: unknown merge method 'weigthed_sum'",
        "hint: did you mean 'weighted_sum'?",
    ]


def test_bug_is_one_line_and_a_traceback_only_on_demand(bmerge, commands):
    called = bmerge(*commands, "bug")
    assert called.status == 1
    first = called.err.splitlines()[0]
    assert first.startswith("error: plugin 'commands' failed: ValueError: something odd (")
    assert "--debug" in called.err
    assert "Traceback" not in called.err
    debugged = bmerge(*commands, "--debug", "bug")
    assert debugged.status == 1
    assert "Traceback" in debugged.err


def test_error_of_the_system_names_the_file(bmerge, commands):
    called = bmerge(*commands, "missing")
    assert called.status == 1
    assert called.err == "error: not-there.txt: No such file or directory\n"


def test_interrupt_is_status_130(bmerge, commands):
    called = bmerge(*commands, "interrupted")
    assert (called.status, called.err.strip()) == (130, "stopped")


def test_command_of_a_plugin_is_found(bmerge, commands):
    called = bmerge(*commands, "hello", "--count", "2")
    assert (called.status, called.out) == (0, "hello\nhello\n")


def test_command_of_a_plugin_is_gone_without_it(bmerge, commands):
    assert bmerge(*commands, "hello").status == 0
    assert bmerge("hello").status == 2


def test_options_come_from_the_environment(bmerge, commands, monkeypatch):
    monkeypatch.setenv("BMERGE_HELLO_COUNT", "3")
    assert bmerge(*commands, "hello").out == "hello\n" * 3
    monkeypatch.setenv("BMERGE_DEBUG", "1")
    assert "Traceback" in bmerge(*commands, "bug").err


def test_broken_plugin_is_named_once_on_stderr(bmerge, monkeypatch):
    from bmerge.host import discovery

    def load():
        raise ImportError("no module named 'nowhere'")

    broken = discovery.PluginCandidate("bomb", load, "acme", "1")
    monkeypatch.setattr(discovery, "installed", lambda: (broken,))
    called = bmerge("optimisers")
    assert called.status == 0
    assert called.err.count("plugin 'bomb' cannot be loaded: ImportError") == 1


def test_reader_that_has_gone_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [*COMMAND, "architectures"],
            check=False,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"], ids=["out", "err", "all"])
def test_closed_streams_lead_to_nowhere(closed, tmp_path, write_plugin):
    opened = tmp_path / "opened"
    plugin = write_plugin("stray.py", STRAY.format(opened=str(opened)))
    line = f'exec "$@" {closed}'
    called = subprocess.run(
        ["/bin/sh", "-c", line, "sh", *COMMAND, "--plugin", plugin, "stray"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert called.returncode == 0
    assert opened.read_bytes() == b"mine"  # not what native code and programs say


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full")  # noqa: PTH110
def test_what_cannot_take_the_result_is_named():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        called = subprocess.run(
            [*COMMAND, "architectures"], check=False, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert called.stderr == "error: standard output: No space left on device\n"
    assert called.returncode == 1


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]], ids=["version", "help"])
def test_quick_answers_import_neither_plugins_nor_the_engine(arguments):
    code = f"""
import sys
from bmerge.cli import main
try:
    main({arguments!r})
finally:
    heavy = ("torch", "numpy", "optuna", "pluggy", "yaml", "bmerge_plugins", "bmerge.host",
             "bmerge.plan")
    found = [name for name in heavy if name in sys.modules]
    assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


NESTED = """
    import click
    from bmerge import hookimpl

    @hookimpl
    def bmerge_commands(group):
        @group.group("tools")
        def tools():
            pass

        @tools.command("say")
        @click.option("-p", "--power", type=int, default=1)
        @click.argument("word")
        def say(word, power):
            click.echo(word * power)

        @tools.command("fail")
        def fail():
            {}["x"]
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--plugin", "FILE", "tools", "say", "a", "-p", "3"),
        ("tools", "--plugin", "FILE", "say", "a", "-p", "3"),
        ("tools", "say", "--plugin", "FILE", "a", "-p", "3"),
        ("tools", "say", "a", "-p", "3", "--debug", "--plugin", "FILE"),
        ("tools", "say", "a", "-p", "3", "--plugin=FILE"),
    ],
)
def test_plugin_option_stands_anywhere_for_a_plugins_own_command(bmerge, write_plugin, words):
    file = str(write_plugin("nested.py", NESTED))
    called = bmerge(*(word.replace("FILE", file) for word in words))
    assert (called.status, called.out, called.err) == (0, "aaa\n", "")


def test_words_behind_two_dashes_name_no_plugin(bmerge, write_plugin):
    file = write_plugin("nested.py", NESTED)
    called = bmerge("tools", "say", "--", f"--plugin={file}")
    assert (called.status, called.out) == (2, "")
    assert "no such command 'tools'" in called.err
    called = bmerge("--plugin", file, "tools", "say", "--", "--plugin")
    assert (called.status, called.out) == (0, "--plugin\n")


@pytest.mark.parametrize(
    "words",
    [
        ("methods", "--plugin", "FILE"),
        ("recipe", "--plugin", "FILE", "import", "none.mecha"),
        ("recipe", "import", "none.mecha", "--plugin", "FILE"),
        ("lora", "--plugin", "FILE", "merge", "a", "-o", "b"),
        ("bench", "--plugin", "FILE", "methods", "none.yaml"),
        ("studies", "list", "--plugin", "FILE"),
        ("scorers", "--plugin", "FILE"),
    ],
)
def test_plugin_option_stands_anywhere_for_our_commands(bmerge, write_plugin, words):
    file = str(write_plugin("commands.py", BUG))
    called = bmerge(*(word.replace("FILE", file) for word in words))
    assert "no such option" not in called.err


def test_failure_of_a_plugin_names_it_with_file_and_line(bmerge, write_plugin):
    file = write_plugin("nested.py", NESTED)
    called = bmerge("--plugin", file, "tools", "fail")
    line = NESTED.splitlines().index('            {}["x"]') + 1
    assert called.err.splitlines() == [
        f"error: plugin 'nested' failed: KeyError: 'x' ({file}:{line})",
        "hint: --debug shows the traceback",
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "error: there is not enough memory"),
        (RuntimeError("can't start new thread"), "error: the system lets no more threads begin"),
        (RecursionError("maximum"), "error: something in the input is nested too deeply"),
        (OSError(5, "Input/output error"), "error: input or output: Input/output error"),
        (OSError(2, "Gone", b"a\xff"), r"error: a\xff: Gone"),
        (ZeroDivisionError("by zero"), "error: ZeroDivisionError: by zero"),
    ],
)
def test_what_surroundings_cause_is_not_called_a_bug(bmerge, monkeypatch, error, line):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(root, "main", fail)
    called = bmerge("methods")
    assert called.status == 1
    assert called.err.splitlines()[0].startswith(line)
    assert ("this is a bug in bmerge" in called.err) == isinstance(error, ZeroDivisionError)


@pytest.mark.parametrize(
    "words",
    [("inspect", "LONG"), ("merge", "weighted_sum", "LONG", "LONG", "-o", "x.safetensors"),
     ("convert", "LONG", "-o", "x.safetensors"), ("run", "LONG.yaml"), ("studies", "show", "LONG")],
    ids=" ".join,
)  # fmt: skip
def test_name_that_is_too_long_is_told_with_what_to_do(bmerge, words):
    called = bmerge(*(word.replace("LONG", "x" * 300) for word in words))
    error, hint = called.err.splitlines()
    assert error.endswith("File name too long")
    assert hint == "hint: give it a shorter name: most file systems allow 255 bytes"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ImportError("cannot import name 'x' from 'bmerge.plan'", name="bmerge.plan"), "bmerge"),
        (AttributeError("no such thing"), "bmerge"),
        (FileNotFoundError(2, "Gone", "rows.html"), "bmerge"),
        (ImportError("cannot import name 'x' from 'late.part'", name="late.part"), "late"),
        (StudyError("no such trial"), None),
    ],
)
def test_an_upgrade_under_a_run_is_called_so(bmerge, monkeypatch, tmp_path, error, told):
    if told != "bmerge":  # a library that was upgraded after it was imported
        (tmp_path / "late.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(replaced, "_OWN", ())
        importlib.import_module("late")
    monkeypatch.setattr(replaced, "_BEGUN", 0.0)

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(root, "main", fail)
    first, *rest = bmerge("methods").err.splitlines()
    if told is None:
        assert first == "error: no such trial"
        return
    assert first.startswith(f"error: {told} was replaced on disk while it ran: ")
    assert rest == ["hint: run the same command again; a study continues where it stopped"]
    monkeypatch.setattr(replaced, "_BEGUN", time.time() + 9)
    assert "was replaced" not in bmerge("methods").err


def test_traceback_shows_steering_characters(bmerge, monkeypatch):
    def fail(*_args, obj, **_options):
        obj.debug = True
        raise ValueError("a\x1b[2J")

    monkeypatch.setattr(root, "main", fail)
    called = bmerge("methods")
    assert "Traceback" in called.err
    assert r"ValueError: a\x1b[2J" in called.err


def test_folder_says_which_of_its_files_are_plugins(bmerge, write_plugin, tmp_path):
    write_plugin("mine/nested.py", NESTED)
    write_plugin("mine/helpers.py", "raise RuntimeError('run')")
    write_plugin("mine/test_nested.py", "raise RuntimeError('run')")
    called = bmerge("tools", "say", "a", "--plugin", tmp_path / "mine")
    assert (called.status, called.out) == (0, "a\n")
    folder = tmp_path / "mine"
    expected = f"note: plugins of {folder}: nested.py; no plugins: helpers.py, test_nested.py\n"
    assert called.err == expected


def test_bmerge_alone_shows_the_way_and_every_command_of_it_works(bmerge):
    called = bmerge()
    assert (called.status, called.err) == (0, "")
    verbs = set(re.findall(r"^ {2}bmerge (\S+)", called.out, re.MULTILINE))
    assert {"init", "run", "merge", "inspect"} <= verbs <= set(COMMANDS)
