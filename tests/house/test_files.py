"""What is on disk, what git tracks, what the wheel gets, and what texts point to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT
from import_graph import FOLDERS, PACKAGES, name_of, python_files
from project_files import PROJECT

from volume.common.provenance import commit

PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "benchmarks").rglob("*.md"))


def test_git_ignores_no_python_file():
    """A pattern such as "runs/" in .gitignore would leave volume/runs/ out of every clone."""
    if not (ROOT / ".git").exists():
        pytest.skip("no clone")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *FOLDERS]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    known = {name for name in listed if name.endswith(".py") and (ROOT / name).exists()}
    assert {name_of(path) for path in python_files()} == known


def test_the_wheel_gets_every_package():
    """setuptools takes the packages of a list: a folder that is not in it would vanish without a word."""
    folders = {path.parent.relative_to(ROOT).parts for path in python_files(*PACKAGES)}
    packages = {".".join((PACKAGES[top], *rest)) for top, *rest in folders}
    assert sorted(packages) == PROJECT["tool"]["setuptools"]["packages"]
    assert all((path.parent / "__init__.py").exists() for path in python_files(*PACKAGES))


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_pages_named_in_code_exist(path):
    named = re.findall(r"(?<![\w/.])docs/[\w./-]*\w", path.read_text(encoding="utf-8"))
    assert [page for page in named if not (ROOT / page).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page: Path):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)", text)]
    relative = [link for link in links if link and not re.match(r"[a-z]+:", link)]
    assert [link for link in relative if not (page.parent / link).exists()] == []


def test_reports_name_the_commit_of_the_checkout():
    """The library finds its checkout by counting folders upward from one of its modules."""
    if not (ROOT / ".git").exists():
        pytest.skip("no clone")  # a source archive has no commit to name
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (commit() or "").rstrip("+") == head.stdout.strip()
