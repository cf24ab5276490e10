"""Whether each value of a recipe is a model or a difference, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bmerge.errors import RecipeError
from bmerge.method import ContentKind, MergeMethod
from bmerge.plan.steps import naming
from bmerge.recipe import ZERO, AnyStep, Content, Recipe, Step, Value

__all__ = ["StepContents", "contents_of"]


class StepContents:
    """What models and steps hold.

    Args:
        known: name of a model or step → what it holds.
    """

    def __init__(self, known: Mapping[str, Content]) -> None:
        self._known = dict(known)

    def __getitem__(self, value: Value) -> Content:
        """Return what a value holds."""
        if value == ZERO or value.minus is not None:
            return "difference"
        return self._known[value.name]

    def add(self, name: str, content: Content) -> None:
        """Say what a step gives."""
        self._known[name] = content


def contents_of(recipe: Recipe, methods: Mapping[str, MergeMethod]) -> StepContents:
    """Return what every value of a recipe in the form of steps is.

    Args:
        recipe: the recipe.
        methods: step → its method.

    Raises:
        RecipeError: if a step is given what it does not take, or the result is not what the
            recipe says that it is.
    """
    contents = StepContents({model.name: model.content for model in recipe.models})
    for step in recipe.in_order():
        with naming(step.name):
            _check_minus(step.inputs, contents)
            contents.add(step.name, _given(step, methods, contents))
    assert recipe.result is not None
    _check_minus((recipe.result,), contents)
    found = contents[recipe.result]
    if found != recipe.content:
        what = f"the result is a {found}, not a {recipe.content}"
        hint = f"'content: {found}' in the recipe writes it anyway"
        raise RecipeError(what, hint=hint)
    return contents


def _check_minus(values: Sequence[Value], contents: StepContents) -> None:
    for value in values:
        if value.minus is not None:
            kinds = [contents[Value(name)] for name in value.names]
            if kinds[0] != kinds[1]:
                message = f"'{value}' subtracts a {kinds[1]} from a {kinds[0]}"
                raise RecipeError(message, hint="both must be models, or both differences")


def _given(step: AnyStep, methods: Mapping[str, MergeMethod], contents: StepContents) -> Content:
    """Return what a step gives, after a look at what it takes."""
    if not isinstance(step, Step):
        first = contents[step.inputs[0]]
        _check(step.inputs, [first] * len(step.inputs), contents, type(step).__name__.lower())
        return first
    method = methods[step.name]
    takes = [method.content_of(index) for index in range(len(step.inputs))]
    alike = _alike(step, takes, contents)
    wanted = [_content(kind, alike) for kind in takes]
    _check(step.inputs, wanted, contents, method.name)
    if all(value == ZERO for value in step.inputs):
        raise RecipeError(f"{method.name} is given nothing but 0")
    return _content(method.gives, alike)


def _alike(step: Step, takes: Sequence[ContentKind], contents: StepContents) -> Content:
    """Return what all inputs are of which a method only says that they are alike."""
    pairs = zip(step.inputs, takes, strict=True)
    found: list[Content] = [contents[value] for value, kind in pairs if kind is ContentKind.ALIKE]
    return found[0] if found else "model"


def _content(kind: ContentKind, alike: Content) -> Content:
    if kind is ContentKind.ALIKE:
        return alike
    return "difference" if kind is ContentKind.DIFFERENCE else "model"


def _check(
    values: Sequence[Value], wanted: Sequence[Content], contents: StepContents, what: str
) -> None:
    for number, (value, kind) in enumerate(zip(values, wanted, strict=True), start=1):
        if contents[value] != kind:
            label = f"{str(value)!r}, " if value.name else ""
            message = f"{what} takes a {kind} as its input {number}, {label}a {contents[value]}"
            raise RecipeError(f"{message}, is given", hint=_HINTS[kind])


_HINTS: Mapping[Content, str] = {
    "difference": "write 'x - base' for what x has learned beyond base",
    "model": "'bmerge methods' has 'add', which adds a difference to a model",
}
