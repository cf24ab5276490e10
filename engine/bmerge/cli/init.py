"""``bmerge init``: from models to a study file that runs, by questions or by options."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import click

from bmerge.cli.output import human_bytes, human_time, note, show
from bmerge.cli.session import Session, shared_options
from bmerge.cli.targets import check_yaml_target, force_option, named_output
from bmerge.errors import GeneratorError, RecipeError, counted
from bmerge.evaluate.weights import scorer_folder
from bmerge.extras import absent, install_line
from bmerge.formats.target import write_file
from bmerge.host import Registry
from bmerge.host.kinds import GeneratorKind, ScorerKind
from bmerge.records import dataclass
from bmerge.study_file.load import load_study
from bmerge.wizard import (
    Answers,
    Server,
    StudyModels,
    fewest_trials,
    find_servers,
    look_at,
    study_text,
)

__all__ = ["command"]

_METHODS = {2: "weighted_sum", 3: "add_difference"}
_IN_PROCESS = ("sd1", "sd2", "sdxl")
"""Architectures that the generator ``diffusers`` needs no further files for."""
_JUDGES = ("pickscore", "imagereward", "hps", "laion_aesthetic", "clip_score")
_STUDY = ("optuna", "jinja2", "scipy")
"""What every study needs of the extra."""
_SECONDS = 5
"""That a picture may take, for the sum that is shown."""


@click.command("init")
@click.argument("models", nargs=-1)
@click.option("-o", "--output", metavar="FILE", default="study.yaml", show_default=True)
@click.option("--method", metavar="NAME", help="Merge method; default: by the number of models.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="URL",
    help="Where to look for a program that paints; default: usual addresses. May be repeated.",
)
@click.option("--generator", metavar="NAME", help="What paints; default: what is found.")
@click.option("--models-dir", metavar="DIR", help="The folder that it scans for checkpoints.")
@click.option(
    "--judge", "judges", multiple=True, metavar="NAME", help="What judges; may be repeated."
)
@click.option(
    "--prompt", "prompts", multiple=True, metavar="TEXT", help="A prompt; may be repeated."
)
@click.option("--pictures", type=click.IntRange(1, 1000), metavar="N", help="Of every trial.")
@click.option("--trials", type=click.IntRange(3), metavar="N", help="In all.")
@force_option
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    models: tuple[str, ...],
    output: str,
    method: str | None,
    addresses: tuple[str, ...],
    generator: str | None,
    models_dir: str | None,
    judges: tuple[str, ...],
    prompts: tuple[str, ...],
    pictures: int | None,
    trials: int | None,
    force: bool,
) -> None:
    """Write a first study file; asks what is not given.

    Looks at the models, for programs that paint at their usual addresses (A1111, Forge, SD.Next,
    ComfyUI), and at what can judge here. In a terminal it asks; elsewhere it takes what is found
    and says so. The file has comments, and `bmerge run FILE --check` accepts it.

    \b
    Examples:
      bmerge init a.safetensors b.safetensors
      bmerge init a.safetensors b.safetensors --judge person --trials 30 -o portraits.yaml
      bmerge init a.safetensors b.safetensors --address http://192.168.0.7:7860 \\
          --models-dir /mnt/webui/models/Stable-diffusion
    """
    file = named_output(output)
    check_yaml_target(file, "study", force=force)
    registry, ask = session.registry(), _Asker(_is_terminal())
    for name in judges:
        _check_options(registry.scorer(name))
    paths = [Path(model).expanduser() for model in models] or ask.models()
    if len(paths) == 1 and method is None:
        message = "one model is nothing to merge: name another one"
        raise RecipeError(message, hint="or a --method that takes one, such as passthrough")
    method = method or ask.text("Merge method", _METHODS.get(len(paths), "linear"))
    seen = look_at([path.absolute() for path in paths], method, registry)
    show(f"models      {len(paths)}, {seen.architecture.name}, {human_bytes(seen.nbytes)} a merge")
    painter = _painter(seen, ask, addresses or None, generator, models_dir)
    _check_options(registry.generator(painter.name), painter.options)
    scorers = judges or (ask.choice("What judges the pictures?", *_judges(registry)),)
    answers = Answers(
        name=file.stem,
        models=seen,
        method=method,
        generator=painter.name,
        options=painter.options,
        scorers=tuple(registry.scorer(name).name for name in scorers),
        prompts=prompts,
        pictures=pictures or ask.number("Pictures of every trial", len(prompts) or 12),
        trials=trials or ask.number("Trials in all", 40, fewest_trials(seen)),
    )
    text = study_text(answers)
    load_study(file, text)  # odd answers would make one that does not run
    write_file(file, text.encode())
    _tell(answers, file, registry)


def _check_options(kind: ScorerKind | GeneratorKind, given: Collection[str] = ()) -> None:
    """Refuse a scorer or generator with options that must be given, which nobody is asked for.

    Raises:
        RecipeError: names it and them.
    """
    needed = [repr(each.name) for each in kind.options if each.required and each.name not in given]
    if needed:
        message = f"{kind.name} needs {' and '.join(needed)}, which init does not ask for"
        raise RecipeError(message, hint="take another one, and change the study file afterwards")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(frozen=True, slots=True)
class _Painter:
    name: str
    options: dict[str, Any] = field(default_factory=dict)


class _Asker:
    """Asks where there is a terminal, and takes the default where there is none."""

    def __init__(self, terminal: bool) -> None:  # noqa: FBT001
        self.terminal = terminal

    def models(self) -> list[Path]:
        """Ask for two or more files."""
        if not self.terminal:
            raise click.UsageError("name the models: bmerge init a.safetensors b.safetensors")
        paths: list[Path] = []
        while len(paths) < 2 or self._more():
            path = Path(click.prompt(f"Model {len(paths) + 1}", err=True)).expanduser()
            if path.exists():
                paths.append(path)
            else:
                note(f"there is no file {path}")
        return paths

    def text(self, question: str, default: str) -> str:
        """Ask for a word."""
        if not self.terminal:
            return default
        return str(click.prompt(question, default=default, err=True))

    def number(self, question: str, default: int, least: int = 1) -> int:
        """Ask for a number, until it is large enough."""
        if not self.terminal:
            return default
        kind = click.IntRange(least)
        return int(click.prompt(question, default=default, type=kind, err=True))

    def choice(self, question: str, names: Sequence[str], meanings: Sequence[str]) -> str:
        """Ask for one of several; the first is the default."""
        if not self.terminal or len(names) == 1:
            return names[0]
        note(question)
        for name, meaning in zip(names, meanings, strict=True):
            note(f"  {name:<28} {meaning}")
        return str(click.prompt("Name", default=names[0], type=click.Choice(names), err=True))

    def _more(self) -> bool:
        return click.confirm("One more model?", default=False, err=True)


def _painter(
    models: StudyModels,
    ask: _Asker,
    addresses: Sequence[str] | None,
    generator: str | None,
    folder: str | None,
) -> _Painter:
    """Return what paints: what was named, or what answers, or diffusers in this process."""
    found = (
        [] if generator == "diffusers" else find_servers(addresses) if addresses else find_servers()
    )
    for server in found:
        note(
            f"{server.what} at {server.address}" + (f" {server.problem}" if server.problem else "")
        )
    usable = {s.address: s for s in found if not s.problem and generator in {None, s.generator}}
    if usable:
        address = ask.choice(
            "What paints?", list(usable), [server.what for server in usable.values()]
        )
        return _over(usable[address], models, ask, folder)
    if generator not in {None, "diffusers"}:
        return _Painter(str(generator), {"addresses": list(addresses)} if addresses else {})
    if addresses and generator is None:
        message = f"no program that paints answers at {', '.join(addresses)}"
        raise GeneratorError(message, hint="is it running? a web UI needs --api")
    return _in_process(models, asked=generator is not None)


def _over(server: Server, models: StudyModels, ask: _Asker, folder: str | None) -> _Painter:
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise GeneratorError(f"there is no folder {folder}", hint="--models-dir names one")
    folders = server.model_folders if models.settings.model_only else server.folders
    if folder is None and not folders and not ask.terminal:
        message = f"where {server.what} looks for checkpoints is not known on this machine"
        raise GeneratorError(message, hint="name the folder by --models-dir")
    options: dict[str, Any] = {"addresses": [server.address]}
    known = str(folders[0]) if folders else ""
    options["models_dir"] = folder or (known or ask.text("Its folder of checkpoints", known))
    if server.generator == "comfyui" and models.settings.workflow != "default":
        options["workflow"] = models.settings.workflow
    return _Painter(server.generator, options)


def _in_process(models: StudyModels, *, asked: bool) -> _Painter:
    missing = absent(("diffusers", "transformers", "accelerate", "torch"))
    known = models.architecture.id in _IN_PROCESS
    if asked or (known and not missing):
        return _Painter("diffusers")
    message = "no program that paints answers at the usual addresses"
    hint = "start A1111, Forge or SD.Next with --api, or ComfyUI; --address names another place"
    if known:
        line = install_line((*missing, *absent(_STUDY)))
        hint = f"{hint}; or without any of them: {line}"
    raise GeneratorError(message, hint=hint)


def _judges(registry: Registry) -> tuple[list[str], list[str]]:
    """Return names and meanings of what can judge here; the default first."""
    kinds = [registry.scorer(name) for name in _JUDGES if name in registry.scorers]
    ready = [kind for kind in kinds if not absent(kind.needs) and _is_fetched(kind)]
    person = [registry.scorer("person")] if "person" in registry.scorers else []
    chosen = [*ready, *person]
    if not chosen:
        raise RecipeError("nothing can judge", hint="`bmerge scorers` lists what there is")
    return [kind.name for kind in chosen], [kind.summary for kind in chosen]


def _is_fetched(kind: ScorerKind) -> bool:
    root = scorer_folder()
    return all((root / d.place).is_file() for d in kind.downloads if not d.optional)


def _tell(answers: Answers, file: Path, registry: Registry) -> None:
    """Say what was chosen, what it will cost, and what comes next."""
    pictures = answers.trials * answers.pictures
    show(
        f"paints      {answers.generator} {' '.join(answers.options.get('addresses', []))}".rstrip()
    )
    show(f"judges      {', '.join(answers.scorers)}")
    show(
        f"costs       {answers.trials} trials of {counted(answers.pictures, 'picture')}, "
        f"{pictures} in all: {human_time(pictures * _SECONDS)} at {_SECONDS} s a picture"
    )
    disk = human_bytes(2 * answers.models.nbytes)
    show(f"            {disk} of disk, for a trial's merge and the best one")
    needs = {need for name in answers.scorers for need in registry.scorer(name).needs}
    needs.update(registry.generator(answers.generator).needs, _STUDY)
    if missing := absent(sorted(needs)):
        show(f"install     {install_line(missing)}")
    for name in answers.scorers:
        if not _is_fetched(registry.scorer(name)):
            show(f"fetch       bmerge scorers fetch {name}")
    show(f"written     {file}")
    show(f"next        bmerge run {file} --check, then bmerge run {file}")
    if "person" in answers.scorers:
        show(f"            and next to it bmerge rate runs/{answers.name}")
