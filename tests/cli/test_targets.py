"""Every command that writes: the suffix is the format, links stay links, devices stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.formats import open_checkpoint
from bmerge.testing import read_checkpoint, write_checkpoint
from merges import names_in

MERGE = ("merge", "weighted_sum", "a.safetensors", "b.safetensors", "--alpha", "0.25")
EXTRACT = ("lora", "extract", "a.safetensors", "b.safetensors", "--rank", "2", "--dtype", "fp32")
LAYER = "model.diffusion_model.input_blocks.1.1.proj_in.weight"


@pytest.fixture(autouse=True)
def _models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in "ab":
        arrays = {
            LAYER: draw.normal(size=(6, 6)),
            "model.diffusion_model.out.0.bias": draw.random(3),
        }
        write_checkpoint(tmp_path / f"{name}.safetensors", arrays)


def arrays_of(checkpoint):
    """Return the bytes of every tensor of a checkpoint of any format."""
    found = {}
    for key, info in open_checkpoint(checkpoint).tensors.items():
        data = info.file.read_bytes()[info.offset : info.offset + info.nbytes]
        found[key] = (info.dtype, info.shape, data)
    return found


@pytest.mark.parametrize("suffix", ["ckpt", "pt", "pth", "bin", "CKPT", "sft"])
@pytest.mark.parametrize("executor", ["native", "torch"])
def test_merge_writes_the_format_of_the_suffix(bmerge, suffix, executor):
    options = ("--executor", executor, "--device", "cpu")
    assert bmerge(*MERGE, *options, "-o", "out.safetensors").status == 0
    called = bmerge(*MERGE, *options, "-o", f"out.{suffix}")
    assert called.status == 0, called.err
    assert arrays_of(f"out.{suffix}") == arrays_of("out.safetensors")
    assert open_checkpoint(f"out.{suffix}").metadata == open_checkpoint("out.safetensors").metadata
    is_zip = Path(f"out.{suffix}").read_bytes().startswith(b"PK")
    assert is_zip == (suffix != "sft")


def test_torch_loads_what_was_merged(bmerge):
    torch = pytest.importorskip("torch")
    assert bmerge(*MERGE, "-o", "out.ckpt").status == 0
    loaded = torch.load("out.ckpt", weights_only=True)
    a, b = (read_checkpoint(Path(f"{name}.safetensors")) for name in "ab")
    assert list(loaded) == list(a)
    for key, tensor in loaded.items():
        assert np.allclose(tensor.numpy(), 0.75 * a[key] + 0.25 * b[key], rtol=1e-6)


def test_merged_ckpt_is_merged_again_and_tells_its_ancestry(bmerge):
    assert bmerge(*MERGE, "-o", "first.ckpt").status == 0
    again = ("merge", "weighted_sum", "first.ckpt", "a.safetensors", "--alpha", "0.5")
    assert bmerge(*again, "-o", "second.ckpt").status == 0
    assert "weighted_sum of a.safetensors, b.safetensors" not in Path("second.ckpt").name
    metadata = open_checkpoint("second.ckpt").metadata
    assert "b.safetensors" in metadata["bmerge.recipe"]


def test_equal_merges_give_equal_ckpts(bmerge):
    for name in ("one.ckpt", "two.ckpt"):
        assert bmerge(*MERGE, "-o", name).status == 0
    assert Path("one.ckpt").read_bytes() == Path("two.ckpt").read_bytes()


def test_lora_commands_write_files_of_torch(bmerge):
    for suffix in ("safetensors", "pt"):
        assert bmerge(*EXTRACT, "-o", f"x.{suffix}").status == 0
        assert (
            bmerge("lora", "resize", f"x.{suffix}", "--rank", "1", "-o", f"y.{suffix}").status == 0
        )
        assert bmerge("lora", "merge", f"x.{suffix}=0.5", "-o", f"z.{suffix}").status == 0
    for name in "xyz":
        assert arrays_of(f"{name}.pt") == arrays_of(f"{name}.safetensors")


COMMANDS = {
    "merge": MERGE,
    "extract": EXTRACT,
    "resize": ("lora", "resize", "x.safetensors", "--rank", "1"),
    "lora merge": ("lora", "merge", "x.safetensors"),
    "rebasin": ("rebasin", "a.safetensors", "b.safetensors"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("name", ["out.onnx", "out.txt", "out", "out.safetensors.part"])
def test_no_file_is_written_under_another_formats_name(bmerge, tmp_path, command, name):
    bmerge(*EXTRACT, "-o", "x.safetensors")
    before = names_in(tmp_path)
    called = bmerge(*command, "-o", name, "--force")
    assert called.status == 1
    assert f"cannot write {name}" in called.err
    assert "hint: name it .safetensors" in called.err
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_devices_and_their_like_are_refused_even_with_force(bmerge, tmp_path, command):
    bmerge(*EXTRACT, "-o", "x.safetensors")
    os.mkfifo("fifo.safetensors")
    Path("null.safetensors").symlink_to("/dev/null")
    Path("folder.safetensors").mkdir()
    for name, kind in (("fifo", "FIFO"), ("null", "device"), ("folder", "folder")):
        called = bmerge(*command, "-o", f"{name}.safetensors", "--force")
        assert called.status == 1
        assert f"it is a {kind}" in called.err, called.err
    assert (tmp_path / "fifo.safetensors").is_fifo()


@pytest.mark.parametrize("command", list(COMMANDS.values())[:-1], ids=list(COMMANDS)[:-1])
@pytest.mark.parametrize("end", ["there.safetensors", "blob"])
def test_link_stays_a_link_and_its_end_is_written(bmerge, tmp_path, command, end):
    bmerge(*EXTRACT, "-o", "x.safetensors")
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.safetensors"
    link.symlink_to(f"far/{end}")
    assert bmerge(*command, "-o", "plain.safetensors").status == 0
    for force in ([], ["--force"]):  # dangling at first
        called = bmerge(*command, "-o", link.name, *force)
        assert called.status == 0, called.err
        assert link.is_symlink()
        assert (tmp_path / "far" / end).read_bytes() == Path("plain.safetensors").read_bytes()
    assert names_in(tmp_path / "far") == [end]
    assert bmerge(*command, "-o", link.name).status == 1


def test_shards_are_safetensors(bmerge, tmp_path):
    called = bmerge(*MERGE, "--shard-size", "1K", "-o", "out.ckpt")
    assert called.status == 1
    assert "shards are .safetensors files" in called.err
    assert not (tmp_path / "out.ckpt").exists()


def test_shard_that_is_a_link_is_not_replaced(bmerge, tmp_path):
    link = tmp_path / "out-00001-of-00002.safetensors"
    (tmp_path / "blob").write_text("mine")
    link.symlink_to("blob")
    called = bmerge(*MERGE, "--shard-size", "100", "-o", "out.safetensors", "--force")
    assert called.status == 1
    assert "is a link" in called.err
    assert (tmp_path / "blob").read_text() == "mine"


@pytest.mark.parametrize("name", ["out.safetensors", "out", "out.json"])
def test_recipe_is_written_as_yaml_only(bmerge, tmp_path, name):
    (tmp_path / "r.yaml").write_text("method: weighted_sum\nmodels: [a.safetensors, b.safetensors]")
    called = bmerge("recipe", "import", "r.yaml", "-o", name)
    assert called.status == 1
    assert "hint: name it out.yaml" in called.err
    assert not (tmp_path / name).exists()
    (tmp_path / "link.yaml").symlink_to("end.yaml")
    assert bmerge("recipe", "import", "r.yaml", "-o", "link.yaml").status == 0
    assert "weighted_sum" in (tmp_path / "end.yaml").read_text()


@pytest.mark.parametrize("command", list(COMMANDS.values())[:-1], ids=list(COMMANDS)[:-1])
def test_what_a_killed_command_left_goes_with_the_next_one(bmerge, tmp_path, command):
    bmerge(*EXTRACT, "-o", "x.safetensors")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = tmp_path / f".out.safetensors.{child.pid}-0123456789abcdef.bmerge-tmp"
    left.write_text("x")
    assert bmerge(*command, "-o", "out.safetensors").status == 0
    assert not left.exists()


@pytest.mark.parametrize("command", [MERGE, ("convert", "a.safetensors"), ("init",)])
def test_an_empty_name_is_called_empty(bmerge, command):
    called = bmerge(*command, "-o", "")
    assert (called.status, called.out) == (1, "")
    assert called.err.splitlines()[0] == "error: the output's name is empty"


@pytest.mark.parametrize(
    "words",
    [
        (*MERGE, "-o", "new.safetensors/"), (*EXTRACT, "-o", "new.safetensors/"),
        ("init", "a.safetensors", "b.safetensors", "-o", "new.yaml/"),
        ("diff", "a.safetensors", "b.safetensors", "--html", "new/"),
        ("diff", "a.safetensors", "b.safetensors", "--svg", "new.svg/"),
    ],
)  # fmt: skip
def test_a_name_that_ends_as_a_folders_does_is_no_file(bmerge, tmp_path, words):
    before = set(tmp_path.iterdir())
    called = bmerge(*words)
    assert (called.status, called.out) == (1, "")
    end = f"error: cannot write {words[-1]}: a name with / at its end is a folder's"
    assert called.err.splitlines()[-2:] == [end, "hint: name a file"]
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--base", "--html", "--svg"])
def test_an_empty_name_of_a_comparison_is_not_passed_over(bmerge, option):
    called = bmerge("diff", "a.safetensors", "b.safetensors", option, "")
    assert (called.status, called.out) == (1, "")
    assert called.err.startswith("error: the ")
    assert "name is empty" in called.err.replace("name of a model", "name")
