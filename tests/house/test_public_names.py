"""Public names: written once, loaded on first use, documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import types

import pytest
from checkout import ROOT

import volume

STUB = ast.parse((ROOT / "volume/__init__.pyi").read_text(encoding="utf-8"))
STUB_IMPORTS = [node for node in STUB.body if isinstance(node, ast.ImportFrom)]
PUBLIC = sorted(volume.__all__)


def documented(value: object, public: str) -> bool:
    """Whether a value has a docstring; a dataclass without one gets its signature."""
    text = inspect.getdoc(value)
    return bool(text) and not text.startswith(f"{public.rpartition('.')[2]}(")


def test_the_stub_writes_every_name_once():
    names = [alias.name for node in STUB_IMPORTS for alias in node.names]
    assert sorted({*names} - {"__version__"}) == PUBLIC
    assert len(names) == len(set(names))
    # `as` tells type checkers that a stub passes the name on.
    assert len(STUB_IMPORTS) == len(STUB.body) - 2  # and a docstring, and the type of __all__
    assert all(alias.asname == alias.name for node in STUB_IMPORTS for alias in node.names)


def test_the_facade_itself_names_none():
    text = (ROOT / "volume/__init__.py").read_text(encoding="utf-8")
    code = re.sub(r'""".*?"""', "", text, flags=re.S)
    assert [name for name in PUBLIC if re.search(rf"\b{name}\b", code)] == []


@pytest.mark.parametrize("public", PUBLIC)
def test_public_names_load_and_are_documented(public):
    assert documented(getattr(volume, public), public), f"volume.{public} has no docstring"
    assert public in dir(volume)


def test_a_module_may_be_public_and_an_unknown_name_is_an_attribute_error():
    assert isinstance(volume.targets, types.ModuleType)
    assert isinstance(volume.guards, types.ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'Splittin'"):
        getattr(volume, "Splittin")  # noqa: B009  (type checkers know that there is none)


@pytest.mark.parametrize("facade", ["models", "samplers"])
def test_facade_names_load_and_are_documented(facade):
    module = getattr(volume, facade)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert documented(value, public), f"volume.{facade}.{public} has no docstring"


def test_samplers_internals_are_no_public_names():
    facade, internals = (importlib.import_module(f"volume.samplers{part}") for part in ("", ".internals"))
    assert all(hasattr(facade, name) for name in internals.__all__)
    assert set(internals.__all__) & set(facade.__all__) == set()


def test_importing_the_package_loads_no_jax():
    check = "import sys, volume; volume.__all__; dir(volume); print('jax' in sys.modules, 'numpy' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_type_stubs_only_say_where_the_folders_are():
    assert (ROOT / "volume/models.pyi").read_text() == "from models import *\n"
    assert (ROOT / "volume/samplers.pyi").read_text() == "from samplers import *\nfrom samplers.internals import *\n"
