"""Paints the pictures of ``docs/methods/``: ``make docs-pictures``.

One contact sheet for each merge method: the demo's models, then their merge at the method's
defaults and at what ``settings.yaml`` says, all with the same prompts and seed. Without names,
those methods are painted that have no picture yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import yaml
from PIL import Image, ImageDraw, ImageFont

from bmerge import BlockWeights, MergeMethod, Payload, load_registry
from bmerge.bench import Benchmark, BenchModels, Where, models_of
from bmerge.bench.loop import as_it_is
from bmerge.bench.scene import Scene
from bmerge.method import ContentKind
from bmerge.recipe import ModelRef, Recipe, Step, Value
from bmerge.study_file.load import load_study

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "methods"
DEMO = DOCS.parent / "plugins" / "bmerge_plugins" / "demo" / "bench.yaml"
PROMPTS = (
    "an orange star", "a purple heart", "a cyan moon", "a pink arrow",
    "a red star", "a blue arrow", "an orange circle", "a green cross",
)  # fmt: skip
SEED = 7
SIDE, GAP, HEAD, NAMES = 88, 3, 24, 176

Row = tuple[str, list[Image.Image]]


class Painter:
    """Paints rows of pictures; those of the models themselves once."""

    def __init__(self, models: BenchModels, recipe: Recipe, scene: Scene) -> None:
        self.models, self.recipe, self.scene = models, recipe, scene
        self.known: dict[str, Row] = {}

    def sheet(self, method: MergeMethod, numbers: Mapping[str, float]) -> Image.Image:
        """Return the contact sheet of a method; ``numbers`` are of its second merge."""
        merge = self.merge(method, {})
        rows = [
            self.model(m)
            for m in (*self.models.parents, self.models.base)
            if m in self.models.parents or m.path in {model.path for model in merge.models}
        ]
        rows.append(("at its defaults", self.paint(merge, method)))
        if numbers:
            text = "\n".join(f"{name} {value:g}" for name, value in numbers.items())
            rows.append((text, self.paint(self.merge(method, numbers), method)))
        return draw(method.name, rows)

    def merge(self, method: MergeMethod, numbers: Mapping[str, float]) -> Recipe:
        """Return the merge of the models; where a method takes differences, theirs to the base."""
        weights = {name: BlockWeights(value) for name, value in numbers.items()}
        if ContentKind.DIFFERENCE not in method.takes:
            inputs = self.models.of(method)
            return replace(self.recipe, method=method.name, models=inputs, hyperparameters=weights)
        models = (*self.models.parents, self.models.base)
        values = (Value("a"), Value("b", minus="base"))
        named = tuple(replace(m, name=n) for m, n in zip(models, ("a", "b", "base"), strict=True))
        step = Step("merge", method.name, values, weights)
        return replace(self.recipe, method="", models=named, steps=(step,), result=Value("merge"))

    def model(self, ref: ModelRef) -> Row:
        """Return the row of a model as it is."""
        if ref.path not in self.known:
            recipe = replace(self.recipe, method=as_it_is.name, models=(ref,))
            self.known[ref.path] = Path(ref.path).stem, self.paint(recipe, as_it_is)
        return self.known[ref.path]

    def paint(self, recipe: Recipe, method: MergeMethod) -> list[Image.Image]:
        """Return a merge's pictures."""
        shots = self.scene.paint(recipe, {method.name: method} if recipe.steps else method)
        return [shot.picture.image.convert("RGB") for shot in shots]


def draw(title: str, rows: Sequence[Row]) -> Image.Image:
    """Return rows of pictures under their prompts, with a name before each row."""
    step = SIDE + GAP
    sheet = Image.new("RGB", (NAMES + len(PROMPTS) * step, HEAD + len(rows) * step), "white")
    pen = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(15), ImageFont.load_default(11)
    pen.text((8, 4), title, "#c2600f", font=ImageFont.load_default(14))
    for column, prompt in enumerate(PROMPTS):
        pen.text((NAMES + column * step + SIDE / 2, 6), prompt, "#666b76", font=small, anchor="ma")
    for index, (name, images) in enumerate(rows):
        top = HEAD + index * step
        lines = name.count("\n") + 1
        pen.multiline_text(
            (8, top + SIDE / 2), name, "#1c1e24", font=font if lines < 4 else small, anchor="lm"
        )
        for column, image in enumerate(images):
            large = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(large, (NAMES + column * step, top))
    return sheet


def main() -> None:
    """Paint the methods that are named, all of them, or those without a picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="methods, or 'all'; default: those without one")
    names = parser.parse_args().names
    config, registry = load_study(DEMO), load_registry()
    settings = yaml.safe_load((FOLDER / "settings.yaml").read_text(encoding="utf-8"))
    first = config.payloads[0]
    payloads: tuple[Payload, ...] = tuple(
        replace(first, id=f"s{index}", prompt=prompt, seed=SEED)
        for index, prompt in enumerate(PROMPTS)
    )
    models = models_of(registry.method(config.merge.method), config.merge.models)
    scene = Scene(Benchmark(config, models, (), FOLDER, payloads, Where()), registry)
    painter = Painter(models, config.merge, scene)
    missing = [name for name in registry.methods if not (FOLDER / f"{name}.webp").exists()]
    try:
        for name in (list(registry.methods) if names == ["all"] else names) or missing:
            file = FOLDER / f"{name}.webp"
            sheet = painter.sheet(registry.method(name), settings.get(name, {}))
            sheet.save(file, "WEBP", quality=80, method=6)
            click.echo(f"{file.relative_to(DOCS)}  {file.stat().st_size / 1000:.0f} kB")
    finally:
        scene.close()


if __name__ == "__main__":
    main()
