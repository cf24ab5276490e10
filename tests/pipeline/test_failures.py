"""Whatever goes wrong: nothing under the final name, no temporary left behind, one clear line."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bmerge.errors import ExecutorError, FormatError
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.pipeline import hashing, merge_to_file
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint
from merges import names_in, plan_of

ROOT = Path(__file__).parents[2]
NATIVE = NativeExecutor()


@dataclass
class Fails:
    """Carries out half of a plan and then does what it was told."""

    action: object
    name: str = "fails"

    def run(self, plan, sink, *, progress=None):
        half = {tensor.key for tensor in plan.outputs[: len(plan.outputs) // 2]}
        NATIVE.run(plan.only(half), sink)
        self.action()


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    "error", [ExecutorError("no"), KeyboardInterrupt(), MemoryError(), OSError(5, "io")], ids=repr
)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "replaced"])
def test_failure_half_way_leaves_the_folder_as_it_was(tmp_path, models, error, existing):
    out = tmp_path / "out.safetensors"
    if existing:
        out.write_bytes(b"old")
    with pytest.raises(type(error)):
        merge_to_file(plan_of(models), out, executor=Fails(raising(error)))
    assert names_in(tmp_path) == ["out.safetensors"] * existing
    assert not existing or out.read_bytes() == b"old"


def test_interrupt_while_hashing_leaves_neither_file_nor_thread(tmp_path, models, monkeypatch):
    def endless(_checkpoint, *, stop):
        while not stop():
            pass
        raise InterruptedError

    monkeypatch.setattr(hashing, "checkpoint_sha256", endless)
    monkeypatch.setattr(hashing.InputHashes, "wait", lambda _: raising(KeyboardInterrupt())())
    with pytest.raises(KeyboardInterrupt):
        merge_to_file(plan_of(models), tmp_path / "out.safetensors", executor=NATIVE)
    assert names_in(tmp_path) == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("bmerge-")] == []


def run_script(source, *arguments, **options):
    script = textwrap.dedent(source)
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_killed_process_leaves_nothing_under_the_name_and_the_next_one_cleans_up(tmp_path, models):
    out = tmp_path / "out.safetensors"
    source = """
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from test_failures import Fails
        from merges import plan_of
        from bmerge.pipeline import merge_to_file
        kill = Fails(lambda: os.kill(os.getpid(), signal.SIGKILL))
        merge_to_file(plan_of(sys.argv[3:]), Path(sys.argv[2]), executor=kill)
    """
    done = run_script(source, Path(__file__).parent, out, *models)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.safetensors.")
    assert left.name.endswith(".bmerge-tmp")
    merge_to_file(plan_of(models), tmp_path / "other.safetensors", executor=NATIVE)
    assert names_in(tmp_path) == ["other.safetensors"]


@pytest.mark.usefixtures("interruptible")
def test_interrupted_process_ends_with_an_empty_folder(tmp_path, models):
    source = """
        import os, signal, sys
        from pathlib import Path
        from merges import plan_of
        from bmerge.executors import NativeExecutor
        from bmerge.pipeline import merge_to_file
        stop = lambda _: os.kill(os.getpid(), signal.SIGINT)
        merge_to_file(
            plan_of(sys.argv[2:]), Path(sys.argv[1]), executor=NativeExecutor(), progress=stop
        )
    """
    done = run_script(source, tmp_path / "out.safetensors", *models)
    assert "KeyboardInterrupt" in done.stderr
    assert names_in(tmp_path) == []


SCRIPT = """
    import sys
    from pathlib import Path
    from merges import plan_of
    from bmerge.errors import ExecutorError
    from bmerge.executors import NativeExecutor
    from bmerge.pipeline import merge_to_file
    try:
        merge_to_file(plan_of(sys.argv[2:]), Path(sys.argv[1]), executor=NativeExecutor())
    except ExecutorError as error:
        print(error)
        print(error.hint)
"""


def test_file_size_limit_is_named(tmp_path, models):
    limit = 100_000

    def lower():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = run_script(SCRIPT, tmp_path / "out.safetensors", *models, preexec_fn=lower)
    assert "would be larger than this system allows" in done.stdout, done.stderr
    assert names_in(tmp_path) == []


@pytest.fixture
def mount(tmp_path):
    """Mount file systems in memory; only root can."""
    mounted = []

    def mount(name, options):
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("file systems cannot be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_named_before_any_work(mount, models):
    disk = mount("disk", "size=200k")
    plan = plan_of(models)
    out = disk / "out.safetensors"

    def never():
        raise AssertionError("work was started")

    with pytest.raises(ExecutorError, match=r"no space for .* bytes and .* are free") as caught:
        merge_to_file(plan, out, executor=Fails(never))
    assert "free some space" in caught.value.hint
    assert names_in(disk) == []


def test_folder_without_permission_is_named(tmp_path, models):
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    with pytest.raises(ExecutorError, match=r"cannot write .*: permission denied"):
        merge_to_file(plan_of(models), folder / "out.safetensors", executor=NATIVE)
    assert names_in(folder) == []


def test_read_only_file_system_is_named(mount, models):
    folder = mount("read-only", "ro,size=1m")
    with pytest.raises(ExecutorError, match=r"cannot write .*: read-only file system") as caught:
        merge_to_file(plan_of(models), folder / "out.safetensors", executor=NATIVE)
    assert caught.value.hint == "write to another folder"


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone/out.safetensors", "the folder .*gone does not exist"), (".", "it is a folder")],
)
def test_impossible_output_is_named(tmp_path, models, name, message):
    with pytest.raises(FormatError, match=message):
        merge_to_file(plan_of(models), tmp_path / name, executor=NATIVE)


def test_nan_in_an_input_stops_the_merge_or_is_reported(tmp_path, models):
    arrays = read_checkpoint(models[1])
    key = "model.diffusion_model.out.2.weight"
    arrays[key] = np.full_like(arrays[key], np.nan)
    sick = write_checkpoint(tmp_path / "sick.safetensors", arrays, dtype="F16")
    out = tmp_path / "out.safetensors"
    with pytest.raises(ExecutorError) as caught:
        merge_to_file(plan_of([models[0], sick]), out, executor=NATIVE)
    assert str(caught.value) == f"{key!r} holds NaN or infinity in sick.safetensors"
    assert not out.exists()
    plan = plan_of([models[0], sick], on_nonfinite="report")
    report = merge_to_file(plan, out, executor=NATIVE)
    assert [(bad.key, bad.input) for bad in report.execution.nonfinite] == [(key, 1)]
    assert len(open_checkpoint(out).tensors) == 1131
