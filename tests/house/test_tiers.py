"""The two tiers of tests: `make test` runs what is not marked slow, `make test-slow` the rest.

Whoever moves a file's tests to the slow tier leaves a small one of them in the quick tier, as a rule in the same file.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from checkout import ROOT

TESTS = ROOT / "tests"
HELPERS = sorted((TESTS / "helpers").glob("*.py"))
NO_TESTS = {*HELPERS, TESTS / "conftest.py", TESTS / "stored" / "make.py"}
FILES = sorted({*TESTS.rglob("*.py")} - NO_TESTS)

# Files with no quick test of their own -> the file that holds the small twin, or why there is none.
ALL_SLOW: dict[str, str] = {
    # The same limits, of replicates that are drawn and not run; runs against truths stand beside their estimators.
    "coverage/test_local.py": "coverage/test_rare.py",
    "coverage/test_splitting.py": "coverage/test_rare.py",
}


class Tiers(NamedTuple):
    """How many test functions of a file are in each tier; one of which only some cases are slow counts in both."""

    quick: int
    slow: int


def tiers(source: str) -> Tiers:
    """Count the test functions of a file by tier: marks stand on the function, on its cases or in ``pytestmark``."""
    quick = slow = 0
    tree = ast.parse(source)
    names = ("pytestmark",)
    marked = any(
        isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) in names
        and "mark.slow" in ast.unparse(node.value)
        for node in tree.body
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            decorators = [ast.unparse(each) for each in node.decorator_list]
            whole = marked or "pytest.mark.slow" in decorators
            quick += not whole
            slow += whole or any("mark.slow" in each for each in decorators)
    return Tiers(quick, slow)


def relative(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()


def test_tiers_are_counted():
    marked = "@pytest.mark.slow\ndef test_a(): pass\n"
    cases = '@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.slow)])\ndef test_b(x): pass\n'
    assert tiers(marked) == Tiers(0, 1)
    assert tiers(cases) == Tiers(1, 1)
    assert tiers(marked + cases + "def test_c(): pass\ndef helper(): pass\n") == Tiers(2, 2)
    assert tiers("pytestmark = pytest.mark.slow\ndef test_a(): pass\n") == Tiers(0, 1)
    assert tiers("pytestmark = [pytest.mark.slow]\nclass TestX:\n    def test_a(self): pass\n") == Tiers(0, 1)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_file_has_a_tier_and_every_slow_file_a_quick_twin(path):
    assert re.fullmatch(r"test_\w+\.py", path.name), "pytest collects test_*.py: this file would belong to no tier"
    found, twin = tiers(path.read_text()), ALL_SLOW.get(relative(path))
    assert sum(found), "this file holds no test"
    assert (found.quick == 0) == (twin is not None), "list the file in ALL_SLOW if, and only if, all its tests are slow"
    if twin is not None and twin.endswith(".py"):
        assert tiers((TESTS / twin).read_text()).quick


def test_the_list_of_slow_files_is_up_to_date():
    assert {path for path in ALL_SLOW if not (TESTS / path).is_file()} == set()


def test_the_two_targets_are_all_tests():
    """And CI runs both."""
    commands = dict(re.findall(r"^(test[a-z-]*): .*\n\t(.*)$", (ROOT / "Makefile").read_text(), flags=re.M))
    assert commands == {
        "test": '$(PYTEST) -m "not slow"',
        "test-slow": "$(PYTEST) -m slow",
        "test-all": "$(PYTEST)",
    }
    assert re.findall(r"^make (\S+)$", (ROOT / ".ci/run").read_text(), flags=re.M) == ["lint", "test", "test-slow"]


def test_names_of_tests_stand_before_no_other_module():
    """With ``__init__.py`` files tests/ would go first on ``sys.path``, and tests/statistics would be `statistics`."""
    assert list(TESTS.rglob("__init__.py")) == []
    folders = {path.name for path in TESTS.rglob("*") if path.is_dir()}
    assert {path.stem for path in HELPERS} & folders == set()
    assert [path for path in HELPERS if path.name.startswith("test_")] == []
