"""NumPy's files and checkpoints from anybody: the arrays, or a sentence that names the file, at once."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import struct
import time
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from volume.common import array_files
from volume.common.array_files import read_npy, read_npz
from volume.estimators.local.anchor import Anchor

ARRAYS = {
    "row": np.arange(5, dtype=np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(4, dtype=">i8"),
    "none": np.zeros((0, 3)),
    "point": np.float64(2.5),
    "truth": np.array([True, False]),
}


def header(shape, descr="<f8"):
    """An array's header that promises this shape, with one number behind it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(8)


def archive(path, content, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("a.npy", content)
    return path


def npz(path):
    np.savez(path, **ARRAYS)  # type: ignore[arg-type]  # names of arrays
    return path.read_bytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(save, tmp_path):
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.save(tmp_path / "a.npy", array)
        for one in (found[name], read_npy(tmp_path / "a.npy")):
            np.testing.assert_array_equal(one, array)
            assert (one.dtype, one.shape) == (array.dtype, array.shape)


def test_bfloat16_is_read_as_such(tmp_path):
    numbers = np.arange(-3, 3).reshape(2, 3) * 0.375
    np.savez(tmp_path / "a.npz", w=numbers.astype(jnp.bfloat16))
    for anchor in (Anchor.of(tmp_path / "a.npz"), Anchor.of({"w": numbers.astype(jnp.bfloat16)})):
        np.testing.assert_array_equal(anchor.params["w"], numbers)


def flawed(tmp_path, flaw):
    path = tmp_path / "a.npz"
    whole = npz(path)
    if flaw == "empty":
        path.write_bytes(b"")
    elif flaw == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif flaw == "a flipped bit":
        at = whole.index(np.arange(5, dtype=np.float32).tobytes()) + 6
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    elif flaw == "one array":
        np.save(tmp_path / "a.npy", np.ones(3))
        path.write_bytes((tmp_path / "a.npy").read_bytes())
    elif flaw == "1e12 numbers":
        archive(path, header((10**12,)))
    elif flaw == "2^80 numbers":
        archive(path, header((2**40, 2**40)))
    elif flaw == "a negative length":
        archive(path, header((-1,)))
    elif flaw == "a pickle":
        np.savez(path, a=np.array([{}], dtype=object))
    elif flaw == "records":
        np.savez(path, a=np.zeros(2, [("x", "<f4"), ("y", "<f4")]))
    elif flaw == "words":
        np.savez(path, a=np.array(["one"]))
    elif flaw == "an unknown compression":
        stored = bytearray(archive(path, header((1,))).read_bytes())
        for at in (stored.index(b"PK\3\4") + 8, stored.index(b"PK\1\2") + 10):
            stored[at : at + 2] = struct.pack("<H", 77)
        path.write_bytes(stored)
    elif flaw == "a size that lies":  # 64 MB that say they are 200 bytes
        packed = bytearray(archive(path, header((2**23,)) + bytes(2**26), compression=8).read_bytes())
        at = packed.index(b"PK\1\2") + 24
        packed[at : at + 4] = struct.pack("<I", 200)
        path.write_bytes(packed)
    return path


FLAWS = ["empty", "truncated", "a flipped bit", "one array", "1e12 numbers", "2^80 numbers", "a negative length"]
FLAWS += ["a pickle", "records", "words", "an unknown compression", "a size that lies"]


@pytest.mark.parametrize("flaw", FLAWS)
def test_other_archives_are_refused_in_a_sentence(flaw, tmp_path):
    path, begun = flawed(tmp_path, flaw), time.process_time()
    with pytest.raises(ValueError, match=r"no \.npz of arrays: |no array of finite numbers") as found:
        Anchor.of(path)
    assert str(path) in str(found.value)
    assert time.process_time() - begun < 2


def test_archives_that_unpack_to_too_much_are_not_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(100_000))
    monkeypatch.setattr(array_files, "MAX_BYTES", 100_000)
    with pytest.raises(ValueError, match="unpacks to 800,128 bytes, more than the 100,000"):
        Anchor.of(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", a=np.zeros(100_000))
    with pytest.raises(ValueError, match=r"b\.npz has 800,\d+ bytes, more than the 100,000"):
        Anchor.of(tmp_path / "b.npz")


def test_no_flipped_bit_of_an_archive_is_another_anchor(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, first=np.arange(12.0).reshape(3, 4), second=np.ones(4, np.float32))
    whole, anchor = path.read_bytes(), Anchor.of(path)
    behind = whole.index(b"PK\1\2")  # the list of its arrays; what they hold has checksums
    for at, bit in itertools.product(range(behind, len(whole)), range(8)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        with contextlib.suppress(ValueError):
            assert Anchor.of(path) == anchor, (at, bit)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        Anchor.of(tmp_path / "a.npz")


@pytest.mark.parametrize("flaw", ["empty", "truncated", "nested", "object", "text"])
def test_other_flax_checkpoints_are_refused_in_a_sentence(flaw, tmp_path):
    from flax import serialization

    msgpack = serialization.msgpack  # type: ignore[attr-defined]  # Flax's own

    path = tmp_path / "a.msgpack"
    whole = serialization.to_bytes({"w": np.ones(300)})
    tree: object = 1.0
    for _ in range(900):
        tree = {"a": tree}
    array = msgpack.packb(((2**40,), b"O", b"12345678"), use_bin_type=True)
    contents = {
        "empty": b"",
        "truncated": whole[:-9],
        "nested": msgpack.packb(tree),
        "object": msgpack.packb({"w": msgpack.ExtType(1, array)}),
        "text": msgpack.packb({"w": "words"}),
    }
    path.write_bytes(contents[flaw])
    with pytest.raises(ValueError) as found:
        Anchor.of(path)
    assert str(path) in str(found.value)


@pytest.mark.filterwarnings("ignore")  # Orbax's own, about its options
@pytest.mark.parametrize("flaw", ["cut", "1e12 numbers"])
def test_other_orbax_checkpoints_are_refused_in_a_sentence(flaw, tmp_path, monkeypatch):
    checkpoint = pytest.importorskip("orbax.checkpoint")
    folder = tmp_path / "a"
    with checkpoint.PyTreeCheckpointer() as saver:
        saver.save(folder, {"w": np.ones(300)})
    if flaw == "cut":
        for file in [file for file in folder.rglob("*") if file.is_file()]:
            file.write_bytes(file.read_bytes()[:9])
    else:
        monkeypatch.setattr("volume.estimators.local.anchor.MAX_BYTES", 1000)
    why = "" if flaw == "cut" else "it unpacks to 2,400 bytes"
    with pytest.raises(ValueError, match=f"no checkpoint that Orbax reads: {why}") as found:
        Anchor.of(folder)
    assert str(folder) in str(found.value)
