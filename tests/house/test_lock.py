"""Dependencies, the lock, and numbers that several files state: they agree."""

from __future__ import annotations

import re
import sys

from checkout import ROOT
from import_graph import PACKAGES, imports, python_files
from project_files import LOCK, PROJECT, locked, requirement

import volume

# Module -> distribution, where the two names differ.
DISTRIBUTION = {"sklearn": "scikit-learn"}
# Asked for where they are used, and explained there when absent: they must not be needed to import the package.
OPTIONAL = {"orbax", "pandas", "pytest", "scikit-learn", "torch"}


def test_third_party_imports_are_declared_and_declarations_used():
    declared = {requirement(line) for line in PROJECT["project"]["dependencies"]}
    used = {module.split(".")[0] for path in python_files(*PACKAGES) for module, _ in imports(path)}
    used = {DISTRIBUTION.get(module, module) for module in used - set(sys.stdlib_module_names) - {"volume"}}
    assert used - declared <= OPTIONAL
    assert declared <= used


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]
    assert volume.__version__ == version
    citation = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.M)
    assert citation == [version]
    changes = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert changes[0] == version


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


def test_pre_commit_runs_what_ci_lints():
    hooks = re.findall(r"^ +entry: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(), flags=re.M)
    lint = re.search(r"^lint: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.M)
    assert lint is not None
    assert hooks == [line.strip().replace("$(BIN)", ".venv/bin") for line in lint[1].splitlines()]
    assert "make lint" in (ROOT / ".ci/run").read_text()
