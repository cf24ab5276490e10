"""The conformance suites accept what keeps to the protocols and say what does not."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import types
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from bmerge import (
    GeneratorError,
    GeneratorKind,
    MethodError,
    OptimiserKind,
    Payload,
    PerModel,
    Picture,
    PluginError,
    ScorerKind,
    Weight,
    hookimpl,
    load_registry,
    merge_method,
    ops,
    tensor_method,
)
from bmerge.testing import check_generator, check_hooks, check_merge_method, check_scorer

PAYLOADS = [Payload(f"p{seed}", "x", seed=seed) for seed in range(3)]


@merge_method
def plain(a, b, *, alpha: Weight = 0.5):
    """Mix."""
    return a + alpha * (b - a)


@merge_method
def norms(a, b, *, alpha: Weight = 0.5):
    """Scale by norms, which executors may round differently."""
    return a * (1 + alpha * ops.sqrt(ops.mean(ops.square(b)))) + ops.tanh(b)


@merge_method
def forms(*models, weight: PerModel[Weight] = 0.5, form: Literal["sum", "mean"] = "sum"):
    """Add any number of models."""
    total = sum(w * m for m, w in zip(models, weight, strict=True))
    return total / len(models) if form == "mean" else total


@tensor_method
def ordered(a, b, *, alpha: Weight = 0.5):
    """Sort a's values in the order of b."""
    flat = a.flatten().sort().values[b.flatten().argsort().argsort()]
    return a + alpha * (flat.reshape(a.shape) - a)


@pytest.mark.parametrize("method", [plain, norms, forms, ordered], ids=lambda m: m.name)
def test_method_that_keeps_the_rules_passes(method):
    check_merge_method(method)


@pytest.mark.parametrize("name", ["weighted_sum", "tensor_sum", "weighted_subtraction"])
def test_builtin_methods_pass(name):
    check_merge_method(load_registry().method(name))


def test_method_that_is_not_finite_is_found():
    @merge_method
    def poles(a, b, *, alpha: Weight = 0.5):
        """Divide by 0 at alpha = 1."""
        return (a - alpha * b) / (1 - alpha)

    with pytest.raises(AssertionError, match="is not finite for finite models"):
        check_merge_method(poles)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (lambda a, b: a.flatten()[:1], "part returns a tensor of shape"),
        (lambda a, b: None, "part returns None, not a tensor"),
        (lambda a, b: a + 1j * b, "part returns a tensor of complex64, not of floats"),
        (lambda a, b: a.argsort(), "part returns a tensor of int64, not of floats"),
        (lambda a, b: a * float("nan"), "part returns nothing but NaN"),
        (lambda a, b: a.no_such_thing, "part fails: AttributeError"),
    ],
)
def test_tensor_method_that_returns_no_merged_tensor_is_found(body, problem):
    def part(a, b):
        """Return what is no model's tensor."""
        return body(a, b)

    with pytest.raises(AssertionError, match=f"part, F32: merging 'layers.0.*': {problem}"):
        check_merge_method(tensor_method(part))


def test_method_that_returns_one_number_is_found():
    @merge_method
    def mean(a, b):
        """Return a number."""
        return ops.mean(a + b)

    with pytest.raises(AssertionError, match="returns one per tensor, repeated for all elements"):
        check_merge_method(mean)


@pytest.mark.parametrize("name", ["seed", "shard_size", "overwrite", "dtype"])
def test_method_that_is_told_what_an_option_of_merges_is_called_is_found(name):
    scope = {"Weight": Weight, "Literal": Literal}
    for annotation in ("Weight = 0.5", "Literal['x'] = 'x'"):
        exec(f"def odd(a, b, *, {name}: {annotation}):\n 'Mix.'\n return a", scope)
        with pytest.raises(AssertionError, match=f"'{name}' of odd is an option of bmerge merge"):
            check_merge_method(merge_method(scope["odd"]))


def test_method_without_a_summary_is_found():
    @merge_method
    def silent(a, b):
        return a + b

    with pytest.raises(AssertionError, match="silent has no docstring"):
        check_merge_method(silent)


def test_method_that_cannot_be_traced_is_found():
    @merge_method
    def branches(a, b, *, alpha: Weight = 0.5):
        """Decide on values."""
        return max(b, a)

    with pytest.raises(MethodError):
        check_merge_method(branches)


@pytest.mark.parametrize("name", ["sharpness", "contrast", "colourfulness", "entropy", "exposure"])
def test_builtin_scorers_pass(name):
    check_scorer(load_registry().scorer(name).create(options={}))


class _Scorer:
    """A scorer that does as ``judge`` says."""

    def __init__(self, judge):
        self.judge, self.calls = judge, 0

    def score(self, pictures):
        self.calls += 1
        return self.judge(self, pictures)


def _darken(scorer, pictures):
    for picture in pictures:
        picture.image.putpixel((0, 0), (1, 2, 3))
    return [0.0] * len(pictures)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda s, p: [0.0], "1 scores for 5 pictures"),
        (lambda s, p: [math.nan] * len(p), "the score nan is not finite"),
        (lambda s, p: [float(s.calls)] * len(p), "other scores the second time"),
        (lambda s, p: [float(len(p))] * len(p), "depends on the pictures beside it"),
        (lambda s, p: [float(i * (len(p) > 1)) for i, _ in enumerate(p)], "pictures beside it"),
        (_darken, "changes its pictures"),
    ],
    ids=["count", "nan", "memory", "batch", "order", "pixels"],
)
def test_scorer_that_breaks_a_rule_is_found(judge, message):
    with pytest.raises(AssertionError, match=message):
        check_scorer(_Scorer(judge))


class _Model:
    """A merged model that is one number."""

    def __init__(self, level):
        self.level = level


class _Painter:
    """A generator that keeps every rule, unless told otherwise."""

    def __init__(self, fault=None):
        self.fault, self.level, self.closed, self.count = fault, 0, False, 0

    def load(self, model):
        self.level = model.level

    def generate(self, payloads):
        payloads = payloads[::-1] if self.fault == "order" else payloads
        for payload in payloads[1:] if self.fault == "count" else payloads:
            self.count += 1
            seed = 0 if self.fault == "seed" else payload.seed
            extra = self.count if self.fault == "memory" else 0
            pixels = np.random.default_rng((seed, self.level, extra)).integers(0, 256, (4, 4, 3))
            image = Image.fromarray(pixels.astype("uint8"))
            yield Picture(payload, image.convert("L") if self.fault == "mode" else image)

    def close(self):
        self.closed = True


def test_generator_that_keeps_the_rules_passes_and_is_closed():
    painter = _Painter()
    check_generator(painter, [_Model(1), _Model(2)], PAYLOADS)
    assert painter.closed


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("order", "was made where 'p0' was next"),
        ("count", "2 pictures for 3 payloads"),
        ("seed", "all pictures are the same"),
        ("memory", "other pictures the second time"),
        ("mode", "the picture is L, not RGB"),
    ],
)
def test_generator_that_breaks_a_rule_is_found(fault, message):
    painter = _Painter(fault)
    with pytest.raises(AssertionError, match=message):
        check_generator(painter, [_Model(1)], PAYLOADS)
    assert painter.closed


def _plugin(**hooks):
    module = types.ModuleType("plugin")
    for name, function in hooks.items():
        setattr(module, name, function)
    return module


def test_hooks_of_a_good_plugin_pass():
    def bmerge_merge_methods():
        return [plain]

    registry = check_hooks(_plugin(bmerge_merge_methods=hookimpl(bmerge_merge_methods)))
    assert list(registry.methods) == ["plain"]


@pytest.mark.parametrize(
    ("name", "offered", "message"),
    [
        ("bmerge_merge_methods", [1], "offers a int, not a MergeMethod"),
        ("bmerge_merge_methods", [plain, plain], "both offer the merge method 'plain'"),
        ("bmerge_merge_method", [plain], "unknown hook 'bmerge_merge_method'"),
    ],
    ids=["type", "twice", "name"],
)
def test_wrong_hooks_are_found(name, offered, message):
    def hook():
        return offered

    hook.__name__ = name
    with pytest.raises(PluginError, match=message):
        check_hooks(_plugin(**{name: hookimpl(hook)}))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda space, seed, *, width=1: None, "cannot be called with .space, seed, budget,"),
        (lambda space, seed, budget, width: None, "missing a required argument: 'width'"),
        (lambda: None, "too many positional arguments"),
    ],
    ids=["too few", "option without *", "none"],
)
def test_factory_that_a_run_could_not_call_is_found(factory, message):
    def bmerge_optimisers():
        return [OptimiserKind("mine", factory, "x")]

    with pytest.raises(PluginError, match=message) as caught:
        check_hooks(_plugin(bmerge_optimisers=hookimpl(bmerge_optimisers)))
    assert "keyword-only" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "hook", "name"),
    [
        (GeneratorKind, "bmerge_generators", "name"),
        (OptimiserKind, "bmerge_optimisers", "init_points"),
        (ScorerKind, "bmerge_scorers", "weight"),
    ],
)
def test_option_that_is_called_like_a_key_of_study_files_is_found(kind, hook, name):
    scope = {}
    exec(f"def factory({', '.join((*kind.positional, '*'))}, {name}=1): ...", scope)

    def offer():
        return [kind("mine", scope["factory"], "x")]

    offer.__name__ = hook
    with pytest.raises(PluginError, match=f"the option '{name}' of mine cannot be set"):
        check_hooks(_plugin(**{hook: hookimpl(offer)}))


def test_commands_that_cannot_be_added_are_found():
    def bmerge_commands(group):
        group.comand("hello")

    with pytest.raises(PluginError, match=r"failed in bmerge_commands: AttributeError: .*py:\d+"):
        check_hooks(_plugin(bmerge_commands=hookimpl(bmerge_commands)))

    def without():
        return None

    check_hooks(_plugin(bmerge_commands=hookimpl(without)))


class _Broken:
    def check(self, *, paint):
        raise GeneratorError("no server there")


def test_what_a_run_calls_is_looked_for_first():
    with pytest.raises(AssertionError, match="it has no method load"):
        check_generator(object(), [_Model(1)], PAYLOADS)
    with pytest.raises(AssertionError, match="it has no method score"):
        check_scorer(object())
    broken = type("Broken", (_Broken, _Painter), {})()
    with pytest.raises(GeneratorError, match="no server there"):
        check_generator(broken, [_Model(1)], PAYLOADS)
    assert broken.closed
    with pytest.raises(GeneratorError, match="no server there"):
        check_scorer(type("Broken", (_Broken, _Scorer), {})(None))


def test_plugin_without_a_hook_is_found():
    with pytest.raises(PluginError, match="has no hook"):
        check_hooks(_plugin())


def test_every_builtin_plugin_passes():
    for record in load_registry().plugins:
        if record.distribution == "bmerge":
            entry = next(e for e in _entries() if e.name == record.name)
            check_hooks(importlib.import_module(entry.value), name=record.name)


def _entries():
    return importlib.metadata.entry_points(group="bmerge")
