from __future__ import annotations

import pytest

from bmerge import Difference, Weight, merge_method
from bmerge.bench import BenchModels, models_of
from bmerge.errors import MethodError
from bmerge.recipe import LoraRef, ModelRef

A, B, C, BASE = (ModelRef(f"/{name}.safetensors") for name in ("a", "b", "c", "base"))


@merge_method
def two(a, b, *, alpha: Weight = 0.5):
    """Formula: a."""
    return a


@merge_method
def three(a, b, c):
    """Formula: a."""
    return a


@merge_method
def many(*models):
    """Formula: models[0]."""
    return models[0]


@merge_method
def learned(base, *models):
    """Formula: base."""
    return base


@merge_method
def bounded(a, *models):
    """Formula: a."""
    return a


@pytest.mark.parametrize(
    ("models", "method", "inputs"),
    [
        (BenchModels((A, B), BASE), two, (A, B)),
        (BenchModels((A, B, C), BASE), two, (A, B)),
        (BenchModels((A, B), BASE), three, (A, B, BASE)),
        (BenchModels((A, B, C), BASE), three, (A, B, BASE)),
        (BenchModels((A, B, C)), three, (A, B, C)),
        (BenchModels((A, B, C), BASE), many, (A, B, C)),
        (BenchModels((A, B, C), BASE), learned, (BASE, A, B, C)),
        (BenchModels((A, B), BASE), bounded, (A, B)),
    ],
)
def test_each_method_gets_the_models_that_its_inputs_are_named_for(models, method, inputs):
    assert models.of(method) == inputs


@pytest.mark.parametrize(
    ("models", "method", "message"),
    [
        (BenchModels((A, B)), learned, "takes base, …, and there is no model for base"),
        (BenchModels((A, B)), three, "takes a, b, c, and there is no model for base"),
        (BenchModels((A,), BASE), two, "takes a, b, and there is no model for b"),
    ],
)
def test_method_that_needs_other_models_says_which(models, method, message):
    with pytest.raises(MethodError, match=message):
        models.of(method)


def test_method_of_differences_says_so():
    @merge_method
    def grow(a, *differences: Difference):
        """Formula: a."""
        return a

    with pytest.raises(MethodError, match="takes differences of models"):
        BenchModels((A, B), BASE).of(grow)


@pytest.mark.parametrize(
    ("method", "models", "found"),
    [
        (two, (A, B), BenchModels((A, B))),
        (three, (A, B, BASE), BenchModels((A, B), BASE)),
        (learned, (BASE, A, B), BenchModels((A, B), BASE)),
        (many, (A, B, C), BenchModels((A, B, C))),
    ],
)
def test_method_of_a_study_says_what_its_models_are(method, models, found):
    assert models_of(method, models) == found


def test_labels_are_short_and_differ():
    lora = ModelRef("/y/a.safetensors", loras=(LoraRef("/l/style.safetensors"),))
    models = BenchModels((ModelRef("/x/a.safetensors"), ModelRef("/y/a.safetensors"), lora), BASE)
    assert list(map(models.label, models.all)) == ["a (1)", "a (2)", "a+style", "base"]
