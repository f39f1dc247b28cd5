"""Truth tables packed into 64-bit words, and their labels.

A table is the decisions on the N inputs of a domain, b = ceil(log2 C) bits each (1 bit for one or two outputs). The
first input takes the most significant bits of word 0 and the last word is padded with zeros, so that keys, compared
word by word, stand in the order of their labels.

Shape letters: K tables, N inputs, C outputs, W words.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from volume.common.whole_numbers import whole_numbers

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_CHUNK_BITS = 1 << 26  # bits unpacked at a time, one byte each


def bits_per_input(num_outputs: int) -> int:
    """b: 1 for one or two outputs, else ceil(log2 C)."""
    return max(1, (num_outputs - 1).bit_length())


def num_words(num_inputs: int, num_outputs: int) -> int:
    """Return W, the 64-bit words of one key."""
    return -(-num_inputs * bits_per_input(num_outputs) // 64)


def decision_dtype(num_outputs: int) -> type[np.unsignedinteger]:
    """uint8 up to 256 outputs."""
    return np.uint8 if num_outputs <= 256 else np.uint16 if num_outputs <= 65536 else np.uint32


def pack(decisions: np.ndarray, num_outputs: int) -> np.ndarray:
    """Return keys uint64 [K, W] of decisions [K, N], each in 0..max(C, 2) - 1 (not checked: this is an inner loop)."""
    decisions = np.asarray(decisions)
    count, num_inputs = decisions.shape
    bits = bits_per_input(num_outputs)
    words = num_words(num_inputs, num_outputs)
    keys = np.empty((count, words), np.uint64)
    for rows in chunks(count, num_inputs * bits):
        part = decisions[rows]
        if bits > 1:
            shifts = np.arange(bits - 1, -1, -1, dtype=part.dtype)
            part = ((part[:, :, None] >> shifts) & part.dtype.type(1)).reshape(len(part), -1)
        packed = np.packbits(part, axis=1)  # first value at the most significant bit
        padded = np.zeros((len(part), 8 * words), np.uint8)
        padded[:, : packed.shape[1]] = packed
        keys[rows] = padded.view(">u8")
    return keys


def unpack(keys: np.ndarray, num_inputs: int, num_outputs: int) -> np.ndarray:
    """Return decisions [K, N], uint8 up to 256 outputs, of keys [K, W]."""
    keys = np.asarray(keys, np.uint64)
    bits = bits_per_input(num_outputs)
    if keys.ndim != 2 or keys.shape[1] != num_words(num_inputs, num_outputs):
        raise ValueError(
            f"Keys of {num_inputs} inputs and {num_outputs} output(s) have shape "
            f"[K, {num_words(num_inputs, num_outputs)}]; got {keys.shape}."
        )
    dtype = decision_dtype(num_outputs)
    decisions = np.empty((len(keys), num_inputs), dtype)
    for rows in chunks(len(keys), num_inputs * bits):
        octets = keys[rows].astype(">u8", order="C").view(np.uint8)
        flat = np.unpackbits(octets, axis=1, count=num_inputs * bits)
        if bits == 1:
            decisions[rows] = flat
            continue
        digits = flat.reshape(len(flat), num_inputs, bits)
        value = digits[:, :, 0].astype(dtype)
        for position in range(1, bits):
            value = (value << dtype(1)) | digits[:, :, position]
        decisions[rows] = value
    return decisions


def chunks(count: int, bits_per_row: int, chunk: int | None = None) -> Iterator[slice]:
    """Return slices of 0..count, ``chunk`` rows each (default: as many as unpack into 64 MiB)."""
    step = chunk or max(1, _CHUNK_BITS // max(1, bits_per_row))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def label(decisions: np.ndarray, num_outputs: int = 1) -> str:
    """Return the label of one table [N]: a digit per input, 0-9a-z up to 36 outputs, else decimals joined by dots.

    Decimals are padded to equal length, so that labels sort as their keys do.
    """
    values = np.asarray(decisions).astype(int).tolist()
    if num_outputs <= len(DIGITS):
        return "".join(DIGITS[value] for value in values)
    width = len(str(num_outputs - 1))
    return ".".join(f"{value:0{width}d}" for value in values)


def labels(keys: np.ndarray, num_inputs: int, num_outputs: int) -> list[str]:
    """Return the labels of keys [K, W]."""
    decisions = unpack(keys, num_inputs, num_outputs)
    if num_outputs > len(DIGITS):
        return [label(row, num_outputs) for row in decisions]
    text = np.frombuffer(DIGITS.encode(), np.uint8)[decisions].tobytes().decode()
    return [text[start : start + num_inputs] for start in range(0, len(text), num_inputs)]


# Short names of the tables with one class everywhere, and the digit of their labels.
CONSTANT = {"zeros": "0", "ones": "1"}


def parse_label(text: str, num_inputs: int, num_outputs: int) -> np.ndarray:
    """Return decisions [N] of a label; ValueError says what is wrong with it."""
    highest = max(num_outputs, 2) - 1
    if num_outputs <= len(DIGITS):
        values = [DIGITS.find(character) for character in text]
    else:
        values = [int(part) if part.isdecimal() else -1 for part in text.split(".")]
    shown = text if len(text) <= 40 else text[:40] + "..."
    if len(values) != num_inputs:
        raise ValueError(f"A table of {num_inputs} inputs has {num_inputs} digits; {shown!r} has {len(values)}.")
    wrong = [position for position, value in enumerate(values) if not 0 <= value <= highest]
    if wrong:
        raise ValueError(
            f"Position {wrong[0]} (counted from 0) of the label {shown!r} is no class number; "
            f"with {num_outputs} output(s) they run from 0 to {highest}."
        )
    return np.array(values, decision_dtype(num_outputs))


def read_label(label: object, num_inputs: int, num_outputs: int) -> np.ndarray:
    """Return decisions [N] of a label, "zeros" or "ones", or of the decisions themselves as a sequence of whole
    numbers.

    ValueError for what is none.
    """
    if isinstance(label, str):
        if label in CONSTANT:
            return np.full(num_inputs, int(CONSTANT[label]), decision_dtype(num_outputs))
        return parse_label(label, num_inputs, num_outputs)
    highest = max(num_outputs, 2) - 1
    values, bad = whole_numbers(label)
    if values.shape != (num_inputs,) or (bad | (values < 0) | (values > highest)).any():
        raise ValueError(
            f"A table of {num_inputs} inputs is named by a string of {num_inputs} digits or as many numbers from 0 to "
            f"{highest}; got {label!r}."
        )
    return values.astype(decision_dtype(num_outputs))
