"""Every option can be set by a variable that is named for what is typed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from bmerge.cli.root import root
from bmerge.formats import open_checkpoint


def _options(command: click.Command, prefix: str) -> Iterator[tuple[str, click.Option]]:
    for option in command.params:
        if isinstance(option, click.Option):
            yield prefix, option
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _options(below, f"{prefix}_{name}")


def test_variables_are_named_for_what_is_typed():
    wrong = []
    for prefix, option in _options(root, "BMERGE"):
        typed = [o.removeprefix("--") for o in option.opts if o.startswith("--")]
        variable = str(option.envvar or f"{prefix}_{option.name}").replace("-", "_").upper()
        if typed and variable not in {
            f"{prefix}_{word}".replace("-", "_").upper() for word in typed
        }:
            wrong.append((option.opts, variable))
    assert not wrong


def test_a_variable_asks_for_json(bmerge, monkeypatch):
    monkeypatch.setenv("BMERGE_METHODS_JSON", "1")
    assert json.loads(bmerge("methods").out)


def test_a_variable_takes_the_metadata_away(bmerge, monkeypatch, tmp_path, sd1_models):
    a, b, _ = sd1_models
    monkeypatch.setenv("BMERGE_MERGE_NO_METADATA", "1")
    out = tmp_path / "out.safetensors"
    assert bmerge("merge", "weighted_sum", a, b, "-o", out).status == 0
    assert "bmerge.recipe" not in open_checkpoint(out).metadata
    monkeypatch.setenv("BMERGE_MERGE_NO_METADATA", "0")
    assert bmerge("merge", "weighted_sum", a, b, "-o", out, "--force").status == 0
    assert "bmerge.recipe" in open_checkpoint(out).metadata


def test_commands_of_plugins_have_variables_by_what_is_typed(bmerge, write_plugin, monkeypatch):
    plugin = write_plugin(
        "greeting.py",
        """
        import click
        from bmerge import hookimpl

        @hookimpl
        def bmerge_commands(group):
            @group.command("greet")
            @click.option("--name", "whom", default="nobody")
            def greet(whom):
                click.echo(f"hello, {whom}")
        """,
    )
    monkeypatch.setenv("BMERGE_GREET_NAME", "world")
    assert bmerge("greet", "--plugin", plugin).out == "hello, world\n"
    assert bmerge("greet", "--name", "you", "--plugin", plugin).out == "hello, you\n"
