"""FittingBatches on a device with room for some pictures only."""

from __future__ import annotations

import pytest
import torch

from bmerge import ScorerError
from bmerge_plugins.batches import FittingBatches

OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.07 GB, max allowed: 9.07 GB)"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    MemoryError(),
]


class FakeDevice:
    """A network that doubles numbers, on a device with room for so many at once."""

    def __init__(self, room, error):
        self.room, self.error = room, error
        self.sizes = []

    def __call__(self, numbers):
        self.sizes.append(len(numbers))
        if len(numbers) > self.room:
            raise self.error
        return [2 * number for number in numbers]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("room", "sizes", "next_sizes"),
    [
        (64, [16, 4], [16, 4]),
        (16, [16, 4], [16, 4]),
        (7, [16, 8, 4, 4, 4, 4, 4], [4, 4, 4, 4, 4]),
        (1, [16, 8, 4, 2, *[1] * 20], [1] * 20),
    ],
)
def test_batches_are_halved_until_they_fit_and_stay_so(error, room, sizes, next_sizes):
    device, batches = FakeDevice(room, error), FittingBatches(16)
    for expected in (sizes, next_sizes):
        device.sizes.clear()
        assert batches.map(device, range(20)) == [2 * number for number in range(20)]
        assert device.sizes == expected


def test_device_without_room_for_one_is_not_the_merges_fault():
    with pytest.raises(ScorerError, match="too little free memory for one picture") as caught:
        FittingBatches(16).map(FakeDevice(0, OUT_OF_MEMORY[0]), [1, 2])
    assert caught.value.blame == "surroundings"
    assert "precision" in caught.value.hint


def test_other_errors_are_told_at_once():
    device = FakeDevice(1, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        FittingBatches(16).map(device, [1, 2])
    assert device.sizes == [2]


def test_nothing_is_asked_of_no_pictures():
    device = FakeDevice(1, MemoryError())
    assert FittingBatches(16).map(device, []) == []
    assert device.sizes == []


class FakeMemory(FakeDevice):
    """Such a device that tells of its memory, of which other programs take some."""

    def __init__(self, nbytes):
        super().__init__(0, MemoryError())
        self.nbytes, self.each, self.peak = nbytes, 10, 0

    def __call__(self, numbers):
        self.room = self.nbytes // self.each
        self.peak = max(self.peak, self.each * len(numbers))
        return super().__call__(numbers)

    def free(self):
        return self.nbytes

    def watch(self):
        self.peak = 0

    def taken(self):
        return self.peak


@pytest.mark.parametrize(
    ("nbytes", "sizes", "next_sizes"),
    [
        (10**6, [1, 16, 3], [16, 4]),
        (100, [1, 7, 7, 5], [7, 7, 6]),
        (13, [1] * 20, [1] * 20),
        (10, [1] * 20, [1] * 20),
    ],
)
def test_batches_take_most_of_the_memory_that_is_free(nbytes, sizes, next_sizes):
    device = FakeMemory(nbytes)
    batches = FittingBatches(16, device)
    for expected in (sizes, next_sizes):
        device.sizes.clear()
        assert batches.map(device, range(20)) == [2 * number for number in range(20)]
        assert device.sizes == expected


def test_batches_follow_what_other_programs_leave():
    device = FakeMemory(100)
    batches = FittingBatches(16, device)
    batches.map(device, range(20))
    device.nbytes = 40
    device.sizes.clear()
    batches.map(device, range(7))
    assert device.sizes == [3, 3, 1]


def test_batches_of_larger_pictures_are_halved():
    device = FakeMemory(100)
    batches = FittingBatches(16, device)
    batches.map(device, range(3))
    device.each = 40  # larger pictures
    device.sizes.clear()
    batches.map(device, range(9))
    assert device.sizes == [7, 3, *[1] * 9]
