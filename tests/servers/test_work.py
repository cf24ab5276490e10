"""The queue of a trial's pictures: order, and how far workers run ahead."""

from __future__ import annotations

import threading

import pytest

from bmerge import GeneratorError
from bmerge_plugins.servers.work import ServerWork


def test_a_worker_does_not_run_far_ahead_of_the_caller():
    work, taken = ServerWork(10, 1), []
    for number in range(2):
        work.put(work.take(), f"picture {number}")
    worker = threading.Thread(target=lambda: taken.append(work.take()))
    worker.start()
    worker.join(0.3)
    assert taken == []
    assert work.result(0) == "picture 0"
    worker.join()
    assert taken == [2]


def test_pictures_that_were_made_before_a_failure_still_come():
    work = ServerWork(3, 1)
    work.put(work.take(), "picture 0")
    work.fail(GeneratorError("broken"))
    assert work.result(0) == "picture 0"
    with pytest.raises(GeneratorError, match="broken"):
        work.result(1)


def test_what_a_leaving_worker_gives_back_is_made_by_another():
    work = ServerWork(2, 2)
    first = work.take()
    assert work.leave(first, GeneratorError("gone"))
    assert [work.take(), work.take()] == [0, 1]
    assert not work.leave(0, GeneratorError("gone, too"))
    with pytest.raises(GeneratorError, match="gone, too"):
        work.result(0)
