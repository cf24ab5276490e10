"""A merge method as an object: what the function is called, takes and computes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar

from bmerge.errors import MethodError, counted, nearest
from bmerge.expr import Graph, call, trace
from bmerge.method.content import ContentKind
from bmerge.method.hyperparameter import Hyperparameter
from bmerge.method.option import Option, OptionValue
from bmerge.method.statistic import Statistic
from bmerge.records import dataclass

__all__ = ["MergeMethod"]

T = TypeVar("T")
_NO_OPTIONS: Mapping[str, OptionValue] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MergeMethod:
    """A merge method; made by ``@merge_method``. Calling it calls the function.

    Args:
        name: by which recipes and the command line call it.
        aliases: other names for the same.
        function: the body, over tensors of one key.
        model_names: the named input models, in order.
        variadic: whether any number of further models may follow.
        hyperparameters: in the order of the signature.
        summary: first line of the documentation.
        doc: the documentation.
        options: in the order of the signature.
        opaque: whether the body is torch code that is called as it is, not traced.
        takes: what each of the named models is, and last what the further ones are.
        gives: what the result is.
        statistics: numbers taken over all tensors of the models, in the order of the signature.
        needs: top-level modules that the body imports and bmerge's core does not bring.
    """

    name: str
    aliases: tuple[str, ...]
    function: Callable[..., Any]
    model_names: tuple[str, ...]
    variadic: bool
    hyperparameters: tuple[Hyperparameter, ...]
    summary: str
    doc: str
    options: tuple[Option, ...] = ()
    opaque: bool = False
    takes: tuple[ContentKind, ...] = ()
    gives: ContentKind = ContentKind.MODEL
    statistics: tuple[Statistic, ...] = ()
    needs: tuple[str, ...] = ()

    def __call__(self, *models: Any, **parameters: Any) -> Any:
        """Call the function; a hyperparameter per model may be one number or a sequence."""
        count = _further(self, len(models))
        for h in self.hyperparameters:
            if h.per_model:
                value = parameters.get(h.name, h.default)
                values = (value,) * count if isinstance(value, (int, float)) else tuple(value)
                if len(values) != count:
                    wrong = f"{counted(len(values), 'value')} for {counted(count, 'model')}"
                    raise MethodError(f"{self.name}: {h.name} has {wrong}")
                parameters[h.name] = values
        return self.function(*models, **parameters)

    def check_models(self, n: int) -> None:
        """Check that the method takes ``n`` models.

        Raises:
            MethodError: if it does not.
        """
        fixed = len(self.model_names)
        fits = n >= max(fixed, 1) if self.variadic else n == fixed
        if not fits:
            names = ", ".join((*self.model_names, "…") if self.variadic else self.model_names)
            count = f"{max(fixed, 1)} or more models" if self.variadic else counted(fixed, "model")
            raise MethodError(f"{self.name} takes {count} ({names}), got {n}")

    def content_of(self, index: int) -> ContentKind:
        """Return what the model of an index must be, counted from 0."""
        return self.takes[min(index, len(self.takes) - 1)] if self.takes else ContentKind.MODEL

    def hyperparameters_of(self, n_models: int) -> tuple[Hyperparameter, ...]:
        """Return the numbers that a merge of ``n_models`` takes: name_1, … for one per model."""
        return tuple(each for group in self.groups_of(n_models) for each in group)

    def groups_of(self, n_models: int) -> tuple[tuple[Hyperparameter, ...], ...]:
        """Return the same, those together that are one per model."""
        count = _further(self, n_models)
        return tuple(h.of_models(count) for h in self.hyperparameters)

    def complete(
        self, given: Mapping[str, T], n_models: int, default: Callable[[float], T]
    ) -> dict[str, T]:
        """Return a value for each of :meth:`hyperparameters_of`, in their order.

        Args:
            given: name → value; that of a hyperparameter per model is for all models that have
                no value of their own.
            n_models: number of models.
            default: makes the value of a hyperparameter that is not given.

        Raises:
            MethodError: if there is no such hyperparameter.
        """
        numbers = self.hyperparameters_of(n_models)
        self.check_names(given, n_models)
        spread = self.spread(given, n_models)
        return {h.name: spread[h.name] if h.name in spread else default(h.default) for h in numbers}

    def spread(self, given: Mapping[str, T], n_models: int) -> dict[str, T]:
        """Return ``given`` with a value for each model instead of one for all of them.

        Args:
            given: name → value; what is given for one model goes before what is for all.
            n_models: number of models.
        """
        count = _further(self, n_models)
        common = {h.name: h.of_models(count) for h in self.hyperparameters if h.per_model}
        spread = {
            each.name: given[name] for name in common if name in given for each in common[name]
        }
        return spread | {name: value for name, value in given.items() if name not in common}

    def graph(self, n_models: int, options: Mapping[str, OptionValue] = _NO_OPTIONS) -> Graph:
        """Return what the method computes from ``n_models`` models; traced once.

        Args:
            n_models: number of models.
            options: name → value; the others have their defaults.

        Raises:
            MethodError: if it does not take that many or such an option, or its body cannot be
                traced.
        """
        self.check_models(n_models)
        self.check_options(options)
        return _graph(self, n_models, tuple(sorted(options.items())))

    def check_options(self, options: Mapping[str, OptionValue]) -> None:
        """Check the values of some or all options.

        Raises:
            MethodError: if there is no such option, or not with that value.
        """
        known = {option.name: option for option in self.options}
        for name, value in options.items():
            if name not in known:
                message = f"{self.name} has no option {name!r}"
                raise MethodError(message, hint=nearest(name, known))
            problem = known[name].problem(value)
            if problem:
                raise MethodError(f"{self.name}: {name} = {problem}")

    def validate(self, values: Mapping[str, float], n_models: int | None = None) -> None:
        """Check the values of some or all hyperparameters.

        Args:
            values: name → value.
            n_models: number of models, whose own hyperparameters are then known too.

        Raises:
            MethodError: if there is no such hyperparameter, or its value has no meaning.
        """
        known = {hyperparameter.name: hyperparameter for hyperparameter in self.hyperparameters}
        if n_models is not None:
            known.update((h.name, h) for h in self.hyperparameters_of(n_models))
        self._check_known(values, list(known))
        for name, value in values.items():
            problem = known[name].problem(value)
            if problem:
                raise MethodError(f"{self.name}: {name} = {problem}", hint=_bounds(known[name]))

    def check_names(self, names: Iterable[str], n_models: int) -> None:
        """Check that hyperparameters of these names are there, each or that of all models.

        Raises:
            MethodError: names the first that is not.
        """
        numbers = (*self.hyperparameters, *self.hyperparameters_of(n_models))
        self._check_known(dict.fromkeys(names), [h.name for h in numbers])

    def _check_known(self, names: Mapping[str, Any], known: list[str]) -> None:
        for name in names:
            if name not in known:
                message = f"{self.name} has no hyperparameter {name!r}"
                raise MethodError(message, hint=nearest(name, known))


@lru_cache(maxsize=256)
def _graph(
    method: MergeMethod, n_models: int, options: tuple[tuple[str, OptionValue], ...]
) -> Graph:
    names = [hyperparameter.name for hyperparameter in method.hyperparameters_of(n_models)]
    names += [statistic.name for statistic in method.statistics]
    count = _further(method, n_models)

    def body(*models: Any, **numbers: Any) -> Any:
        for h in method.hyperparameters:
            if h.per_model:
                numbers[h.name] = tuple(numbers.pop(each.name) for each in h.of_models(count))
        return method.function(*models, **numbers, **dict(options))

    code = getattr(inspect.unwrap(method.function), "__code__", None)
    place = f"{code.co_filename}:{code.co_firstlineno}" if code else ""
    make = call if method.opaque else trace
    return make(body, n_models, names, name=method.name, place=place)


def _further(method: MergeMethod, n_models: int) -> int:
    """Return how many of the models have hyperparameters of their own."""
    return max(n_models - len(method.model_names), 0) if method.variadic else n_models


def _bounds(hyperparameter: Hyperparameter) -> str | None:
    low, high = hyperparameter.minimum, hyperparameter.maximum
    if low is None and high is None:
        return None
    return f"valid: {'any' if low is None else low} to {'any' if high is None else high}"
