"""Import each module of this library alone: ``python import_alone.py [--each] [MODULE ...]`` prints what fails.

With ``--each`` every module has a process of its own, a copy of one that has loaded the packages of others and nothing
of ours. Else one process does for all, in a fifth of the time: before each import no module of ours is in
``sys.modules``, nor an attribute of its package. What the module imports of ours is not executed anew: as it was
imported alone before, its module object comes back, and with it those that it had loaded, and no others. So every body
runs once.
"""

from __future__ import annotations

import graphlib
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import traceback
import warnings
from types import ModuleType
from typing import Any

from import_graph import MODULES, graph

LOADED: dict[str, dict[str, ModuleType]] = {}  # module -> it and what its import alone loads, of ours
NAMES: dict[str, dict[str, Any]] = {}  # package -> its namespace after its own import


class Again(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Hands out what was imported before, with all that its import loads."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname not in LOADED:
            return None
        for name, module in LOADED[fullname].items():
            sys.modules.setdefault(name, module)
            attach(name)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in NAMES)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return LOADED[spec.name][spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """It ran before."""


def attach(name: str) -> None:
    """Make a loaded module an attribute of its package, as importing it does."""
    package, _, last = name.rpartition(".")
    if package in sys.modules:
        setattr(sys.modules[package], last, sys.modules[name])


def ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "volume"}


def forget() -> None:
    """Take all of our modules out of ``sys.modules`` and out of their packages' namespaces."""
    for name in ours():
        del sys.modules[name]
    for package, names in NAMES.items():
        namespace = vars(LOADED[package][package])
        namespace.clear()
        namespace.update(names)


def imports_alone(module: str) -> bool:
    """Whether a module can be imported where none of ours is; its traceback goes to stderr where it cannot."""
    forget()
    assert not ours()
    try:
        importlib.import_module(module)
    except BaseException:
        traceback.print_exc()
        return False
    loaded = ours()
    for name in loaded:
        if name == module or name.startswith(f"{module}."):  # a package that imports its modules loads them all
            LOADED[name] = loaded
            if hasattr(loaded[name], "__path__"):
                NAMES[name] = dict(vars(loaded[name]))
    return True


OTHERS = (
    "flax.linen",
    "flax.nnx",
    "jax.numpy",
    "matplotlib.pyplot",
    "optax",
    "scipy.stats",
    "duckdb",
    "pyarrow.parquet",
)


def imports_in_a_copy(module: str) -> bool:
    """Whether a module can be imported in a copy of this process, in which none of ours ever was."""
    assert not ours()
    sys.stderr.flush()
    copy = os.fork()
    if copy:
        return os.waitpid(copy, 0)[1] == 0
    try:
        importlib.import_module(module)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def ancestors(module: str) -> set[str]:
    """The packages that a module lies in."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def before() -> dict[str, set[str]]:
    """Module -> those whose import precedes its own: its packages, and what it or the modules of it import."""
    edges = graph()
    needs = {}
    for module in MODULES:
        inside, outside = [module], ancestors(module)
        for each in inside:
            own = {name for name in edges[each] if name.startswith(f"{module}.")}
            inside += own.difference(inside)
            outside |= edges[each] - own - {module}
        needs[module] = outside
    return needs


def main(others: list[str]) -> int:
    if "--each" in others:
        others.remove("--each")
        for name in OTHERS:
            importlib.import_module(name)
        warnings.filterwarnings("ignore", message="os.fork")  # JAX has no thread yet
        failed = [module for module in [*MODULES, *others] if not imports_in_a_copy(module)]
    else:
        sys.meta_path.insert(0, Again())
        modules = [*graphlib.TopologicalSorter(before()).static_order(), *others]
        failed = [module for module in modules if not imports_alone(module)]
    print(*failed, sep="\n")
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
