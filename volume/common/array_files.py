"""NumPy's files, from anybody: no pickles, and no memory for more than a file holds, whatever it says of itself."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

MAX_BYTES = 1 << 30  # of a file, and of the arrays in it


def read_npy(path: Path) -> np.ndarray:
    """Read the array of a .npy file. OSError where that fails; ValueError for any other content, naming the file."""
    size = checked_size(path)
    with path.open("rb") as file:
        try:
            return _array(file, size)
        except Exception as error:  # NumPy's parser of headers raises more than it says
            raise ValueError(f"{path} is no .npy of an array: {_why(error)}.") from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a .npz archive by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such archive, is damaged, holds pickles, or unpacks to more than `MAX_BYTES`.
    """
    checked_size(path)
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if len(members) % (1 << 16) != _num_members(file):
                    raise ValueError("its list of arrays is damaged")
                size = sum(member.file_size for member in members)
                if size > MAX_BYTES:
                    raise ValueError(f"it unpacks to {size:,} bytes, more than the {MAX_BYTES:,} that are read")
                arrays = {}
                for member in members:  # a member unpacks to no more than it says
                    with archive.open(member) as packed:
                        arrays[member.filename.removesuffix(".npy")] = _array(packed, member.file_size)
                return arrays
        except Exception as error:  # of zipfile, zlib and NumPy's parser of headers, about damage of every kind
            raise ValueError(f"{path} is no .npz of arrays: {_why(error)}.") from error


def checked_size(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder.

    Raises:
        FileNotFoundError: there is none; a pipe or a device, whose end may never come, is none.
        ValueError: they are more than `MAX_BYTES`.
    """
    if not path.is_file() and not path.is_dir():
        raise FileNotFoundError(f"There is no file {path}.")
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than the {MAX_BYTES:,} that are read.")
    return size


def as_numbers(array: np.ndarray) -> np.ndarray:
    """Return the array, where it is bfloat16 as such: NumPy's files call that two bytes without a meaning."""
    if array.dtype != np.dtype("V2"):
        return array
    import jax.numpy as jnp

    return array.view(jnp.dtype(jnp.bfloat16))


def _num_members(file: IO[bytes]) -> int:
    """Return how many members an archive says at its end that it lists, modulo 2^16: zipfile does not look."""
    file.seek(0, 2)
    file.seek(max(0, file.tell() - (1 << 16) - 22))
    end = file.read()
    at = end.rindex(b"PK\5\6")
    return int.from_bytes(end[at + 10 : at + 12], "little")


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """Read one array of ``size`` bytes with its header, which is held against them first."""
    version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)  # type: ignore[arg-type]
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)  # type: ignore[arg-type]
    else:
        raise ValueError(f"an array has the version {version} of NumPy's format, which is not read")
    if dtype.hasobject:
        raise ValueError("it holds a pickle, which could run code")
    needed, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if any(length < 0 for length in shape) or needed > left:
        raise ValueError(f"an array of {dtype} {shape} is said to stand in {left:,} bytes")
    flat = np.frombuffer(_whole(file, needed), dtype, math.prod(shape))
    return flat.reshape(shape, order="F" if fortran else "C")


def _whole(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) < size or (isinstance(file, zipfile.ZipExtFile) and file.read(1)):  # the end checks the sum
        raise ValueError("it ends before or behind its array")
    return content


def _why(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
