"""Options that mean nothing where they are given: each is told, or refused."""

from __future__ import annotations

import pytest

from bmerge.testing import write_checkpoint

SUM = ("merge", "weighted_sum", "a.safetensors", "b.safetensors")
DARE = ("merge", "dare_linear", "a.safetensors", "b.safetensors", "c.safetensors")
SEED = "note: the seed is not used: nothing of this merge draws random numbers"
ROUNDING = "note: stochastic rounding is not used: no result is rounded"
LORAS = "note: partial LoRAs are not used: no model has a LoRA"


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate("abc"):
        tensors = {"layers.0.weight": [[number + 1.0, 2.0]], "layers.1.weight": [[3.0, number]]}
        write_checkpoint(f"{name}.safetensors", tensors, dtype="F16")


def test_settings_that_a_merge_does_not_use_are_told(bmerge, tmp_path):
    (tmp_path / "r.json").write_text('{"method": "weighted_sum", "models": ["a.safetensors", '
                                     '"b.safetensors"]}')  # fmt: skip
    plain, recipe = (*SUM, "--force", "-o", "out.safetensors"), ("merge", "r.json", "--dry-run")
    for words, expected in (
        ((*plain, "--seed", 7), [SEED]),
        ((*recipe, "--seed", 7, "--partial-loras"), [SEED, LORAS]),
        ((*plain, "--seed", 7, "--rounding", "stochastic"), []),
        ((*plain, "--seed", 7, "--rounding", "stochastic", "--dtype", "fp32"), [SEED, ROUNDING]),
        ((*plain, "--rounding", "nearest", "--dtype", "fp32", "--seed", 0), []),
        ((*DARE, "--dry-run", "--seed", 7), []),
    ):
        called = bmerge(*words)
        assert called.status == 0, called.err
        assert [line for line in called.err.splitlines() if "not used" in line] == expected, words


def test_a_seed_is_not_used_where_each_step_has_its_own(bmerge, tmp_path):
    steps = "{x: {method: dare_linear, models: [a, b, c], seed: 3}}"
    models = "{a: a.safetensors, b: b.safetensors, c: c.safetensors}"
    for text, noted in ((steps, True), (steps.replace(", seed: 3", ""), False)):
        (tmp_path / "r.yaml").write_text(f"models: {models}\nsteps: {text}\nresult: x\n")
        called = bmerge("merge", "r.yaml", "--dry-run", "--seed", 7)
        assert (called.status, SEED in called.err) == (0, noted), called.err


def test_options_of_another_executor_are_told(bmerge):
    given = ("--vram", "1G", "--io", "mmap", "--threads", 1, "--dry-run")
    called = bmerge(*SUM, *given, "--executor", "native")
    assert called.err == "native streaming: as asked; not used: vram\n"
    called = bmerge(*SUM, *given, "--executor", "torch", "--device", "cpu")
    assert called.err == "torch on the CPU, as asked; not used: threads, io, vram\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*SUM, "--dry-run", "--memory", "0"), "'0' is less than one byte"),
        (("convert", "a.safetensors", "-o", "x.safetensors", "--configs", "."), "--configs is for"),
        (("inspect", "a.safetensors", "--hashes", "--lineage"), "exclude each other"),
        (("run", "s.yaml", "--check", "--retry-failed"), "--check evaluates none"),
        (("scorers", "--json", "fetch", "hps"), "--json is for lists"),
    ],
    ids=["memory", "configs", "lineage", "check", "fetch"],
)
def test_what_means_nothing_is_refused(bmerge, tmp_path, words, said):
    before = set(tmp_path.iterdir())
    called = bmerge(*words)
    assert (called.status, called.out) == (2, "")
    assert said in called.err.splitlines()[0]
    assert set(tmp_path.iterdir()) == before


def test_configs_of_a_folder_that_is_not_there_are_missed_by_a_dry_run_too(bmerge):
    called = bmerge("convert", "a.safetensors", "--configs", "gone", "--dry-run")
    assert (called.status, called.err) == (1, "error: gone is not a folder with configs\n")
