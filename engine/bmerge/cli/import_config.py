"""``bmerge import-config``: the configuration of another optimiser of merges as a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bmerge.cli.output import json_option, note, print_json, show
from bmerge.cli.session import Session, shared_options
from bmerge.cli.targets import check_yaml_target, force_option, named_output
from bmerge.errors import RecipeError
from bmerge.foreign.old_files import OldFolder, open_folder
from bmerge.foreign.old_merger import study_of_merger
from bmerge.foreign.old_optim import study_of_optim
from bmerge.formats.target import write_file
from bmerge.method import MergeMethod
from bmerge.recipe.yaml_dumper import dump

__all__ = ["command"]


@click.command("import-config")
@click.argument("folder")
@click.option("-o", "--output", metavar="FILE", help="The study to write; default: print it.")
@force_option
@json_option()
@shared_options
@click.pass_obj
def command(
    session: Session, folder: str, *, output: str | None, force: bool, as_json: bool
) -> None:
    """Turn another optimiser's configuration into a study.

    FOLDER is that of sd-webui-bayesian-merger or sd-optim, or its folder conf: config.yaml, the
    payloads and the guide that it names. Models, wildcards and payloads stay where they are. What
    has no counterpart here is listed, on stderr and at the head of the study file.

    \b
    Examples:
      bmerge import-config ~/sd-webui-bayesian-merger -o study.yaml
      bmerge run study.yaml --check
    """
    target = None if output is None else named_output(output)
    if target is not None:
        check_yaml_target(target, "study", force=force)
    old = open_folder(Path(folder).expanduser())
    method = _method(session, old)
    data = _study(old, method)
    for line in old.lost:
        note(f"not carried over: {line}")
    if as_json:
        print_json({"output": output, "study": data, "lost": old.lost})
    text = _text(old, data)
    if target is not None:
        write_file(target, text.encode())
        _check(target)
    elif not as_json:
        show(text, end="")
    if target is not None and not as_json:
        show(str(target))


def _method(session: Session, old: OldFolder) -> MergeMethod:
    name = old.config.get("merge_method" if old.is_optim else "merge_mode")
    if not isinstance(name, str):
        raise RecipeError("names no merge method", path=old.path / "config.yaml")
    return session.registry().method(name)


def _study(old: OldFolder, method: MergeMethod) -> dict[str, Any]:
    data = study_of_optim(old, method) if old.is_optim else study_of_merger(old, method)
    old.lose_others()
    return data


def _text(old: OldFolder, data: dict[str, Any]) -> str:
    tool = "sd-optim" if old.is_optim else "sd-webui-bayesian-merger"
    head = [f"# The configuration of {tool} in {old.path}."]
    if old.lost:
        head += ["# Not carried over:", *(f"# - {' '.join(line.split())}" for line in old.lost)]
    return "\n".join(head) + "\n" + dump(data)


def _check(path: Path) -> None:
    """Say what is still to be fixed in what was written."""
    from bmerge.study_file.load import load_study  # it brings all that studies need

    try:
        load_study(path)
    except RecipeError as error:
        note(f"warning: the study cannot be run as it is: {error}")
