"""The wheel, away from the checkout: complete, and unharmed by a user's own models.py."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import uv
from checkout import ROOT

HOME = {"volume": "volume", "samplers": "volume/samplers", "models": "volume/models"}  # folder -> place in the wheel
DRAWS = 100_000  # the README's example may take millions; here it only has to run


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command} failed in {cwd}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools leaves a build folder, whose stale files would slip into the next wheel."""
    source = tmp_path_factory.mktemp("source")
    for folder in HOME:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("dist")
    offline = ("--offline", "--no-build-isolation", "--python", sys.executable)  # setuptools comes from the lock
    run(uv.find_uv_bin(), "build", "--wheel", *offline, "--out-dir", out, source, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of a new environment that holds the wheel and, by reference, only the libraries it needs."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    run(uv.find_uv_bin(), "venv", "--offline", "--python", sys.executable, home, cwd=home.parent)
    run(
        *(uv.find_uv_bin(), "pip", "install", "--offline", "--no-deps", "--python", home / "bin/python", wheel),
        cwd=home.parent,
    )
    (site,) = home.glob("lib/python*/site-packages")
    # A path added this way comes last and its own .pth files are not read: the checkout's editable install stays out.
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin" / "python"


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A user's folder, whose own modules bear the names of our folders."""
    for name in ("models", "samplers"):
        (tmp_path / f"{name}.py").write_text(f"MINE = '{name}'\n")
    return tmp_path


def readme_example() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    return next(block for block in blocks if block.startswith("import volume"))


def test_wheel_holds_every_module(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in HOME.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == expected


def test_wheel_is_typed_and_licensed(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "volume/py.typed" in names
    # The public names; those stubs that say where a checkout has its folders stay there.
    assert [name for name in names if name.endswith(".pyi")] == ["volume/__init__.pyi"]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_wheel_stands_beside_a_users_own_models(python, elsewhere):
    (elsewhere / "script.py").write_text(
        "import models, samplers, volume\n"
        "from volume.models import Model\n"
        "assert models.MINE == 'models' and samplers.MINE == 'samplers'\n"
        "print(volume.__file__, volume.models.__file__, Model.__module__, sep='\\n')\n"
    )
    where, models, module = run(python, "script.py", cwd=elsewhere).split()
    inside = python.parent.parent
    assert Path(where).is_relative_to(inside)
    assert Path(models).is_relative_to(inside)
    assert module == "volume.models.model"


@pytest.mark.slow
def test_readme_example_runs_from_the_wheel(python, elsewhere):
    example, changed = re.subn(r"(?<=draws=)[\d_]+", str(DRAWS), readme_example())
    assert changed, "the README's example states its draws"
    (elsewhere / "example.py").write_text(example + "\nimport models\nassert models.MINE == 'models'\n")
    run(python, "example.py", cwd=elsewhere)


def test_the_command_runs_from_the_wheel(python, elsewhere):
    assert run(python.parent / "volume", "--version", cwd=elsewhere).startswith("volume ")
    assert "estimate" in run(python, "-m", "volume", "--help", cwd=elsewhere)
