"""The rules of the house that no linter knows: layering, sizes, versions, the lock, the public names."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from checkout import ROOT

import volume

PACKAGES = ("volume", "samplers", "models")
SOURCES = sorted(path for folder in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()

# Module -> distribution, where the two names differ.
DISTRIBUTION = {"sklearn": "scikit-learn"}
# Asked for where they are used, and explained there when absent: they must not be needed to import the package.
OPTIONAL = {"orbax", "pandas", "pytest", "scikit-learn", "torch"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> list[tuple[str, int]]:
    """Absolute modules that a file imports, with lines; ``from .x import y`` in models/ is volume.models.x."""
    package = {"samplers": "volume.samplers", "models": "volume.models"}.get(path.parent.name, path.parent.name)
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [package if node.level else None, node.module]))
            # `from volume import models` names a package as much as a value.
            nested = [f"{module}.{alias.name}" for alias in node.names] if module == "volume" else [module]
            found += [(each, node.lineno) for each in nested]
    return found


def requirement(line: str) -> str:
    """The distribution that a requirement names: "jax[cuda12]>=0.10" -> "jax"."""
    return re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0].lower()


def locked() -> dict[str, set[str]]:
    """Distribution -> versions in the lock (several where they depend on the Python version)."""
    pins: dict[str, set[str]] = {}
    for pin in re.finditer(r"^([a-z0-9._-]+)==([^ ]+)", LOCK, flags=re.M):
        pins.setdefault(pin[1], set()).add(pin[2])
    return pins


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_file_over_500_lines(path):
    assert len(path.read_text().splitlines()) <= 500


def test_the_two_folders_are_flat():
    """setuptools' mapping lists packages one by one: a folder inside one of these would vanish from the wheel."""
    nested = [name(path) for folder in ("samplers", "models") for path in (ROOT / folder).glob("*/*.py")]
    assert nested == []


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_run_one_way(path):
    """models uses neither of the others, samplers uses models; across folders through the facades only."""
    folder = path.relative_to(ROOT).parts[0]
    allowed = {"models": {"volume.errors"}, "samplers": {"volume.errors", "volume.models"}}.get(folder)
    for module, line in imports(path):
        where = f"{name(path)}:{line}: {module}"
        assert module.split(".")[0] not in ("samplers", "models"), f"{where} makes a second copy of every class"
        mine = module == f"volume.{folder}" or module.startswith(f"volume.{folder}.")
        if module.split(".")[0] != "volume" or mine:
            continue
        assert not re.match(r"volume\.(samplers|models)\.", module), f"{where} reaches past the facade"
        if allowed is not None:
            assert module in allowed, f"{where} runs against the layering of {folder}/"


def test_third_party_imports_are_declared_and_declarations_used():
    declared = {requirement(line) for line in PROJECT["project"]["dependencies"]}
    used = set()
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] in PACKAGES:
            top = {module.split(".")[0] for module, _ in imports(path)} - set(sys.stdlib_module_names) - {"volume"}
            used |= {DISTRIBUTION.get(module, module) for module in top}
    assert used - declared <= OPTIONAL
    assert declared <= used


def test_importing_the_package_loads_no_jax():
    check = "import sys, volume; volume.__all__; dir(volume); print('jax' in sys.modules, 'numpy' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_the_facade_lists_every_name_it_serves():
    assert set(volume.__all__) == {*volume._HOME, "models", "samplers"}


@pytest.mark.parametrize("public", sorted(volume.__all__))
def test_public_names_load_and_are_documented(public):
    value = getattr(volume, public)
    text = inspect.getdoc(value)
    # A dataclass without a docstring gets its signature as one.
    assert text, f"volume.{public} has no docstring"
    assert not text.startswith(f"{public}("), f"volume.{public} has no docstring"


@pytest.mark.parametrize("facade", ["models", "samplers"])
def test_facade_names_load_and_are_documented(facade):
    module = getattr(volume, facade)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            text = inspect.getdoc(value) or ""
            assert text, f"volume.{facade}.{public} has no docstring"
            assert not text.startswith(f"{public}("), f"volume.{facade}.{public} has no docstring"


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]
    assert volume.__version__ == version
    citation = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.M)
    assert citation == [version]
    changes = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert changes[0] == version


def test_type_stubs_only_say_where_the_folders_are():
    for folder in ("samplers", "models"):
        assert (ROOT / "volume" / f"{folder}.pyi").read_text() == f"from {folder} import *\n"


def test_lock_names_no_index_and_hashes_everything():
    assert not re.search(r"https?:|file:|index|find-links|trusted-host", LOCK)
    entries = re.split(r"\n(?=[a-z0-9._-]+(?:\[[^]]*\])?==)", LOCK)[1:]
    assert len(entries) > 30
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_lock_covers_what_the_two_commands_install():
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["digits"], *groups["dev"]]
    pins = locked()
    assert {requirement(line) for line in wanted} <= set(pins)
    assert not {"torch", "blackjax"} & set(pins), "peers of the benchmarks are no part of the set-up"
    # One lock serves Python 3.11 and later ones, which get another JAX.
    assert len(pins["jax"]) == 2


def test_one_uv_everywhere():
    (pinned,) = re.findall(r"^UV_VERSION = (.+)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert f"uv=={pinned}" in PROJECT["dependency-groups"]["dev"]
    assert locked()["uv"] == {pinned}


def test_supported_pythons_agree():
    tested = re.findall(r'"(3\.\d+)"', (ROOT / ".github/workflows/ci.yml").read_text())
    assert tested == ["3.11", "3.12", "3.13"]
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info < (3, 14)" in (ROOT / "Makefile").read_text()
