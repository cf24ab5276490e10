"""Recipes of sd-mecha: its graph of instructions as a recipe of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge.errors import RecipeError, nearest
from bmerge.foreign.builder import RecipeBuilder
from bmerge.foreign.mecha_methods import DIFFERENT, MASKS, METHODS, MechaMethod
from bmerge.foreign.mecha_text import Argument, Instruction, Ref, parse_mecha
from bmerge.recipe import ZERO, BlockWeights, ModelRef, Recipe, Value
from bmerge.recipe.asking import Asking, answered

__all__ = ["read_mecha"]

_BLOCKS = {"sd1-supermerger_blocks": "sd1-mecha", "sdxl-supermerger_blocks": "sdxl-mecha"}
"""Its block lists → our architecture with the same blocks."""
_LEAST = {"subtract": 2, "pick_component": 2, "omit_component": 2, "add_difference": 2}
"""Its merges → how many arguments they take, where that is more than one."""
_PARTS = {
    "sd1-ldm": {"clip_l": "text_encoder", "vae": "vae", "diffuser": "unet"},
    "sdxl-sgm": {
        "clip_l": "conditioner.embedders.0.*",
        "clip_g": "conditioner.embedders.1.*",
        "vae": "vae",
        "diffuser": "unet",
    },
}
"""Its model configurations → component → a part of ours."""


def read_mecha(text: str, path: Path | None = None) -> Recipe:
    """Return the recipe that the text of a ``.mecha`` file is.

    Raises:
        RecipeError: if it is not well-formed, or has what has no counterpart here.
    """
    reader = _Reader(parse_mecha(text, path))
    last = len(reader.instructions) - 1
    result = answered(reader.value(Ref(last), reader.instructions[last]))
    content = "difference" if reader.is_difference(result) else "model"
    return reader.builder.recipe(
        result, architecture=reader.architecture, content=content, seed=reader.seed
    )


class _Reader:
    """Goes through the instructions that the result needs."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self.instructions = instructions
        self.builder = RecipeBuilder()
        self.architecture: str | None = None
        self.seed = 0
        self._values: dict[int, Value] = {}
        self._differences: set[Value] = set()
        self._configs: set[str] = set()

    def value(self, ref: Argument, at: Instruction) -> Asking[Value]:
        """Return a model or what a step makes, for an instruction that takes it."""
        if not isinstance(ref, Ref):
            raise at.error(f"a model or a merge is needed, not {ref!r}")
        if ref.index not in self._values:
            self._values[ref.index] = yield self._make(self.instructions[ref.index])
        return self._values[ref.index]

    def _all(self, refs: Sequence[Argument], at: Instruction) -> Asking[tuple[Value, ...]]:
        found: list[Value] = []
        for ref in refs:
            found += [(yield self.value(ref, at))]
        return tuple(found)

    def is_difference(self, value: Value) -> bool:
        """Tell whether a value is a difference."""
        return value.minus is not None or value in self._differences

    def _make(self, at: Instruction) -> Asking[Value]:
        if at.command == "model":
            return self._model(at)
        if at.command != "merge" or not at.values:
            raise at.error("a model or a merge is needed here")
        name = str(at.values[0])
        inputs = at.values[1:]
        if len(inputs) < _LEAST.get(name, 1):
            raise at.error(f"{name} takes {_LEAST.get(name, 1)} or more, not {len(inputs)}")
        if name == "subtract":
            return self._subtract(at, *(yield self._all(inputs[:2], at)))
        if name == "fallback":
            values: tuple[Value, ...] = yield self._all(inputs, at)
            return self._like(self.builder.fallback(values), values[0])
        if name in {"pick_component", "omit_component"}:
            value: Value = yield self.value(inputs[0], at)
            return self._like(self._component(at, name, value, inputs[1]), value)
        if name == "add_difference":
            known: Value | None = yield self._known_pattern(at)
            if known is not None:
                return known
        if name not in METHODS:
            raise _unknown(at, name)
        made: Value = yield self._method(at, METHODS[name])
        return made

    def _model(self, at: Instruction) -> Value:
        if not at.values or not isinstance(at.values[0], str):
            raise at.error("a model has no path")
        config = at.named.get("model_config")
        if isinstance(config, str) and config.endswith(("lora", "lokr")):
            hint = "write it under 'loras' of a model in a recipe of bmerge"
            raise at.error(f"LoRAs as models ({config}) cannot be read", hint)
        if isinstance(config, str):
            self._configs.add(config)
        delta = at.named.get("merge_space") == "delta"
        ref = ModelRef(at.values[0], content="difference" if delta else "model")
        value = self.builder.model(ref)
        if delta:
            self._differences.add(value)
        return value

    def _subtract(self, at: Instruction, x: Value, y: Value) -> Value:
        if x.minus is not None or y.minus is not None:
            raise at.error("a difference of differences has no counterpart here")
        return Value(x.name, y.name)

    def _like(self, value: Value, source: Value) -> Value:
        if self.is_difference(source):
            self._differences.add(value)
        return value

    def _component(self, at: Instruction, name: str, value: Value, part: Argument) -> Value:
        wanted = self._parameter(part, at)
        config = next((c for c in sorted(self._configs) if c in _PARTS), None)
        if config is None:
            raise at.error("the components of the model are not known: it has no model_config")
        parts = _PARTS[config]
        if not isinstance(wanted, str) or wanted not in parts:
            hint = nearest(str(wanted), parts)
            raise at.error(f"component {wanted!r} of {config} has no counterpart here", hint)
        if name == "pick_component":
            return self.builder.pick({parts[wanted]: value})
        return self.builder.pick({p: value for c, p in parts.items() if c != wanted})

    def _known_pattern(self, at: Instruction) -> Asking[Value | None]:
        """Return what a + … is as a method of three models, where it is written out in parts."""
        a, other, *_ = at.values[1:]
        inner = self._merge(other)
        if inner is None:
            return None
        name, parts = inner
        alpha = self._parameter(at.values[3] if len(at.values) > 3 else 1.0, at)
        if name == "perpendicular_component" and len(parts) == 2:
            merges = [each for part in parts if (each := self._merge(part)) is not None]
            pairs = [pair for name, pair in merges if name == "subtract" and len(pair) == 2]
            if len(pairs) == 2:
                (x, c), (y, d) = pairs
                if x == a and c == d:
                    values = yield self._all((a, y, c), at)
                    return self._of_three(at, "add_perpendicular", values, alpha)
        if name == "scale" and alpha == 1.0 and len(parts) == 2:
            difference, mask = (self._merge(part) for part in parts)
            if difference and mask and difference[0] == "subtract" and mask[0] in MASKS:
                models = mask[1][:3]
                if (a, *difference[1]) == models:
                    factor = self._parameter(mask[1][3] if len(mask[1]) > 3 else 1.0, at)
                    values = yield self._all(models, at)
                    return self._of_three(at, MASKS[mask[0]], values, factor)
        return None

    def _merge(self, ref: Argument) -> tuple[str, tuple[Argument, ...]] | None:
        """Return name and arguments of a merge."""
        at = self.instructions[ref.index] if isinstance(ref, Ref) else None
        if at is None or at.command != "merge" or not at.values:
            return None
        return str(at.values[0]), at.values[1:]

    def _of_three(
        self, at: Instruction, method: str, models: tuple[Value, ...], alpha: object
    ) -> Value:
        weights = {"alpha": _weights(alpha, at, "alpha")}
        return self.builder.step(method, models, weights, {})

    def _method(self, at: Instruction, known: MechaMethod) -> Asking[Value]:
        count = len(at.values) - 1 if known.models is None else known.models
        models, rest = at.values[1 : count + 1], at.values[count + 1 :]
        names = (*known.parameters, *known.choices, *known.only)
        given = {**dict(zip(names, rest, strict=False)), **at.named}
        weights: dict[str, BlockWeights] = {}
        if known.seeded:
            self._seed(given.pop("seed", None), at)
        options = dict(known.options)
        for name, default in known.parameters.items():
            value = self._parameter(given.pop(name, default[1]), at)
            weights[default[0]] = _weights(value, at, name)
        for name, choices in known.choices.items():
            default_choice = next(iter(choices))
            options |= choices[bool(self._parameter(given.pop(name, default_choice), at))]
        for name, argument in given.items():
            value = self._parameter(argument, at)
            if name not in known.only or value not in (known.only[name], None):
                raise at.error(f"{at.values[0]}: {name}={value} has no counterpart here")
        stock = known.ours == "model_stock" or options.get("mean") == "stock"
        if stock and len(models) > 2:
            hint = "it takes the angles between neighbours only"
            raise at.error(f"{at.values[0]} of more than two has no counterpart here", hint)
        if len(models) < count:
            raise at.error(f"{at.values[0]} takes {count} models, not {len(models)}")
        values: tuple[Value, ...] = yield self._all(models, at)
        inputs = (ZERO, *values) if known.from_zero else values
        return self._like(self.builder.step(known.ours, inputs, weights, options), values[0])

    def _seed(self, argument: Argument, at: Instruction) -> None:
        """Take a seed; the numbers that it gives are others, so that one for all will do."""
        seed = self._parameter(argument, at)
        if seed is not None and self.seed == 0:
            self.seed = max(0, int(_number(seed, at, "seed")))

    def _parameter(self, argument: Argument, at: Instruction) -> object:
        """Return a number, word, truth value, or weights of blocks."""
        if not isinstance(argument, Ref):
            return argument
        source = self.instructions[argument.index]
        if source.command == "dict":
            return source.named
        while (made := self._merge(argument)) is not None and made[0].startswith("convert_"):
            argument = Ref(_ref(source, 1))
            source = self.instructions[argument.index]
        if source.command != "literal":
            raise at.error(f"the result of {source.command!r} as a parameter is not known")
        values = self.instructions[_ref(source, 0)].named
        config = source.named.get("model_config")
        if config == "singleton-mecha":
            if "key" not in values:
                raise source.error("a literal needs a dict with a key")
            return values["key"]
        if config not in _BLOCKS:
            raise source.error(f"weights by {config!r} have no counterpart here")
        return self._blocks(source, _BLOCKS[str(config)], values)

    def _blocks(
        self, at: Instruction, architecture: str, values: Mapping[str, Argument]
    ) -> BlockWeights:
        if self.architecture not in (None, architecture):
            raise at.error(f"weights of {self.architecture} and of {architecture} in one recipe")
        self.architecture = architecture
        numbers = {name: _number(value, at, name) for name, value in values.items()}
        if "BASE" not in numbers:
            raise at.error("the weights of blocks have no BASE")
        default = numbers.pop("BASE")
        return BlockWeights(default, {b: v for b, v in numbers.items() if v != default})


def _ref(at: Instruction, place: int) -> int:
    """Return the number of the instruction that another one takes."""
    value = at.values[place] if place < len(at.values) else None
    if not isinstance(value, Ref):
        raise at.error(f"{at.command} needs the result of another instruction")
    return value.index


def _weights(value: object, at: Instruction, name: str) -> BlockWeights:
    if isinstance(value, BlockWeights):
        return value
    return BlockWeights(_number(value, at, name))


def _number(value: object, at: Instruction, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise at.error(f"{name} must be a number, not {value!r}")
    return float(value)


def _unknown(at: Instruction, name: str) -> RecipeError:
    known = [*METHODS, "subtract", "fallback", "pick_component", "omit_component"]
    hint = DIFFERENT.get(name) or (nearest(name, known) if name not in MASKS else None)
    return at.error(f"sd-mecha's {name!r} has no counterpart here", hint)
