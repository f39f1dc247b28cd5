"""Enumerations that are killed go on where they stood, and only on their own question."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import volume
from volume.exact import Exact, ExactRun
from volume.models import MLP
from volume.samplers import Lattice

# Tables of 4 bits are counted by number, those of 32 bits are sorted.
QUERIES = {
    "numbered": (MLP((2, 3, 1), bias=False), volume.BooleanCube(2)),
    "sorted": (MLP((5, 2, 1), "sign", bias=False), volume.BooleanCube(5)),
}
KILLED = """
    import os, signal, sys
    import volume
    from volume.models import MLP

    def progress(state):
        if state.done > 0.4 * state.total:
            os.kill(os.getpid(), signal.SIGKILL)

    query = volume.Query(
        MLP({widths}, {activation!r}, bias=False), volume.samplers.Lattice.ternary(), volume.BooleanCube({n})
    )
    volume.estimate(
        query, volume.Exact(path={path!r}, block={block}, checkpoint={file!r}, checkpoint_seconds=0), progress=progress
    )
"""


def query_of(name):
    model, domain = QUERIES[name]
    return volume.Query(model, Lattice.ternary(), domain)


def options(name, path):
    blocks = {("numbered", "blocks"): 700, ("numbered", "sums"): 20, ("sorted", "blocks"): 20_000}
    return {"path": path, "block": blocks[name, path]}


@pytest.mark.parametrize(("name", "path"), [("numbered", "sums"), ("sorted", "blocks")])
def test_a_killed_run_goes_on_to_the_same_counts(name, path, tmp_path):
    file = tmp_path / "where.npz"
    model, domain = QUERIES[name]
    settings = options(name, path)
    script = textwrap.dedent(KILLED).format(
        widths=model.widths, activation=model.activation, n=domain.n, file=str(file), **settings
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=100)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    begun = []
    method = Exact(checkpoint=file, **settings)
    resumed = volume.estimate(query_of(name), method, progress=lambda state: begun.append(state.done / state.total))
    assert begun[0] > 0.4  # nothing is counted again
    whole = volume.estimate(query_of(name), Exact(**settings))
    for part in ("keys", "hits", "offsets"):
        np.testing.assert_array_equal(getattr(resumed.counts, part), getattr(whole.counts, part))
    assert [entry.name for entry in tmp_path.iterdir()] == ["where.npz"]
    again = volume.estimate(query_of(name), method)  # a run that is over answers at once
    np.testing.assert_array_equal(again.counts.hits, whole.counts.hits)


def begin(file, query, **settings):
    run = ExactRun(query, Exact(checkpoint=file, checkpoint_seconds=0, **settings))
    run.advance()
    return run


def test_another_question_is_refused_with_the_difference(tmp_path):
    file = tmp_path / "where.npz"
    begin(file, query_of("numbered"), **options("numbered", "blocks"))
    other = volume.Query(MLP((2, 3, 1), "sign", bias=False), Lattice.ternary(), volume.BooleanCube(2))
    with pytest.raises(ValueError, match=r'query\.model\.activation is "relu" and this one\'s is "sign"'):
        begin(file, other, **options("numbered", "blocks"))
    levels = volume.Query(MLP((2, 3, 1), bias=False), Lattice((-1, 0, 2)), volume.BooleanCube(2))
    with pytest.raises(ValueError, match=r"weight_levels is \[-1\.0, 0\.0, 1\.0\]"):
        begin(file, levels, **options("numbered", "blocks"))
    with pytest.raises(ValueError, match=r"layout\.blocks"):
        begin(file, query_of("numbered"), path="blocks", block=100)
    orbits = volume.Query(*QUERIES["numbered"][:1], Lattice.ternary(), volume.BooleanCube(2), symmetry="quotient")
    with pytest.raises(ValueError, match="symmetry"):
        begin(file, orbits, **options("numbered", "blocks"))


def test_files_that_cannot_be_used_are_refused(tmp_path):
    file = tmp_path / "where.npz"
    query = query_of("numbered")
    begin(file, query, **options("numbered", "blocks"))
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"nonsense"):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or no checkpoint"):
            begin(file, query, **options("numbered", "blocks"))
    with pytest.raises(ValueError, match="is a folder"):
        begin(tmp_path, query)
    with pytest.raises(ValueError, match="does not exist"):
        begin(tmp_path / "nowhere" / "where.npz", query)
