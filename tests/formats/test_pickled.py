from __future__ import annotations

import io
import logging
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
from bmerge.testing.checkpoints import decode


def content(checkpoint):
    arrays = {}
    for key, info in checkpoint.tensors.items():
        with info.file.open("rb") as file:
            file.seek(info.offset)
            arrays[key] = decode(file.read(info.nbytes), info.dtype, info.shape)
    return arrays


def tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        "half": torch.randn(3, 5, generator=generator).half(),
        "brain": torch.randn(4, generator=generator).bfloat16(),
        "single": torch.randn(2, 3, 4, generator=generator),
        "ids": torch.arange(7),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def assert_equal(checkpoint, expected):
    arrays = content(checkpoint)
    assert list(arrays) == list(expected)
    for key, tensor in expected.items():
        wide = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        assert np.array_equal(arrays[key], wide.numpy()), key


@pytest.mark.parametrize("turned", ["", "negated", "conjugated"])
def test_what_torch_has_put_off_is_done_before_a_tensor_is_read(tmp_path, turned):
    numbers = torch.view_as_complex(torch.arange(12.0).reshape(3, 2, 2))
    late = {
        "": numbers, "negated": torch._neg_view(numbers.real.contiguous()),
        "conjugated": numbers.conj(),
    }[turned]  # fmt: skip
    torch.save({"layers.0.a": late, "layers.1.b": torch.ones(2)}, tmp_path / "m.ckpt")
    checkpoint = open_checkpoint(tmp_path / "m.ckpt")
    info = checkpoint.tensors["layers.0.a"]
    data = info.file.read_bytes()[info.offset : info.offset + info.nbytes]
    found = np.frombuffer(data, {"C64": "<c8", "F32": "<f4"}[info.dtype]).reshape(info.shape)
    assert np.array_equal(found, late.resolve_neg().resolve_conj().numpy())
    assert (info.file == tmp_path / "m.ckpt") == (not turned)


@pytest.mark.parametrize("suffix", ["ckpt", "pt"])
@pytest.mark.parametrize("nested", [False, True], ids=["bare", "state_dict"])
def test_open_reads_tensors_where_they_lie(tmp_path, suffix, nested):
    expected = tensors()
    path = tmp_path / f"m.{suffix}"
    torch.save({"state_dict": expected, "step": 3} if nested else expected, path)
    checkpoint = open_checkpoint(path)
    assert checkpoint.files == (path,)
    assert_equal(checkpoint, expected)


def test_open_reads_slices_of_one_storage(tmp_path):
    whole = torch.arange(20.0)
    expected = {"first": whole[:8].reshape(2, 4), "second": whole[8:]}
    torch.save(expected, tmp_path / "m.pt")
    assert_equal(open_checkpoint(tmp_path / "m.pt"), expected)


def test_open_reads_fp8(tmp_path):
    tensor = torch.randn(16).to(torch.float8_e4m3fn)
    torch.save({"w": tensor}, tmp_path / "m.pt")
    info = open_checkpoint(tmp_path / "m.pt").tensors["w"]
    assert (info.dtype, info.shape, info.nbytes) == ("F8_E4M3", (16,), 16)


class Callback:
    """What a trainer leaves in its checkpoints."""

    def __init__(self):
        self.best = {1: 2}


def test_open_ignores_objects_of_trainers(tmp_path):
    expected = {"w": torch.ones(2)}
    torch.save({"state_dict": expected, "callbacks": {Callback: Callback()}}, tmp_path / "m.ckpt")
    assert_equal(open_checkpoint(tmp_path / "m.ckpt"), expected)


def test_open_imports_no_torch(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "m.ckpt")
    code = (
        "import sys; from bmerge.formats import open_checkpoint;"
        f"assert len(open_checkpoint({str(tmp_path / 'm.ckpt')!r}).tensors) == 1;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_open_ignores_sets_and_odd_keys_of_trainers(tmp_path):
    state = {
        "state_dict": {"w": torch.ones(2)},
        "seen": {(1, 2): {3, 4}, frozenset({5}): Callback()},
        "flags": frozenset({1}),
    }
    for protocol in (2, 4):
        torch.save(state, tmp_path / "m.ckpt", pickle_protocol=protocol)
        assert list(open_checkpoint(tmp_path / "m.ckpt").tensors) == ["w"]


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_nothing_in_a_pickle_is_run(tmp_path, legacy):
    victim = tmp_path / "victim"
    path = tmp_path / "m.ckpt"
    attack = {"w": torch.ones(2), "x": Attack(str(victim))}
    torch.save(attack, path, _use_new_zipfile_serialization=not legacy)
    if legacy:
        with pytest.raises(FormatError, match="torch cannot load it"):
            open_checkpoint(path)
    else:
        assert list(open_checkpoint(path).tensors) == ["w"]
    assert not victim.exists()


@pytest.mark.parametrize("reason", ["legacy", "transposed"])
def test_what_cannot_be_streamed_is_unpacked_and_said(tmp_path, caplog, reason):
    expected = {"w": torch.arange(6.0).reshape(2, 3), "h": torch.ones(3).half()}
    path = tmp_path / "m.ckpt"
    if reason == "legacy":
        torch.save(expected, path, _use_new_zipfile_serialization=False)
    else:
        expected["w"] = expected["w"].T
        torch.save(expected, path)
    with caplog.at_level(logging.WARNING):
        checkpoint = open_checkpoint(path)
    assert "unpacking it into a temporary file" in caplog.text
    assert checkpoint.path == path
    assert checkpoint.files != (path,)
    assert_equal(checkpoint, expected)


def write_zip(path, data, members=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        for name, body in (members or {}).items():
            archive.writestr(f"archive/{name}", body)


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps(5), b"\x80\x02\x96" + b"\xff" * 8],
    ids=["empty", "garbage", "list", "number", "huge bytearray"],
)
def test_pickle_without_state_dict_is_refused(tmp_path, data):
    write_zip(tmp_path / "m.ckpt", data)
    with pytest.raises(FormatError):
        open_checkpoint(tmp_path / "m.ckpt")


def test_tensor_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    torch.save({"w": torch.ones(100)}, path)
    with zipfile.ZipFile(path) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        data = archive.read(f"{folder}/data.pkl")
    write_zip(path, data, {"data/0": b"\0" * 396})
    with pytest.raises(FormatError, match="'w' reaches beyond its storage"):
        open_checkpoint(path)


def test_truncated_ckpt_is_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    torch.save({"w": torch.ones(1000)}, path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(FormatError, match="perhaps truncated"):
        open_checkpoint(path)


def test_ckpt_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "m.ckpt")
    with pytest.raises(FormatError, match="holds no tensors"):
        open_checkpoint(tmp_path / "m.ckpt")


def _text(word: bytes) -> bytes:
    return b"X" + len(word).to_bytes(4, "little") + word


_DOUBLED = (
    b")q\x000"
    + b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) + b"0" for i in range(60)
    )
    + b"h\x3c"
)
"""A tuple that is its own two halves, 60 times: its hash and its text take 2^60 steps."""

_OBJECT = b"cfoo\nBar\n"
_MANY = b"(" + b"K\x01" * 50_000 + b"tq\x01"
_STATE = b"}(" + b"".join(b"J" + i.to_bytes(4, "little") + b"N" for i in range(20_000)) + b"uq\x01"
_DICT = b"ccollections\nOrderedDict\nq\x00"


@pytest.mark.parametrize(
    "data",
    [
        b"Nr\xff\xff\xff\x3f.",
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x0f" + b"N.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8e" + b"\xff" * 5 + b"\0\0\0.",
        b"\x96" + b"\xff" * 5 + b"\0\0\0.",
        b"}" + _DOUBLED + b"Ns.",
        b"}(" + _DOUBLED + b"Nu.",
        b"\x8f(" + _DOUBLED + b"\x90.",
        b"(" + _DOUBLED + b"\x91.",
        _DOUBLED + b"Q.",
        b"(" * 2_000_000 + b"t" * 2_000_000 + b".",
        b"]" * 1_000_000 + b"a" * 999_999 + b".",
        b"I" + b"9" * 5000 + b"\n.",
        _OBJECT + b"q\x00" + _MANY + b"h\x00h\x01R0" * 50_000 + b".",
        _OBJECT + b"q\x00" + _MANY + b"h\x00h\x01\x810" * 50_000 + b".",
        _DICT + _STATE + b"h\x00)Rh\x01b" * 20_000 + b".",
    ],
    ids=[
        "memo", "frame", "long", "bytes", "bytearray", "item", "items", "set", "frozen set",
        "reference", "deep tuples", "deep lists", "number", "calls", "objects", "states",
    ],
)  # fmt: skip
def test_a_pickle_costs_no_more_than_its_size(tmp_path, data):
    write_zip(tmp_path / "m.ckpt", data)
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
try:
    open_checkpoint({str(tmp_path / "m.ckpt")!r})
except FormatError as error:
    assert len(str(error)) < 1000
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr[-2000:]


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [
        ([1] * 65, [1] * 65, 0),
        ([2], [1, 1], 0),
        ([-1], [1], 0),
        ([2], [1], -1),
        ([1 << 63], [1], 0),
        ([2.0], [1], 0),
        (["2"], [1], 0),
        ([None], [1], 0),
    ],
    ids=["dimensions", "strides", "negative", "before", "huge", "float", "text", "nothing"],
)
def test_a_tensor_is_made_of_numbers_that_it_can_have(tmp_path, shape, stride, offset):
    class Tensor:
        def __reduce__(self):
            import torch._utils

            return torch._utils._rebuild_tensor_v2, (
                Stored(), offset, tuple(shape), tuple(stride), False, {},
            )  # fmt: skip

    class Stored:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", torch.FloatStorage, "0", "cpu", 2) if type(obj) is Stored else None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump({"w": Tensor()})
    write_zip(tmp_path / "m.ckpt", file.getvalue(), {"data/0": b"\0" * 8})
    with pytest.raises(FormatError, match="its pickle cannot be read"):
        open_checkpoint(tmp_path / "m.ckpt")


def test_attributes_that_a_pickle_sets_are_ignored(tmp_path):
    data = b"ccollections\nOrderedDict\n)R}(" + _text(b"get") + b"K\x01" + _text(b"items")
    write_zip(tmp_path / "m.ckpt", data + b"K\x01ub.")
    with pytest.raises(FormatError, match="holds no tensors"):
        open_checkpoint(tmp_path / "m.ckpt")


def test_name_that_is_not_unicode_is_refused(tmp_path):
    torch.save({"a\ud800b": torch.ones(2)}, tmp_path / "m.ckpt")
    with pytest.raises(FormatError, match="is not Unicode"):
        open_checkpoint(tmp_path / "m.ckpt")


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_damaged_archive_is_a_clear_error(tmp_path, at):
    path = tmp_path / "m.ckpt"
    write_zip(path, pickle.dumps({"a": 1}), {"data/0": b"\0" * 8})
    data = bytearray(path.read_bytes())
    data[-1 - at % len(data)] ^= 0xFF
    data[at % len(data)] ^= 0x81 if at else 0
    path.write_bytes(data)
    with pytest.raises(FormatError):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "pickled", [b"\x80\x02r\xff\xff\xff\x7fN.", b"\x80\x02h\x05.", b"\x80\x02a."]
)
def test_whatever_torch_makes_of_an_old_pickle_is_told_as_the_files_fault(tmp_path, pickled):
    path = tmp_path / "m.ckpt"
    path.write_bytes(pickled)
    with pytest.raises(FormatError, match=r"m\.ckpt: torch cannot load it: \w+Error") as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_what_torch_refuses_is_named_without_advice_to_run_it(tmp_path):
    path = tmp_path / "m.ckpt"
    torch.save({"x": Attack("never")}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(FormatError) as caught:
        open_checkpoint(path)
    assert "posix.mkdir" in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_an_operation_that_torch_refuses_is_named_without_advice_to_run_it(tmp_path):
    path = tmp_path / "m.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {"a": 1}}, protocol=4))
    with pytest.raises(FormatError, match="cannot load it: Unsupported operand 149$"):
        open_checkpoint(path)


ODD = {
    "sparse": lambda: torch.eye(3).to_sparse(), "sparse_csr": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.empty(3, device="meta"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_a_tensor_that_does_not_hold_its_numbers_is_refused_and_not_left_out(tmp_path, kind, old):
    content = {"a": torch.ones(2), "x": ODD[kind]()}
    torch.save(content, tmp_path / "m.ckpt", _use_new_zipfile_serialization=not old)
    with pytest.raises(
        FormatError, match=rf"'x' is a {kind[:4]}\w* tensor, which is not"
    ) as caught:
        open_checkpoint(tmp_path / "m.ckpt")
    assert caught.value.key == "x"


class Named(torch.nn.Parameter):
    pass


def test_tensors_with_attributes_and_of_other_classes_are_not_left_out(tmp_path):
    noted = torch.arange(3.0)
    noted.note = "of a trainer"
    content_of_file = {"a": torch.ones(2), "x": noted, "y": Named(torch.full((2,), 7.0))}
    torch.save(content_of_file, tmp_path / "m.ckpt")
    assert_equal(open_checkpoint(tmp_path / "m.ckpt"), content_of_file)


def test_a_tensor_of_a_maker_that_is_not_known_is_refused(tmp_path):
    data = b"}" + _text(b"x") + b"ctorch._utils\n_rebuild_from_type_v2\n(cfoo\nBar\nN)Nt" + b"Rs."
    write_zip(tmp_path / "m.ckpt", data)
    with pytest.raises(FormatError, match="a tensor that nothing known makes"):
        open_checkpoint(tmp_path / "m.ckpt")


def test_numbers_in_the_byte_order_of_another_machine_are_turned_round(tmp_path):
    path, numbers = tmp_path / "m.pt", np.arange(6, dtype="<f4") + 0.5
    torch.save({"x": torch.from_numpy(numbers)}, tmp_path / "little.pt")
    with zipfile.ZipFile(tmp_path / "little.pt") as little, zipfile.ZipFile(path, "w") as big:
        for name in little.namelist():
            content = little.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            elif name.endswith("/data/0"):
                content = numbers.astype(">f4").tobytes()
            big.writestr(name, content)
    assert_equal(open_checkpoint(path), {"x": torch.from_numpy(numbers)})


def test_a_tensor_that_repeats_few_numbers_makes_no_large_file(tmp_path):
    path = tmp_path / "m.pt"
    few = torch.arange(3.0).expand(1000, 3)
    torch.save({"few": few}, path)
    assert_equal(open_checkpoint(path), {"few": few.contiguous()})
    torch.save({"few": few, "many": torch.zeros(2).expand(10**6, 10**6, 2)}, path)
    with pytest.raises(
        FormatError, match="'many' of 8000000000000 bytes repeats the 8 of it"
    ) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: tensor 'many'")
    assert caught.value.hint.startswith("save the model")


@pytest.mark.parametrize(
    "beside",
    [{}, {"step": 7, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
     {"lr_schedulers": [{"x": torch.ones(2)}], "rng_state": [1, 2, 3]}],
    ids=["alone", "optimiser", "other states"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["generator_ema", "unet", "dit", "weights", "ema_state_dict"])
def test_state_dict_may_be_under_any_name_where_it_is_the_only_one(tmp_path, name, beside):
    tensors = {"a.weight": torch.ones(2, 2), "b.weight": torch.zeros(3)}
    torch.save({name: tensors, **beside}, tmp_path / "m.pt")
    assert open_checkpoint(tmp_path / "m.pt").tensors.keys() == tensors.keys()


def test_names_of_several_state_dicts_are_told(tmp_path):
    torch.save({name: {"a": torch.ones(2)} for name in ("student", "teacher")}, tmp_path / "m.pt")
    with pytest.raises(FormatError, match="holds no tensors") as caught:
        open_checkpoint(tmp_path / "m.pt")
    assert "'student', 'teacher'" in caught.value.hint


def test_mapping_that_holds_itself_is_read_in_no_time(tmp_path):
    content = {}
    content.update({f"x{number}": content for number in range(30)})
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(FormatError, match="holds no tensors"):
        open_checkpoint(tmp_path / "m.pt")
