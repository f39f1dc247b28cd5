"""Runs of every method killed at random moments and resumed: each ends as one that never stopped.

    python tests/helpers/random_kills.py --kills 100 --seed 0     # prints how often each was killed

The runs are those of tests/stored, with steps and checkpoints made small, so that a kill falls between any two of them.
Studies keep nothing on the way: a killed one is asked again in the same words, with --force.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from damaged_files import questions_module

NETWORK = ["--model", "mlp:2-3-1", "--no-bias", "--draws", "1e4", "--seed", "3", "--quiet"]
STUDIES = {
    "sweep": ["sweep", "--over", "weight-std", "--values", "1,2", "--label", "zeros", *NETWORK],
    "measures": ["measures", "--target", "majority", "--train", "2", "--method", "direct", *NETWORK],
}
METHODS = (
    *("direct-2e4", "direct-disk", "direct-pooled", "exact", "exact-sums", "splitting", "trained", "infinite-width"),
    *("local-rays", "local-levels", "local-tempered"),
)
STEPS = (0, 1, 1, 2, 3, 4, 5, 6, 8)  # before a kill; 0 is while the run begins, or draws nothing and saves


def _prepare(cache: Path) -> None:
    """Let a run write something after every step, keep compiled programs, and import what every sitting needs."""
    import jax
    import pandas as pandas

    import volume
    from volume.estimators.direct import plan
    from volume.estimators.exact import parts
    from volume.estimators.trained import run
    from volume.runs import checkpoints

    for name in volume.__all__:  # each is imported when it is asked for
        getattr(volume, name)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    checkpoints.BATCH_ROWS, plan.MAX_STEP_DRAWS, run.TURN_SECONDS = 300, 600, 0.0
    checkpoints.STATE_SECONDS = checkpoints.BATCH_SECONDS = parts.PART_SECONDS = parts.MOST_SECONDS = 0.0


def _sitting(name: str, out: Path, tell: int) -> dict[str, Any]:
    """Ask once, going on with what is in ``out``; write a byte into ``tell`` after each step. Returns the numbers."""
    import volume
    from volume.__main__ import main
    from volume.studies.loading import load

    make = questions_module()  # not before the fork: it calls JAX

    def show(_: Any) -> None:
        os.write(tell, b".")

    if name in STUDIES:
        with contextlib.redirect_stdout(io.StringIO()):
            code = main([*STUDIES[name], "--out", str(out), "--force"])
        assert code == 0, code
        return make.compared(load(out / f"{name}.json").to_dict())
    question = make.questions()[name]
    options: dict[str, Any] = {"seed": question.seed, "out": out, "resume": True, "progress": show}
    return make.numbers(volume.estimate(question.query, question.method, **options))


def _child(name: str, out: Path, answer: Path, tell: int) -> int:
    """Fork a process that sits at the run once and writes its numbers to ``answer``."""
    pid = os.fork()
    if pid:
        return pid
    code = 9
    try:
        numbers = _sitting(name, out, tell)
        answer.write_text(json.dumps(numbers, sort_keys=True))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _end(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _try(name: str, out: Path, answer: Path, pause: Callable[[int], None] | None) -> bool:
    """Sit at a run, killed by ``pause`` (None: to its end). Returns whether it was killed before its end."""
    told, tell = os.pipe()
    pid = _child(name, out, answer, tell)
    os.close(tell)
    try:
        if pause is not None:
            pause(told)
            os.kill(pid, signal.SIGKILL)
        while os.read(told, 4096):
            pass
    finally:
        os.close(told)
    code = _end(pid)
    assert code in (0, -signal.SIGKILL), f"{name}: a sitting ended with exit code {code}"
    return code != 0


def try_kills(kills: int, seed: int, folder: Path, names: tuple[str, ...] = (*METHODS, *STUDIES)) -> dict[str, int]:
    """Kill runs so often in all, in turn; return how often each was.

    Nothing of JAX may have run in this process before.

    Raises:
        AssertionError: a run that could not go on, or ended with other numbers than one that was never stopped.
    """
    chance, counted = random.Random(seed), collections.Counter[str]()
    _prepare(folder / "cache")
    for at, name in enumerate(names):
        answer, seconds = folder / f"{name}.json", time.monotonic()
        _try(name, folder / f"{name}-straight", answer, None)
        truth, seconds = answer.read_text(), time.monotonic() - seconds
        share = kills // len(names) + (at < kills % len(names))
        number = 0

        def pause(told: int, steps: bool = name not in STUDIES, seconds: float = seconds) -> None:
            for _ in range(chance.choice(STEPS) if steps else 0):
                if not os.read(told, 1):
                    return
            time.sleep(chance.random() ** 2 * 0.05 if steps else chance.random() * seconds)

        while counted[name] < share:
            out = folder / f"{name}-{number}"
            while counted[name] < share and _try(name, out, answer, pause):
                counted[name] += 1
            answer.unlink()  # of the run before, or of the sitting that was done before it could be killed
            _try(name, out, answer, None)
            assert answer.read_text() == truth, f"{name}: another answer after {counted[name]} kills, in {out}"
            number += 1
        print(f"{name}: killed {counted[name]} times", file=sys.stderr)
    return dict(counted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # JAX warns of forks; nothing of it ran before these
    with tempfile.TemporaryDirectory() as scratch:
        print(try_kills(args.kills, args.seed, Path(scratch)), file=sys.stdout)
