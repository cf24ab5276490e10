"""A recipe: everything that one merge depends on, as data.

The simple form applies one method to the models. The other one has named steps, whose results
other steps take; :meth:`Recipe.as_steps` makes the second of the first.

Two merges from equal recipes and equal input files give equal bytes. A recipe names things; it
does not open files or plugins. Reading one from YAML or JSON is in :mod:`bmerge.recipe.load`,
turning its block weights into a number per tensor in :mod:`bmerge.recipe.weights`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Literal, TypeAlias

from bmerge.errors import RecipeError
from bmerge.formats import Form
from bmerge.recipe.order import CircleError, in_order
from bmerge.records import dataclass

__all__ = [
    "ZERO",
    "AnyStep",
    "BlockWeights",
    "Clamp",
    "Content",
    "Fallback",
    "LoraRef",
    "ModelRef",
    "OnMissing",
    "OnNonFinite",
    "Pick",
    "PluginRef",
    "Quantise",
    "Recipe",
    "Rounding",
    "Step",
    "Value",
]

OnMissing = Literal["keep", "error"]
OnNonFinite = Literal["error", "report"]
Clamp = Literal["none", "all", "ab"]
Rounding = Literal["nearest", "stochastic"]
Quantise = Literal[
    "auto", "none", "fp8_scaled", "mxfp8", "nvfp4", "int8",
    "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k",
]  # fmt: skip
Content = Literal["model", "difference"]
"""What tensors hold: weights, or what is to be added to weights."""


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """One hyperparameter's value for every block, and for keys that are to have their own.

    Args:
        default: for each block that ``blocks`` does not name.
        blocks: block id → value; ids of the recipe's architecture.
        keys: glob pattern of whole keys → value; goes before blocks, the last that matches first.
    """

    default: float
    blocks: Mapping[str, float] = field(default_factory=dict)
    keys: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_uniform(self) -> bool:
        """Whether it is the same everywhere."""
        return not self.blocks and not self.keys

    @property
    def assignments(self) -> dict[str, float]:
        """Everything as a recipe writes it: ``*``, blocks, patterns of keys."""
        return {"*": self.default, **self.blocks, **self.keys}

    def of(self, block: str, patterns: Collection[str] = ()) -> float:
        """Return the value in ``block``, for a key that matches ``patterns``."""
        own = [value for pattern, value in self.keys.items() if pattern in patterns]
        return own[-1] if own else self.blocks.get(block, self.default)


@dataclass(frozen=True, slots=True)
class LoraRef:
    """A LoRA on a model.

    Args:
        path: as the user wrote it, relative to the recipe's folder or absolute.
        weights: what its changes are multiplied by, per block.
        sha256: of its bytes, if the recipe is to be refused with any other file.
    """

    path: str
    weights: BlockWeights = field(default_factory=lambda: BlockWeights(1.0))
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One input model.

    Args:
        path: as the user wrote it, relative to the recipe's folder or absolute.
        sha256: of its bytes, if the recipe is to be refused with any other file.
        loras: whose changes are added to it.
        name: by which steps call it; empty in a recipe without steps.
        content: what is in the file.
    """

    path: str
    sha256: str | None = None
    loras: tuple[LoraRef, ...] = ()
    name: str = ""
    content: Content = "model"


@dataclass(frozen=True, slots=True)
class PluginRef:
    """A plugin whose code a recipe or a study needs: a file, or part of a distribution.

    Args:
        path: of the file, relative to the recipe's folder or absolute; or its bare name.
        distribution: that installs it, where it is not a file.
        version: of that distribution.
        sha256: of its code, see :func:`bmerge.host.code.code_sha256`.
    """

    path: str | None = None
    distribution: str | None = None
    version: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        """Return it for people."""
        return self.path or f"{self.distribution} {self.version or ''}".rstrip()


@dataclass(frozen=True, slots=True)
class Value:
    """What a step takes: a model, another step's result, or the difference of two of these.

    Args:
        name: of a model or step; ``0`` is the difference that changes nothing.
        minus: name of what is subtracted from it, if anything is.
    """

    name: str
    minus: str | None = None

    def __str__(self) -> str:
        """Return the value as recipes have it."""
        return self.name if self.minus is None else f"{self.name} - {self.minus}"

    @property
    def names(self) -> tuple[str, ...]:
        """The models and steps that it needs."""
        if self == ZERO:
            return ()
        return (self.name,) if self.minus is None else (self.name, self.minus)


ZERO = Value("0")


@dataclass(frozen=True, slots=True)
class Step:
    """A merge method applied to values.

    Args:
        name: by which others call its result.
        method: name of the merge method.
        inputs: in the order of the method's parameters.
        hyperparameters: name → value per block; those left out take the method's default.
        options: name → value of the method's options; those left out have their default.
        seed: of random numbers; None takes the recipe's.
        clamp: limit each element of the result to the range of that element in all inputs or in
            the first two.
    """

    name: str
    method: str
    inputs: tuple[Value, ...]
    hyperparameters: Mapping[str, BlockWeights] = field(default_factory=dict)
    options: Mapping[str, str | bool] = field(default_factory=dict)
    seed: int | None = None
    clamp: Clamp = "none"

    def label(self, name: str) -> str:
        """Return what one of its numbers is called in the whole recipe."""
        return f"{self.name}.{name}" if self.name else name


@dataclass(frozen=True, slots=True)
class Pick:
    """A model put together from parts of others.

    Args:
        name: by which others call it.
        parts: a component, block, range of blocks or pattern of keys → what it comes from; see
            :mod:`bmerge.plan.parts`.
    """

    name: str
    parts: Mapping[str, Value]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What the parts come from."""
        return tuple(self.parts.values())


@dataclass(frozen=True, slots=True)
class Fallback:
    """Models in the order in which they are looked through for each key.

    Args:
        name: by which others call it.
        inputs: a key is taken from the first that has it.
    """

    name: str
    inputs: tuple[Value, ...]


AnyStep: TypeAlias = Step | Pick | Fallback


@dataclass(frozen=True, slots=True)
class Recipe:
    """One merge.

    Args:
        method: name of the merge method; empty in a recipe of steps.
        models: the inputs, in the order of the method's parameters (a, b, c, …) if there is one.
        hyperparameters: name → value per block; those left out take the method's default.
        dtype: safetensors tag of the merged tensors; None keeps each tensor's own, which is
            the first model's.
        architecture: id of the block map; None detects it.
        seed: of the methods that draw random numbers.
        on_missing: a key that some input lacks keeps the first model's tensor, or is an error.
        on_nonfinite: NaN or infinity in an input stops the merge, or is only reported.
        options: name → value of the method's options; those left out have their default.
        rebasin: in how many steps the other models are aligned to the first; 0: not at all.
        clamp: limit each element of the result to the range of that element in all models or in
            the first two.
        exclude: blocks, ranges of blocks and glob patterns of keys whose tensors stay the first
            model's, byte for byte.
        partial_loras: take LoRAs of which most layers find no place.
        prune: leave out what only training needs: EMA weights, the optimiser's state and the like.
        rounding: how results become numbers of a narrow dtype.
        layout: how the first model is laid out, and with it the result; see
            :data:`bmerge.formats.LAYOUTS`. None: as it is.
        parts: of the first model that are kept, of :data:`bmerge.formats.PARTS` or as diffusers
            calls its components; empty: all.
        prefix: what is before the keys of its diffusion model, or of its only part; None: what is.
        quantise: the format of quantised weights in the output; ``auto`` is the first model's, as
            far as ``dtype`` names none. Types that begin with q are of GGUF files.
        steps: in any order; empty where there is one method.
        result: what of models and steps is written; None: what the method makes.
        content: what is written.
        plugins: that it needs besides bmerge's own.
    """

    method: str
    models: tuple[ModelRef, ...]
    hyperparameters: Mapping[str, BlockWeights] = field(default_factory=dict)
    dtype: str | None = None
    architecture: str | None = None
    seed: int = 0
    on_missing: OnMissing = "keep"
    on_nonfinite: OnNonFinite = "error"
    options: Mapping[str, str | bool] = field(default_factory=dict)
    rebasin: int = 0
    clamp: Clamp = "none"
    exclude: tuple[str, ...] = ()
    partial_loras: bool = False
    prune: bool = False
    rounding: Rounding = "nearest"
    layout: str | None = None
    parts: tuple[str, ...] = ()
    prefix: str | None = None
    quantise: Quantise = "auto"
    steps: tuple[AnyStep, ...] = ()
    result: Value | None = None
    content: Content = "model"
    plugins: tuple[PluginRef, ...] = ()

    @property
    def form(self) -> Form:
        """How the first model is to be laid out."""
        return Form(self.layout, self.parts, self.prefix)

    @property
    def picks(self) -> bool:
        """Whether parts of models are put together."""
        return any(isinstance(step, Pick) for step in self.steps)

    @property
    def weights(self) -> dict[str, BlockWeights]:
        """What it gives of all hyperparameters; those of a step are called ``STEP.NAME``."""
        steps = (step for step in self.steps if isinstance(step, Step))
        inner = {
            step.label(name): weights
            for step in steps
            for name, weights in step.hyperparameters.items()
        }
        return {**self.hyperparameters, **inner}

    def with_weights(self, weights: Mapping[str, BlockWeights]) -> Recipe:
        """Return the same with other values of hyperparameters, by the names of :attr:`weights`."""
        if self.result is None:
            return replace(self, hyperparameters={**self.hyperparameters, **weights})
        own: dict[str, dict[str, BlockWeights]] = {}
        for name, value in weights.items():
            step, _, number = name.rpartition(".")
            own.setdefault(step, {})[number] = value
        steps = (
            replace(step, hyperparameters={**step.hyperparameters, **own.get(step.name, {})})
            if isinstance(step, Step)
            else step
            for step in self.steps
        )
        return replace(self, steps=tuple(steps))

    def as_steps(self) -> Recipe:
        """Return the same in the form of steps; one method is a step without a name."""
        if self.result is not None:
            return self
        names = [f"model {index}" for index in range(1, len(self.models) + 1)]
        inputs = tuple(map(Value, names))
        step = Step("", self.method, inputs, self.hyperparameters, self.options, clamp=self.clamp)
        models = tuple(replace(m, name=name) for m, name in zip(self.models, names, strict=True))
        return replace(
            self, method="", models=models, hyperparameters={}, options={}, clamp="none",
            steps=(step,), result=Value(""),
        )  # fmt: skip

    def unverified(self) -> Recipe:
        """Return the same, to be carried out with whatever files are there."""
        models = (
            replace(m, sha256=None, loras=tuple(replace(lora, sha256=None) for lora in m.loras))
            for m in self.models
        )
        return replace(self, models=tuple(models))

    def in_order(self) -> tuple[AnyStep, ...]:
        """Return the steps that the result needs, each after those that it needs itself.

        Raises:
            RecipeError: if a step needs itself.
        """
        steps = {step.name: step for step in self.steps}

        def needs(name: str) -> list[str]:
            inputs = steps[name].inputs if name in steps else ()
            return [each for value in inputs for each in value.names]

        try:
            names = in_order(() if self.result is None else self.result.names, needs)
        except CircleError as error:
            raise RecipeError(f"steps need one another: {error}") from error
        return tuple(steps[name] for name in names if name in steps)
