"""Imports run one way: down the layers, without a circle. Lazy imports and those for typing only count."""

from __future__ import annotations

import re

import import_graph
import pytest
from import_graph import MODULES, circles, graph, imports, name_of, python_files

# Top to bottom. A module imports from its own entry and from those below.
LAYERS = (
    "volume.__main__",
    "volume.commands",
    "volume",  # the facade: its names come from everything below
    "volume.studies",
    "volume.checks",
    "volume.cluster",
    "volume.estimators",
    "volume.estimation",
    "volume.method",
    "volume.reports",
    "volume.plots",
    "volume.runs",
    "volume.queries",
    "volume.classifiers",
    "volume.functions",
    "volume.samplers",
    "volume.models",
    "volume.statistics",
    "volume.common",
    "volume.errors",
    "volume.common.choices",  # words, which the sentences of errors choose from
)

# What benchmarks import besides the facades: module -> why.
GRADED = "the study grades this formula itself"
TIMED = "the study times this step alone"
BEYOND_THE_FACADE = {
    "volume.classifiers.defects": "labels of the classes, as the report writes them",
    "volume.common.logs": "prints volumes as the library does",
    "volume.common.progress": "reads the progress that a run reports",
    "volume.common.provenance": "records say what a report's own record says",
    "volume.common.seeds": TIMED,
    "volume.errors": "one sentence for every unknown word",
    "volume.estimators.exact.enumeration": TIMED,
    "volume.estimators.exact.exact": TIMED,
    "volume.estimators.local.divergence": "truths need the divergence of single networks",
    "volume.estimators.local.splitting": GRADED,
    "volume.estimators.trained.run": TIMED,
    "volume.functions.data_files": "the digits, as the command line reads them",
    "volume.plots.figures": "figures in the library's colours",
    "volume.reports.entries": GRADED,
    "volume.reports.local_entries": GRADED,
    "volume.reports.shares": GRADED,
    "volume.reports.trained_comparison": "type of a number that a comparison holds",
    "volume.statistics.counts": GRADED,
    "volume.statistics.intervals": GRADED,
    "volume.statistics.replicates": GRADED,
    "volume.statistics.slopes": GRADED,
    "volume.statistics.unseen": GRADED,
    "volume.studies.demo_measures": "the demo's own method",
    "volume.studies.text": "the table's own words",
}


def layer(module: str) -> int:
    """The position of a module in LAYERS: that of the longest entry that holds it."""
    fitting = [entry for entry in LAYERS if module == entry or (entry != "volume" and module.startswith(f"{entry}."))]
    assert fitting, f"{module} belongs to no layer: add its package to LAYERS"
    return LAYERS.index(max(fitting, key=len))


def test_every_module_has_a_layer():
    assert {layer(module) for module in MODULES} == set(range(len(LAYERS)))


def test_imports_run_downward():
    upward = [(module, other) for module, others in graph().items() for other in others if layer(other) < layer(module)]
    assert sorted(upward) == [], "these imports run upward: move what they need into a lower layer"


def test_no_circles():
    # The facades import what their own modules define: only the modules themselves count.
    facades = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    edges = {module: others - facades for module, others in graph().items() if module not in facades}
    assert circles(edges) == [], "these modules import each other in a circle"


def test_circles_are_found():
    edges = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"e"}, "f": {"a", "g"}, "g": {"f"}}
    assert sorted(map(sorted, circles(edges))) == [["a", "b", "c"], ["f", "g"]]


def test_lazy_relative_and_typing_only_imports_are_read(monkeypatch, tmp_path):
    monkeypatch.setattr(import_graph, "ROOT", tmp_path)
    file = tmp_path / "models" / "mine.py"
    file.parent.mkdir()
    file.write_text(
        "from .mlp import MLP\n"
        "from volume import errors, Query\n"
        "if TYPE_CHECKING:\n    import volume.method\n"
        "def f():\n    from . import model\n"
    )
    assert sorted(imports(file)) == [
        ("volume", 2),
        ("volume.errors", 2),
        ("volume.method", 4),
        ("volume.models.mlp", 1),
        ("volume.models.model", 6),
    ]


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_samplers_and_models_are_entered_by_their_facades(path):
    folder = name_of(path).split("/")[0]
    for module, line in imports(path):
        where = f"{name_of(path)}:{line}: {module}"
        assert module.split(".")[0] not in ("samplers", "models"), f"{where} makes a second copy of every class"
        reaches = re.match(r"volume\.(samplers|models)\.", module)
        assert not reaches or reaches[1] == folder, f"{where} reaches past the facade"


def test_benchmarks_import_the_facades_only():
    facades = ("volume", "volume.models", "volume.samplers")
    used = {module for path in python_files("benchmarks") for module, _ in imports(path)}
    beyond = {module for module in used if module.split(".")[0] == "volume" and module not in facades}
    assert beyond - set(BEYOND_THE_FACADE) == set(), "take the public name, or list the module with its reason"
    assert set(BEYOND_THE_FACADE) - beyond == set(), "nobody imports these any more: take their lines out"
