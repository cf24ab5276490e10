"""What a plugin hands over for things that are constructed later: a name and a factory.

Merge methods and architectures are ready-made objects and need none of this.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from bmerge.errors import PluginError, nearest
from bmerge.evaluate.protocols import Generator, Scorer, TrialScorer
from bmerge.evaluate.weights import Download
from bmerge.extras import require
from bmerge.faults import explained
from bmerge.options import annotations_of, problem
from bmerge.options.about import about, bare
from bmerge.records import dataclass
from bmerge.space.protocols import Optimiser, ParameterKind

__all__ = ["FactoryOption", "GeneratorKind", "OptimiserKind", "PluginKind", "ScorerKind"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FactoryOption:
    """One option that a factory takes.

    Args:
        name: as it is written in a study file.
        default: used when it is left out; meaningless if ``required``.
        required: whether it must be given.
        type: its annotation, as text.
    """

    name: str
    default: Any
    required: bool
    type: str


@dataclass(frozen=True, slots=True)
class PluginKind(Generic[T]):
    """A named factory; its keyword-only parameters are the options that users may give.

    Args:
        name: by which study files and the command line call it.
        factory: makes one; heavy imports belong inside it, not in the plugin's module.
        summary: one line for listings.
        incidental: names of the options on which no result depends: where a server is, how long
            is waited for it, how much is done at a time. They may change while a study continues;
            a study that continues with another value of any other option is refused. Options
            that say so themselves (:class:`bmerge.options.About`) need not be named.
        needs: top-level modules that the factory imports and bmerge's core does not bring, such
            as ``torch``. Listings name those that are missing.
    """

    name: str
    factory: Callable[..., T]
    summary: str
    incidental: tuple[str, ...] = field(default=(), kw_only=True)
    needs: tuple[str, ...] = field(default=(), kw_only=True)
    protocols: ClassVar[tuple[type, ...]] = ()
    positional: ClassVar[tuple[str, ...]] = ()

    @property
    def options(self) -> tuple[FactoryOption, ...]:
        """The options, from the factory's signature."""
        parameters = inspect.signature(self.factory).parameters.values()
        return tuple(
            FactoryOption(p.name, p.default, p.default is p.empty, _shown(p.annotation))
            for p in parameters
            if p.kind is p.KEYWORD_ONLY
        )

    def create(self, *arguments: object, options: Mapping[str, Any]) -> T:
        """Make one with ``options``.

        Raises:
            MissingExtraError: if a library that it needs is not installed.
            PluginError: if an option is unknown, a required one is missing, a value is none that
                the factory takes, or the factory fails: the file and line are named.
        """
        self.check(options)
        with explained(f"{self.name} cannot be made", partial(PluginError, plugin=self.name)):
            made = self.factory(*arguments, **options)
        self._check_made(made)
        return made

    def _check_made(self, made: object) -> None:
        """Complain of what does not have the methods that will be called."""
        if not self.protocols or isinstance(made, self.protocols):
            return
        wanted = [name for name in vars(self.protocols[0]) if not name.startswith("_")]
        lacking = [name for name in wanted if not callable(getattr(made, name, None))]
        message = f"{self.name} makes a {type(made).__name__} without the method {lacking[0]!r}"
        raise PluginError(message, plugin=self.name, hint=f"it needs {', '.join(wanted)}")

    def check(self, options: Mapping[str, Any]) -> None:
        """Check the names of ``options``, and their values against annotations, without making one.

        Raises:
            MissingExtraError: if a library that it needs is not installed.
            PluginError: if one is unknown, a required one is missing, or a value does not fit the
                annotation of its option.
        """
        require(self.needs, self.name)
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                message = f"{self.name} has no option {name!r}"
                raise PluginError(message, plugin=self.name, hint=nearest(name, known))
        for option in known.values():
            if option.required and option.name not in options:
                message = f"{self.name} needs the option {option.name!r}"
                raise PluginError(message, plugin=self.name)
        self.check_factory()
        for name in set(self.incidental) - set(known):
            message = f"{self.name} calls {name!r} incidental, which is none of its options"
            raise PluginError(message, plugin=self.name, hint=nearest(name, known))
        annotations = annotations_of(self.factory)
        for name, value in options.items():
            if wrong := problem(value, annotations[name]):
                message = f"the option {name!r} of {self.name} must be {wrong}"
                raise PluginError(message, plugin=self.name, hint=_quotes(value, wrong))

    def check_factory(self) -> None:
        """Check that the factory can be called as it will be: parameters, then options by name.

        Raises:
            PluginError: if it cannot.
        """
        given = {option.name: None for option in self.options}
        try:
            inspect.signature(self.factory).bind(*self.positional, **given)
        except TypeError as error:
            takes = ", ".join((*self.positional, "**options"))
            message = f"the factory of {self.name} cannot be called with ({takes}): {error}"
            hint = "its options are keyword-only parameters: put * before them"
            raise PluginError(message, plugin=self.name, hint=hint) from error

    def essentials(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options on which results depend, with the defaults of those not given."""
        defaults = {o.name: o.default for o in self.options if not o.required}
        known, without_effect = {**defaults, **options}, self.without_effect()
        return {name: value for name, value in known.items() if name not in without_effect}

    def without_effect(self) -> frozenset[str]:
        """Return the names of the options on which no result depends."""
        said = annotations_of(self.factory).items()
        marked = (name for name, annotation in said if about(annotation).incidental)
        return frozenset((*self.incidental, *marked))


def _shown(annotation: object) -> str:
    """Return a type as text, as it stands in a signature."""
    kind = bare(annotation)
    return kind if isinstance(kind, str) else inspect.formatannotation(kind)


def _quotes(value: object, wrong: str) -> str | None:
    """Return a hint for the most common mistake: YAML takes an unquoted 12 for a number."""
    scalar = isinstance(value, (bool, int, float))
    return "put the value in quotes" if scalar and wrong.startswith("text") else None


class GeneratorKind(PluginKind[Generator]):
    """A generator: ``factory(**options) -> Generator``."""

    protocols = (Generator,)


@dataclass(frozen=True, slots=True)
class OptimiserKind(PluginKind[Optimiser]):
    """An optimiser: ``factory(space, seed, budget, **options) -> Optimiser``.

    ``space`` is a :class:`~bmerge.space.protocols.Space`, ``seed`` an int, ``budget`` the number
    of trials that will be asked for.

    Args:
        name: as of every kind.
        factory: as of every kind.
        summary: as of every kind.
        incidental: as of every kind.
        needs: as of every kind.
        several_objectives: whether it can look for the Pareto front of several; it then finds
            them in the results' ``scores``.
        takes: kinds of parameters that it proposes; a study whose space has another kind refuses
            it. One that moves points through :class:`~bmerge.space.cube.Cube` takes them all.
        foresees: whether it says what it expects of a proposal, as
            :class:`~bmerge.space.protocols.Foreseeing` does; else ``least_gain`` is refused.
    """

    several_objectives: bool = False
    takes: tuple[ParameterKind, ...] = ("float",)
    foresees: bool = False
    protocols: ClassVar[tuple[type, ...]] = (Optimiser,)
    positional: ClassVar[tuple[str, ...]] = ("space", "seed", "budget")


@dataclass(frozen=True, slots=True)
class ScorerKind(PluginKind[Scorer | TrialScorer]):
    """A scorer: ``factory(**options) -> Scorer | TrialScorer``.

    Args:
        name: as of every kind.
        factory: as of every kind.
        summary: as of every kind.
        incidental: as of every kind.
        needs: as of every kind.
        downloads: files that it needs; ``bmerge scorers fetch`` fetches them.
    """

    downloads: tuple[Download, ...] = ()
    protocols: ClassVar[tuple[type, ...]] = (Scorer, TrialScorer)
