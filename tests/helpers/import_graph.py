"""Who imports whom in this repository, read from its Python files; lazy and typing-only imports count."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from checkout import ROOT

PACKAGES = {"volume": "volume", "samplers": "volume.samplers", "models": "volume.models"}  # folder -> package
FOLDERS = (*PACKAGES, "benchmarks", "tests")


def name_of(path: Path) -> str:
    """The path of a file inside the repository."""
    return path.relative_to(ROOT).as_posix()


def python_files(*folders: str) -> list[Path]:
    """The Python files on disk in these folders, by default in all."""
    return sorted(path for folder in folders or FOLDERS for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name under which a file is imported."""
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    parts = [PACKAGES.get(folder, folder), *rest]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The library: module -> file.
MODULES = {module_of(path): path for path in python_files(*PACKAGES)}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, and the line.

    ``from volume import x`` names the module ``volume.x`` where there is one, else the package.
    """
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            # From outside, what these two facades offer is a value, though a module may have its name.
            facade = base in ("volume.samplers", "volume.models") and package != base
            for alias in node.names:
                nested = f"{base}.{alias.name}"
                yield (nested if nested in MODULES and not facade else base), node.lineno


def graph() -> dict[str, set[str]]:
    """Module of the library -> the modules of the library that it imports."""
    return {
        module: {found for found, _ in imports(path) if found in MODULES} - {module} for module, path in MODULES.items()
    }


def circles(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """The sets of modules that reach each other, of two and more: strongly connected components (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in edges.get(module, ()):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            component = set(stack[at:])
            del stack[at:]
            if len(component) > 1:
                found.append(component)

    for module in edges:
        if module not in index:
            visit(module)
    return found
