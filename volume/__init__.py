"""How much parameter space each function of a neural network occupies.

The public names are written in ``__init__.pyi``, which type checkers read. They load on first use, so that
``volume --help`` and a mistyped option answer before JAX is imported. (lazy_loader's ``attach_stub`` does the same, but
not for names of modules two folders down.)
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any


def _read_stub() -> dict[str, str]:
    """Public name -> the module or package that it is imported from."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


_HOMES = _read_stub()
__all__ = sorted(name for name in _HOMES if not name.startswith("_"))  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        advice = "" if name.startswith("_") else _advice(name)
        raise AttributeError(f"module 'volume' has no attribute {name!r}{advice}")
    home = _HOMES[name]
    if home == "volume":  # a package of its own
        return importlib.import_module(f"volume.{name}")
    value = getattr(__import__(home, fromlist=[name]), name)  # with fromlist, a module counts as a name
    globals()[name] = value
    return value


def _advice(name: str) -> str:
    """Where a name is that somebody sought here, or the one that was probably meant; imports neither package."""
    from volume.common.choices import nearest

    places = dict.fromkeys(__all__, "volume")
    for package in (f"volume.{name}" for name, home in _HOMES.items() if home == "volume"):
        spec = importlib.util.find_spec(package)
        text = "" if spec is None or spec.origin is None else Path(spec.origin).read_text(encoding="utf-8")
        names = re.search(r"^__all__ = (\[.*?\])", text, re.MULTILINE | re.DOTALL)
        places |= dict.fromkeys(ast.literal_eval(names[1]) if names else (), package)
    if name in places:
        return f": it is {places[name]}.{name}."
    near = nearest(name, places)
    return f": did you mean {places[near]}.{near}?" if near else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
