"""Compiled programs: a process that asks many questions forgets old ones, and never the caller's."""

from __future__ import annotations

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkout import ROOT

from volume.common import programs

PACKAGES = [ROOT / name for name in ("volume", "models", "samplers")]


@pytest.fixture
def alone(monkeypatch):
    """A registry of its own: other tests keep their programs."""
    monkeypatch.setattr(programs, "_functions", [])
    monkeypatch.setattr(programs, "_looked_at", 0)
    monkeypatch.setattr(programs, "_warned", False)


def _ask(count: int):
    """A function of ours and one of the caller's, after so many distinct questions to each."""

    @programs.program(static_argnames="size")
    def ours(size):
        return jnp.arange(size)

    theirs = jax.jit(lambda x: x + 1)
    for size in range(1, count + 1):
        ours(size)
        programs.make_room()
    theirs(1.0)
    return ours, theirs


def test_more_programs_than_are_kept_are_forgotten(alone, monkeypatch):
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 4)
    monkeypatch.setattr(programs, "_MAPS", ROOT / "no such file")  # as outside Linux
    ours, theirs = _ask(4)
    assert programs.num_kept() == 4
    ours(5)
    programs.make_room()
    assert programs.num_kept() == 0
    assert theirs._cache_size() == 1  # type: ignore[attr-defined]
    np.testing.assert_array_equal(ours(3), [0, 1, 2])  # compiled anew
    assert programs.num_kept() == 1


def test_programs_are_forgotten_when_a_process_maps_too_much(alone, monkeypatch, tmp_path, caplog):
    maps, most = tmp_path / "maps", tmp_path / "most"
    maps.write_text("a region\n" * 11)
    most.write_text("20\n")
    for name, value in {"_MAPS": maps, "_MAX_MAPS": most, "MOST_MAPS": 12, "LOOK_AFTER": 3}.items():
        monkeypatch.setattr(programs, name, value)
    _ask(7)
    assert programs.num_kept() == 7
    maps.write_text("a region\n" * 13)
    programs.make_room()
    assert programs.num_kept() == 7  # not yet looked at again
    _ask(2)
    assert programs.num_kept() == 0
    assert not caplog.records
    maps.write_text("a region\n" * 17)  # the caller's: there is nothing to be done but to say so, once
    _ask(7)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "jax.clear_caches() would forget the others" in caplog.text


def test_every_program_is_made_in_one_place():
    """What is jitted at the top of a module lives as long as the process: it has to be known."""
    files = [file for package in PACKAGES for file in package.rglob("*.py") if file.name != "programs.py"]
    jitted = [
        f"{file.relative_to(ROOT)}: {line}"
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.match(r"(@|\w+ = )((functools\.)?partial\()?jax\.jit", line)
    ]
    assert not jitted


MANY = """
import jax, sys
import volume
from volume.common import programs
from volume.models import MLP
from volume.samplers import Gaussian

programs.MOST_MAPS, programs.LOOK_AFTER, mine, most = 1500, 4, jax.jit(lambda x: x + 1), 0
mine(1.0)
for number in range(int(sys.argv[1])):
    query = volume.Query(MLP((2, 2 + number % 7, 1)), Gaussian(1 + number / 1000), volume.BooleanCube(2), volume.Ones())
    report = volume.estimate(query, volume.Direct(1000))
    assert abs(sum(each.volume for each in report.classes()) - 1) < 1e-9
    most = max(most, programs.num_maps())
print(most, mine._cache_size())
"""


@pytest.mark.slow
@pytest.mark.skipif(not programs.num_maps(), reason="this system does not say what a process maps")
def test_a_process_that_asks_many_questions_maps_no_more_than_a_few_hold():
    """Without forgetting, each question maps some 200 regions more: 25 questions would end at 5,500."""
    done = subprocess.run([sys.executable, "-c", MANY, "25"], capture_output=True, text=True, check=True)
    most, mine = map(int, done.stdout.split())
    assert most < 1500 + (4 + 2) * 250  # until it looks again
    assert mine == 1  # the caller's program is kept
