"""Compiled programs on disk: whose folder, what is thrown away, and that answers never depend on it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
import zlib

import jax
import pytest

from volume.commands.main import main
from volume.common import program_cache
from volume.common.program_cache import keep_programs, prune

WORDS = ["estimate", "--model", "mlp:3-4-1", "--draws", "2000", "--json"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache folder of the user's that nobody has chosen for JAX; what is set is recorded, not told to JAX."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(program_cache.OFF, raising=False)
    monkeypatch.setattr(program_cache, "_chosen", None)
    monkeypatch.setattr(program_cache, "_tell_jax", lambda folder: None)
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_folder_is_the_users_alone_and_named_for_the_processor(home):
    cache = keep_programs()
    assert cache.folder is not None
    assert cache.folder.parent == home / "param-volume" / "programs"
    assert cache.folder.name.endswith(program_cache.processor())
    for folder in (cache.folder, cache.folder.parent, cache.folder.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_access_of_others_is_taken_away(home):
    (home / "param-volume").mkdir(mode=0o777)
    (home / "param-volume").chmod(0o777)
    assert keep_programs().folder is not None
    assert stat.S_IMODE((home / "param-volume").stat().st_mode) == 0o700


def test_a_folder_of_another_user_is_refused(home, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: home.stat().st_uid + 1)
    assert keep_programs().folder is None
    assert "belongs to another user" in keep_programs().reason


def test_a_link_is_refused(home, tmp_path_factory):
    (home / "param-volume").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    assert keep_programs().folder is None
    assert "link" in keep_programs().reason


def test_without_a_place_for_it_there_is_no_cache(home):
    (home / "param-volume").write_text("a file\n")
    assert keep_programs().folder is None


def test_what_the_user_chose_for_jax_stays(home):
    jax.config.update("jax_compilation_cache_dir", str(home / "own"))
    assert keep_programs() == program_cache.ProgramCache(home / "own", "chosen for JAX")
    assert not (home / "param-volume").exists()


@pytest.mark.parametrize("setting", [program_cache.OFF, "--no-cache"])
def test_no_cache(home, monkeypatch, setting):
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")  # is restored
    try:
        if setting == "--no-cache":
            assert main(["count", "--inputs", "4", "--no-cache"]) == 0
        else:
            monkeypatch.setenv(setting, "0")
        assert keep_programs().folder is None
        assert not jax.config.values["jax_enable_compilation_cache"]
        assert not (home / "param-volume").exists()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


def test_programs_cut_short_or_long_unused_are_forgotten(tmp_path):
    packed = zlib.compress(os.urandom(1000))
    for name, content in {"whole": packed, "cut": packed[:-1], "empty": b"", "old": packed, "other": b"(\xb5"}.items():
        (tmp_path / f"{name}-cache").write_bytes(content)
    then = time.time() - 8 * 86_400
    os.utime(tmp_path / "old-cache", (then, then))
    prune(tmp_path, unused_days=7)
    assert {path.name for path in tmp_path.glob("*-cache")} == {"whole-cache", "other-cache"}
    (tmp_path / "whole-cache").write_bytes(packed[:500])  # since the last time
    prune(tmp_path, unused_days=7)
    assert {path.name for path in tmp_path.glob("*-cache")} == {"other-cache"}


def test_the_size_is_bounded_and_the_oldest_go(tmp_path):
    for age in range(10):
        path = tmp_path / f"{age}-cache"
        path.write_bytes(zlib.compress(os.urandom(1000)))
        then = time.time() - 60 * age
        os.utime(path, (then, then))
    prune(tmp_path, most_bytes=4_500)
    assert {path.name for path in tmp_path.glob("*-cache")} == {f"{age}-cache" for age in range(4)}


# What the command prints but for the time, and how many programs were compiled and read; run in a new process.
COUNTED = f"""
import collections, contextlib, io, json, sys
from volume.commands.main import main
out = io.StringIO()
import volume.common.program_cache as cache
cache.keep_programs()
import jax
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rpartition("/")[2]]))
with contextlib.redirect_stdout(out):
    assert main({WORDS!r}) == 0
report = json.loads(out.getvalue())
print(json.dumps([events["cache_hits"], events["compile_requests_use_cache"], report["classes"]]))
"""


def start(folder):
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    return subprocess.Popen(
        [sys.executable, "-c", COUNTED],
        env=environment | {"XDG_CACHE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "compilation cache" not in err
    return json.loads(out)


@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_damage_changes_no_answer(tmp_path):
    both = [start(tmp_path), start(tmp_path)]  # share the folder from the start
    first, other = (finish(process) for process in both)
    assert first[2] == other[2]
    hits, requests, answer = finish(start(tmp_path))
    assert hits == requests > 0
    assert answer == first[2]
    programs = sorted(tmp_path.glob("param-volume/programs/*/*-cache"))
    assert len(programs) == requests
    for at, path in enumerate(programs):
        content = path.read_bytes()
        if at % 2:
            path.write_bytes(content[: len(content) // 2])
        else:
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert finish(start(tmp_path))[2] == first[2]
    (tmp_path / "param-volume" / "programs").rename(tmp_path / "param-volume" / "gone")
    (tmp_path / "param-volume" / "programs").write_text("no folder\n")
    hits, _, answer = finish(start(tmp_path))
    assert hits == 0
    assert answer == first[2]
