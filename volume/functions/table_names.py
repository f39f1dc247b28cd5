"""Short readable names for long truth tables, for tables on a screen and legends in a figure.

A name is for reading; the label stays the class's identity. No two tables of one output share a name; long ones of
several outputs are abbreviated, with their ends and their length.
"""

from __future__ import annotations

from itertools import groupby

MAX_EXCEPTIONS = 2  # inputs listed one by one in a name; with more of them the hexadecimal form is shorter
MAX_PLAIN = 24  # characters of a label that fit a column as they are


def _positions(label: str, digit: str) -> list[int]:
    return [i for i, character in enumerate(label) if character == digit]


def _input_name(position: int, num_inputs: int) -> str:
    """The input's binary digits where the domain's size is a power of two, its position otherwise."""
    digits = num_inputs.bit_length() - 1
    if num_inputs != 1 << digits:
        return f"#{position}"
    return "0" if position == 0 else f"{position:0{digits}b}"


def table_name(label: str) -> str:
    """Return a name of at most about 40 characters for a truth table's label.

    ``"all 0"``, ``"all 1 except x = 0"``, ``"1 only at 0000100"``, ``"x3"`` (the third digit of the input),
    otherwise the label itself when it is short, or hexadecimal, first input most significant. Inputs are named by
    their binary digits (domains of 2^n inputs in the order of ``BooleanCube``) or by position.
    """
    size = len(label)
    if not label:
        return label
    if len(set(label)) == 1:
        return f"all {label[0]}"
    if size <= MAX_PLAIN:
        return label
    if not set(label) <= {"0", "1"}:
        runs = [(digit, len(list(run))) for digit, run in groupby(label)]
        if len(runs) <= 6:
            return " ".join(f"{digit}×{length}" for digit, length in runs)
        return f"{label[:9]}…{label[-9:]} ({size})"
    ones, zeros = _positions(label, "1"), _positions(label, "0")
    if len(ones) <= MAX_EXCEPTIONS:
        return "1 only at " + ", ".join(_input_name(i, size) for i in ones)
    # The zero input is class 0 in every network without biases: it comes first, and is not counted as an exception.
    exceptions = zeros[1:] if zeros[0] == 0 else zeros
    if len(exceptions) <= MAX_EXCEPTIONS:
        names = [_input_name(i, size) for i in exceptions]
        names = (["x = 0"] if zeros[0] == 0 else []) + names
        return "all 1 except " + ", ".join(names)
    digits = size.bit_length() - 1
    if size == 1 << digits:
        for digit in range(digits):
            half = 1 << (digits - 1 - digit)
            if label == ("0" * half + "1" * half) * (size // (2 * half)):
                return f"x{digit + 1}"
    width = -(-size // 4)
    return f"0x{int(label.ljust(4 * width, '0'), 2):0{width}x}" + ("" if size % 4 == 0 else f" ({size} inputs)")
