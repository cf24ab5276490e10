"""Files of trials that are made of one another hold what each merge gives by itself."""

from __future__ import annotations

import os
import random

import pytest

from bmerge.architectures import builtin, detect
from bmerge.errors import ExecutorError
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.pipeline import Merger, merge_to_file
from bmerge.recipe import BlockWeights
from bmerge.testing.checkpoints import read_checkpoint, tiny_sd1
from merges import METHODS, names_in, recipe_of

BLOCKS = ["BASE", "IN00", "IN03", "M00", "OUT05", "OUT11"]


class Counting:
    """The native executor, which counts the tensors that it is asked for, or fails half-way."""

    name = "counting"

    def __init__(self):
        self.tensors = 0
        self.fails = False

    def reads(self, tensor):
        return NativeExecutor().reads(tensor)

    def run(self, plan, sink, *, progress=None):
        self.tensors += len(plan.jobs)
        report = NativeExecutor().run(plan, sink, progress=progress)
        if self.fails:
            raise ExecutorError("the disk has gone")
        return report


def merger_of(models, tmp_path, executor=None, **fields):
    checkpoints = [open_checkpoint(path) for path in models]
    return Merger(
        recipe_of(models, **fields),
        method=METHODS["weighted_sum"],
        checkpoints=checkpoints,
        architecture=detect(checkpoints[0].tensors, builtin()),
        executor=executor or NativeExecutor(),
        scratch=tmp_path / "scratch",
    )


def assert_whole(file, plan, tmp_path):
    """Compare a trial's file with the merge that is written by itself."""
    merge_to_file(plan, tmp_path / "alone.safetensors", executor=NativeExecutor(), hashes=False)
    found, expected = read_checkpoint(file), read_checkpoint(tmp_path / "alone.safetensors")
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert found[key].tobytes() == array.tobytes(), key
    told = [open_checkpoint(path).metadata for path in (file, tmp_path / "alone.safetensors")]
    assert told[0] == told[1]


@pytest.mark.parametrize("channels", [4, 9], ids=["whole", "split"])
def test_every_file_is_its_merge_and_only_what_changed_is_written(tmp_path, models, channels):
    other = tiny_sd1(tmp_path / "c.safetensors", 5, in_channels=channels)
    executor = Counting()
    merger = merger_of([models[0], other], tmp_path, executor)
    weights = BlockWeights(0.5)
    merges = [0, {"alpha": weights}, {"alpha": weights}, 1, {"alpha": BlockWeights(0.123456789)}]
    chance = random.Random(3)
    for _ in range(6):
        blocks = {block: chance.choice([0.0, 1.0, chance.random()]) for block in BLOCKS[:3]}
        merges.append({"alpha": BlockWeights(0.5, blocks)})
    inodes, names = set(), set()
    for merge in merges:
        with merger.model(merge) as trial:
            file = trial.file(lent=True)
            assert_whole(file, trial.plan, tmp_path)
            inodes.add(file.stat().st_ino)
            names.add(file.name)
            assert names_in(file.parent) == [file.name]
        assert not file.exists()
    assert len(inodes) == 1
    assert len(names) == len(merges)


def test_one_block_that_changes_is_all_that_is_merged(tmp_path, models):
    executor = Counting()
    merger = merger_of(models, tmp_path, executor)
    counts = []
    for m00 in (0.5, 0.25, 0.25, 0.0, 0.75):
        executor.tensors = 0
        with merger.model({"alpha": BlockWeights(0.5, {"M00": m00})}) as trial:
            assert_whole(trial.file(lent=True), trial.plan, tmp_path)
        counts.append(executor.tensors)
    assert counts == [1131, 46, 0, 46, 46]


def test_file_that_was_not_lent_is_left_alone(tmp_path, models):
    merger = merger_of(models, tmp_path)
    with merger.model({"alpha": BlockWeights(0.5)}) as trial:
        reader = trial.file(lent=False).open("rb")
        before = trial.file().read_bytes()
        trial.file(lent=True)  # somebody else asks for it, too
    assert names_in(tmp_path / "scratch") == []
    with reader, merger.model({"alpha": BlockWeights(0.25)}) as trial:
        trial.file(lent=True)
        assert reader.read() == before


def test_file_with_another_name_is_left_alone(tmp_path, models):
    merger = merger_of(models, tmp_path)
    with merger.model({"alpha": BlockWeights(0.5)}) as trial:
        os.link(trial.file(lent=True), tmp_path / "linked.safetensors")
        before = trial.file(lent=True).read_bytes()
    with merger.model({"alpha": BlockWeights(0.25)}) as trial:
        assert_whole(trial.file(lent=True), trial.plan, tmp_path)
    assert (tmp_path / "linked.safetensors").read_bytes() == before


def test_merge_that_fails_half_way_leaves_nothing_and_the_next_is_whole(tmp_path, models):
    executor = Counting()
    merger = merger_of(models, tmp_path, executor)
    with merger.model({"alpha": BlockWeights(0.5)}) as trial:
        trial.file(lent=True)
    executor.fails = True
    with (
        merger.model({"alpha": BlockWeights(0.25)}) as trial,
        pytest.raises(ExecutorError, match="the disk has gone"),
    ):
        trial.file(lent=True)
    assert names_in(tmp_path / "scratch") == []
    executor.fails = False
    with merger.model({"alpha": BlockWeights(0.5, {"M00": 0.25})}) as trial:
        assert_whole(trial.file(lent=True), trial.plan, tmp_path)


def test_kept_file_looks_like_no_checkpoint_and_goes_when_its_merger_is_closed(tmp_path, models):
    merger = merger_of(models, tmp_path)
    for alpha in (0.5, 0.25):
        with merger.model({"alpha": BlockWeights(alpha)}) as trial:
            assert_whole(trial.file(lent=True), trial.plan, tmp_path)
        (name,) = names_in(tmp_path / "scratch")
        assert name.endswith(".bmerge-tmp")
        merger.close()
        assert names_in(tmp_path / "scratch") == []


def test_recipe_that_grows_beyond_the_header_gets_a_new_file(tmp_path, models):
    merger = merger_of(models, tmp_path)
    long = {"*" * length: 0.1 for length in range(2000, 2040)}
    sizes = []
    for weights in (BlockWeights(0.5), BlockWeights(0.5, {}, long), BlockWeights(0.25, {}, long)):
        with merger.model({"alpha": weights}) as trial:
            file = trial.file(lent=True)
            assert_whole(file, trial.plan, tmp_path)
            sizes.append(file.stat().st_size)
    assert sizes[0] < sizes[1] == sizes[2]
