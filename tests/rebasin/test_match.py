from __future__ import annotations

import numpy as np
import pytest

from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
from bmerge.rebasin import FamilyFacts, match_weights, rule_of, write_in_order
from bmerge.rebasin.match import _Matching
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint, write_random
from bmerge.testing.layouts import sdxl_layout, shrink
from quantised import write_layout
from shuffled import BASE, TUNED, random_orders, write_shuffled

TINY = FamilyFacts(groups=2, head_width=10, text_head_width=4)


def aligned(reference, model, rule, out, seed=0):
    """Align a file, and return what was found and the bytes of all tensors."""
    checkpoint = open_checkpoint(model)
    found = match_weights(open_checkpoint(reference), checkpoint, rule, seed=seed)
    write_in_order(checkpoint, rule, found.orders, out, metadata={}).commit(sync=False)
    return found, {key: array.tobytes() for key, array in read_checkpoint(out).items()}


def bytes_of(path):
    return {key: array.tobytes() for key, array in read_checkpoint(path).items()}


def test_demo_is_matched_back_exactly(shuffled, tmp_path):
    rule = rule_of(open_checkpoint(shuffled))
    assert bytes_of(shuffled) != bytes_of(BASE)
    found, back = aligned(BASE, shuffled, rule, tmp_path / "back.safetensors")
    assert back == bytes_of(BASE)
    assert found.after == 0.0
    assert found.before > 0.5
    assert found.moved > 10_000


def test_sdxl_is_matched_back_exactly(tmp_path):
    layout = shrink(sdxl_layout("BF16"), 32)
    model = write_random(tmp_path / "model.safetensors", layout, seed=0)
    rule = rule_of(open_checkpoint(model), TINY)
    shuffled = write_shuffled(model, rule, tmp_path / "shuffled.safetensors", seed=5)
    _, back = aligned(model, shuffled, rule, tmp_path / "back.safetensors")
    assert back == bytes_of(model)


def test_fine_tune_in_another_order_is_brought_back(tmp_path):
    """The order is found although every weight is another: the demo's fine-tune on colours."""
    rule = rule_of(open_checkpoint(TUNED))
    shuffled = write_shuffled(TUNED, rule, tmp_path / "shuffled.safetensors", seed=2)
    found, back = aligned(BASE, shuffled, rule, tmp_path / "back.safetensors")
    assert back == bytes_of(TUNED)
    assert 0 < found.after < 0.2
    assert found.before > 1


def test_fine_tune_in_the_same_order_stays_as_it_is(tmp_path):
    tuned = BASE.with_name("shapes.safetensors")
    rule = rule_of(open_checkpoint(tuned))
    found, back = aligned(BASE, tuned, rule, tmp_path / "back.safetensors")
    assert back == bytes_of(tuned)
    assert found.moved == 0
    assert found.before == found.after


def unlike(path, seed):
    """Write a model of the demo's shapes that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    arrays = read_checkpoint(BASE)
    for key, array in arrays.items():
        if array.dtype.kind == "f":
            arrays[key] = rng.standard_normal(array.shape)
    return write_checkpoint(path, arrays, dtype="F16")


def test_same_seed_gives_the_same_order_and_never_a_farther_one(tmp_path):
    model = unlike(tmp_path / "model.safetensors", 0)
    checkpoint, reference = open_checkpoint(model), open_checkpoint(BASE)
    rule = rule_of(checkpoint)
    first, again = (match_weights(reference, checkpoint, rule, seed=4) for _ in range(2))
    assert first.orders.keys() == again.orders.keys()
    assert all((first.orders[name] == again.orders[name]).all() for name in first.orders)
    assert first.after < first.before
    assert first.sweeps > 2


def test_every_sweep_is_told(shuffled):
    told = []
    checkpoint = open_checkpoint(shuffled)
    rule = rule_of(checkpoint)
    found = match_weights(
        open_checkpoint(BASE), checkpoint, rule, progress=lambda *at: told.append(at)
    )
    count = len(rule.structures)
    assert told == [(s + 1, n + 1) for s in range(found.sweeps) for n in range(count)]


def test_random_orders_are_not_the_identity():
    rule = rule_of(open_checkpoint(BASE))
    orders = random_orders(rule, 0)
    assert all(sorted(order) == list(range(len(order))) for order in orders.values())
    assert any((order != np.arange(len(order))).any() for order in orders.values())


def test_a_unet_alone_is_a_reference_for_a_whole_model(bmerge, shuffled, tmp_path):
    prefix = "model.diffusion_model."
    unet = {
        key.removeprefix(prefix): array
        for key, array in read_checkpoint(BASE).items()
        if key.startswith(prefix)
    }
    reference = write_checkpoint(tmp_path / "unet.safetensors", unet)
    out = tmp_path / "o.safetensors"
    called = bmerge("rebasin", reference, shuffled, "-o", out)
    assert called.status == 0, called.err
    back = read_checkpoint(out)
    assert list(back) == list(read_checkpoint(shuffled))
    assert all((back[prefix + key] == array).all() for key, array in unet.items())


def test_a_quantised_reference_is_refused(shuffled, tmp_path):
    layout = [("a.weight", "I8", (4, 4)), ("a.weight_scale", "F32", (4, 1))]
    reference = open_checkpoint(write_layout(tmp_path / "q.safetensors", layout))
    model = open_checkpoint(shuffled)
    with pytest.raises(FormatError, match=r"quantised weights \(int8\)"):
        match_weights(reference, model, rule_of(model))


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0], ids=["same", "near", "far"])
def test_what_is_certain_is_what_all_weights_say(tmp_path, monkeypatch, apart):
    random = np.random.default_rng(5)
    tensors = {
        key: (array + apart * array.std() * random.standard_normal(array.shape)).astype(array.dtype)
        if array.ndim > 1
        else array
        for key, array in read_checkpoint(BASE).items()
    }
    write_checkpoint(tmp_path / "noisy.safetensors", tensors)
    models = open_checkpoint(BASE), open_checkpoint(tmp_path / "noisy.safetensors")
    found = match_weights(*models, rule_of(models[1]))
    monkeypatch.setattr(_Matching, "_is_best", lambda *_: False)
    expected = match_weights(*models, rule_of(models[1]))
    assert found.orders.keys() == expected.orders.keys()
    for name, order in expected.orders.items():
        assert np.array_equal(found.orders[name], order), name
