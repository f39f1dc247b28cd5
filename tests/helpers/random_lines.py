"""Random command lines from the table of options: what is refused is refused at once, in a sentence, and nothing else.

    python tests/helpers/random_lines.py --lines 1000 --seed 0     # prints how they ended

Estimates themselves are cut off where they would begin to draw: a line is about words, files and sizes.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from volume.__main__ import main
from volume.commands.command_table import build

SECONDS = 10.0  # of processor time: a busy machine is no fault of a line
# What is typed for a value: plausible words, sizes out of range, and what no option takes.
VALUES = (
    *("1", "2", "8", "0", "-1", "1e3", "1e9", "1e15", "1e30", "1.5", "nan", "inf", "-inf", "0.95", "1e-300", "", " "),
    *("relu", "ReLU", "gaussian", "normal", "uniform", "sphere", "ternary", "levels:", "levels:-1,1", "levels:1,1"),
    *("mlp:3-4-1", "mlp:2-1", "3-4-1", "mlp:", "mlp:3-0-1", "mlp:7-99999999999999-1", "perceptron:3", "import:x:y"),
    *("boolean:3", "boolean:99", "points:none.npy", "points:bad.npy", "digits:0,0", "table", "ones", "ones*lz", "npn"),
    *("fits:labels=00010001", "fits:labels=0?", "fits:bad.npy", "accuracy:target=majority,bins=1e9", "ones|fits:"),
    *("given:target=parity,train=4", "defects:target=parity,trigger=leading:9", "ones | fits:labels=0001000?"),
    *("direct", "exact", "splitting", "infinite-width", "trained", "rays", "both", "kl", "agreement", "sgd", "adam"),
    *("zeros", "0000", "fits", "width", "depth", "1,2", "1/2", "0,1/-1,1", "0,1", "bad.json", "bad.npy", "run", "."),
    *("majority", "first-bit", "addition:2x2", "addition:2x9999999", "random:1", "leading:0", "\u00e9", "a\x00b", "--"),
)
LIKELY = {  # so that some lines get beyond their first word
    "--model": ("mlp:3-4-1", "3-4-1", "perceptron:3", "mlp:2-3-2"),
    "--draws": ("10", "1e3"),
    "--inputs": ("3", "8"),
    "--train": ("2", "4"),
    "--target": ("majority", "parity", "addition:2x2"),
    "--label": ("zeros", "00000000", "fits"),
    "--over": ("width", "depth", "weight-std"),
    "--values": ("1,2", "2,4"),
    "--out": ("out", "out/deep", "bad.json", ""),
    "--anchor": ("bad.npy", "none"),
    "--classifier": ("table", "ones", "ones*lz", "fits:labels=00010001", "accuracy:target=majority,bins=1e9"),
    "--method": ("direct", "exact", "splitting", "infinite-width", "trained"),
    "--prior": ("uniform", "sphere", "ternary", "levels:-1,0,1"),
    "--particles": ("8", "1e15"),
    "--replicates": ("8", "1e15"),
    "--runs": ("10", "1e15"),
}
SKIPPED = ("doctor", "demo")  # they take no words to speak of, and run for seconds


def random_line(chance: random.Random) -> list[str]:
    """One line: a command, its needed options most of the time, and some others."""
    _, commands = build()
    name = chance.choice([name for name in commands if name not in SKIPPED])
    often = chance.choice((0.02, 0.05, 0.15))  # of an option that need not be given
    words = [name]
    for action in commands[name]._actions:
        needed = action.required or not action.option_strings or "--draws" in action.option_strings
        if action.dest in ("help", "debug") or chance.random() > (0.95 if needed else often):
            continue
        option = action.option_strings[-1] if action.option_strings else ""
        words += [option] if option else []
        if action.nargs != 0:
            likely = LIKELY.get(option, ())
            words.append(chance.choice(likely if likely and chance.random() < 0.8 else VALUES))
    return words


def _begin(*_: object, **__: object) -> None:
    raise InterruptedError("the run would begin here")


def ended(words: list[str]) -> tuple[int, str]:
    """The exit code of a line in the current folder, and its stderr; AssertionError where a promise is broken."""
    out, err, start = io.StringIO(), io.StringIO(), time.process_time()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        for place in ("volume.estimation.run", "volume.estimation.estimate"):
            stack.enter_context(mock.patch(place, _begin))
        for place in ("volume.studies.sweep.sweep", "volume.studies.measures.measure"):
            stack.enter_context(mock.patch(place, _begin))
        try:
            code = main(words)
        except BaseException as error:
            raise AssertionError(f"{words}: {error!r} came out") from error
    assert code in range(6), (words, code)
    assert "Traceback" not in err.getvalue(), (words, err.getvalue())
    assert code == 0 or err.getvalue().startswith(("volume: ", '{"error"')), (words, err.getvalue())
    assert "(--debug shows where)" not in err.getvalue().replace("InterruptedError", ""), (words, err.getvalue())
    assert time.process_time() - start < SECONDS, (words, "took long")
    return code, err.getvalue()


def try_lines(lines: int, seed: int, folder: Path) -> collections.Counter[str]:
    """How so many random lines end, in a folder with damaged files; nothing is written beside it.

    Raises:
        AssertionError: a traceback, a code beyond 5, a refusal that took long, or a file outside ``folder``.
    """
    chance, ends = random.Random(seed), collections.Counter[str]()
    inside = folder / "inside"
    inside.mkdir()
    (inside / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00damaged")
    (inside / "bad.json").write_text('{"format": "none"')
    (inside / "run").mkdir()
    with contextlib.chdir(inside):
        for _ in range(lines):
            code, err = ended(random_line(chance))
            ends["would run" if "would begin here" in err else f"exit code {code}"] += 1
    assert os.listdir(folder) == ["inside"]
    return ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(dict(sorted(try_lines(args.lines, args.seed, Path(scratch)).items())), file=sys.stdout)
