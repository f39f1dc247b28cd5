"""What README.md and docs/ name exists: Python names, their keywords, files and links."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

import volume
from volume.commands.main import main

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FACADES = {"volume", "volume.models", "volume.samplers"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.M | re.S)
# `volume.Direct(draws=...)`, but not `volume.py` and not the module of `import:volume.thing:attribute`.
SPANS = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"(?<![\w./:-])((?:volume|models|samplers)(?:\.[A-Za-z_]\w*)+)(?![\w/])(?!\.py)")
FILES = re.compile(r"(?<![\w./-])((?:volume|samplers|models|benchmarks|tests|docs)/[\w./-]*[\w/])(?![\w*]|/?\*)")
LINKS = re.compile(r"\]\(([^)\s#]+)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(page: Path, language: str) -> list[tuple[int, str]]:
    """The fenced blocks of a language, with the line at which each begins."""
    text = page.read_text()
    found = FENCE.finditer(text)
    return [(text.count("\n", 0, each.start()) + 2, each[2]) for each in found if each[1] == language]


def dotted(node: ast.expr) -> str | None:
    """The name that an expression such as ``volume.models.MLP`` spells, or None if it is another expression."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return f"{inner}.{node.attr}" if isinstance(node, ast.Attribute) and inner else None


def resolved(path: str) -> Any:
    """What a dotted name stands for; ``models`` and ``samplers`` are the library's.

    Raises:
        AttributeError: the library has no such name.
    """
    return functools.reduce(getattr, path.removeprefix("volume.").split("."), volume)


def wrong_names(tree: ast.AST) -> list[str]:
    """What a piece of Python takes from the library that is not there: names, imports, keywords of calls."""
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "volume":
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if node.module not in FACADES or not hasattr(module, alias.name):
                    wrong.append(f"from {node.module} import {alias.name}")
        spelled = dotted(node) if isinstance(node, ast.Attribute) else None
        if spelled and spelled.split(".")[0] in ("volume", "models", "samplers"):
            try:
                resolved(spelled)
            except AttributeError:
                wrong.append(spelled)
        called = dotted(node.func) if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and called and called.split(".")[0] in ("volume", "models", "samplers"):
            try:
                parameters = inspect.signature(resolved(called)).parameters
            except (AttributeError, ValueError):
                continue
            if not any(each.kind == each.VAR_KEYWORD for each in parameters.values()):
                unknown = [word.arg for word in node.keywords if word.arg and word.arg not in parameters]
                wrong += [f"{called}({word}=)" for word in unknown]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_in_the_documents_uses_names_that_exist(page):
    for line, code in fences(page, "python"):
        assert wrong_names(ast.parse(code, f"{name(page)}:{line}")) == [], f"{name(page)}:{line}"


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("volume.estimate(query, volume.Direct(draws=9))", []),
        ("volume.estimate(query, volume.Direct(drawn=9))", ["volume.Direct(drawn=)"]),
        ("models.MLP((2, 1)); samplers.Gauss()", ["samplers.Gauss"]),
        ("volume.models.MLQ((2, 1))", ["volume.models.MLQ"]),
        ("volume.Defects.of(cube)", ["volume.Defects.of"]),
        ("from volume import Query, Quest", ["from volume import Quest"]),
        ("from volume.functions.domains import BooleanCube", ["from volume.functions.domains import BooleanCube"]),
    ],
)
def test_a_wrong_name_is_found(code, wrong):
    assert wrong_names(ast.parse(code)) == wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_in_prose_exist(page):
    prose = FENCE.sub("", page.read_text())
    for span in SPANS.findall(prose):
        for spelled in DOTTED.findall(span):
            try:
                resolved(spelled)
            except AttributeError:
                pytest.fail(f"{name(page)}: `{spelled}` is not there")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_their_options_exist(page, capsys):
    lines = [line for _, block in fences(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += SPANS.findall(FENCE.sub("", page.read_text()))
    for line in lines:
        # What stands behind -- are options of another command.
        for part in re.sub(r" #.*", "", line).replace(" -- ", " -- volume estimate ").split(" -- "):
            for command, words in re.findall(r"(?:^|\s)volume ([a-z]+)\b([^']*)", part):
                assert main([command, "--help"]) == 0, f"{name(page)}: {line}"
                known = re.findall(r"--[a-z-]+", capsys.readouterr().out)
                assert set(re.findall(r"(?<=\s)--[a-z-]+", words)) <= set(known), f"{name(page)}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_is_fenced_and_says_its_language(page):
    """An indented block would escape every test of this file."""
    prose = FENCE.sub("", page.read_text())
    assert not re.search(r"\n\n {4}", prose), f"{name(page)} has an indented block"
    known = {"", "console", "python", "sh", "sql", "text", "yaml"}  # "" is for formulae
    assert {each[1] for each in FENCE.finditer(page.read_text())} <= known


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "benchmarks").glob("*.md"))], ids=name)
def test_files_and_links_exist(page):
    text = page.read_text()
    missing = [file for file in FILES.findall(text) if not (ROOT / file).exists()]
    missing += [link for link in LINKS.findall(text) if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_pages_that_the_code_names_exist():
    """Error messages, docstrings and comments send readers to pages."""
    for folder in ("volume", "samplers", "models", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for page in re.findall(r"\bdocs/[\w/]+\.(?:md|png|sh)\b", path.read_text()):
                assert (ROOT / page).exists(), f"{name(path)} names {page}"
