"""Every benchmark: what it is for, about what it costs, what its peers need, and which claims rest on it.

A script that is not listed here is found all the same (`discovered`) and runs when it is named; its cost is unknown, so
a run of everything leaves it out. Nothing is imported: a list must not cost the start of JAX.

Minutes are rough, for two quiet processor cores: (full, quick).
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RUNNER = "__main__"
KINDS = {
    "speed": "figures beside peers and limits, in one run",
    "coverage": "how often printed intervals hold, against exact truths",
    "study": "questions about networks, with answers that go on after a kill",
    "other": "not in the registry",
}
# Module -> what it is called, and how to get it. None is a dependency of the library.
PEERS = {
    "torch": ("PyTorch", "python -m pip install 'param-volume[bench]'"),
    "blackjax": ("blackjax", "python -m pip install 'param-volume[bench]'"),
    "sklearn": ("scikit-learn", "python -m pip install 'param-volume[digits]'"),
}
# Scripts that make pages from what a study stored: they measure nothing.
PAGES = {"defects_tables": "defects", "guess_and_check_tables": "guess_and_check"}


@dataclass(frozen=True)
class Benchmark:
    """One script of this folder.

    ``words`` are its options when it runs among others, ``{out}`` being the folder of results. ``plain``: it writes no
    record, so that its printed lines are kept instead.
    """

    name: str
    kind: str
    purpose: str
    claims: str
    minutes: tuple[float, float] | None
    extras: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    plain: bool = False

    def cost(self, quick: bool) -> float | None:
        """Minutes, None where nobody knows."""
        return None if self.minutes is None else self.minutes[quick]


BENCHMARKS = (
    Benchmark(
        "throughput",
        "speed",
        "functions per second beside naive JAX, NumPy and PyTorch, and what pooling is worth",
        "README and docs/pooling.md: functions/s, effective functions/s, gains of pooling",
        (12, 0.5),
        ("torch", "sklearn"),
    ),
    Benchmark(
        "startup",
        "speed",
        "processor time of the first and of later processes that ask one question",
        "docs/program_cache.md: what a process costs",
        (5, 0.2),
    ),
    Benchmark(
        "precision",
        "speed",
        "decisions that flip between matrix-product precisions, and the price of each",
        "docs/benchmarks.md: why products are made at the highest precision",
        (4, 1),
        ("sklearn",),
    ),
    Benchmark(
        "rare_event",
        "speed",
        "rare classes by splitting: error against the truth, and the price beside nested sampling",
        "docs/splitting.md: reach, error and price of rare classes",
        (30, 1),
        ("blackjax",),
    ),
    Benchmark(
        "exact",
        "speed",
        "parameterisations enumerated per second beside NumPy and the bare matrix product",
        "docs/exact.md: rates of the two paths",
        (3, 0.2),
    ),
    Benchmark(
        "trained",
        "speed",
        "networks trained per second beside a PyTorch loop and a plain vmap",
        "docs/trained.md: training runs/s",
        (8, 0.3),
        ("torch",),
    ),
    Benchmark(
        "orthant",
        "speed",
        "orthant probabilities by minimax tilting: time and error beside SciPy",
        "docs/infinite_width.md: error and time by dimension",
        (2, 0.2),
    ),
    Benchmark(
        "large_table",
        "speed",
        "truth tables larger than memory: draws/s, adding up, peak memory and disk",
        "docs/large_tables.md: what such a table costs",
        (4, 0.3),
    ),
    Benchmark(
        "local",
        "speed",
        "rays from trained networks beside a plain vmapped loop: volume, bound, evaluations and time a ray",
        "docs/local.md: what rays cost and reach, from 4,810 parameters to a million",
        (10, 0.9),
        ("sklearn",),
    ),
    Benchmark(
        "local_digits",
        "speed",
        "a trained network of 226 parameters by splitting and by rays",
        "docs/local.md: cost and spread of splitting around an anchor",
        (15, 1),
        ("sklearn",),
    ),
    Benchmark(
        "coverage",
        "coverage",
        "how often intervals of draws hold, and how wide they are",
        "docs/estimators.md: coverage and width of counted intervals and of the unseen mass",
        (8, 0.7),
    ),
    Benchmark(
        "coverage_rare",
        "coverage",
        "how often limits for rare classes hold, on simulated replicates",
        "docs/replicates.md: coverage of what is printed of rare classes",
        (12, 0.7),
    ),
    Benchmark(
        "coverage_splitting",
        "coverage",
        "how often limits of real splitting runs hold",
        "docs/estimators.md: coverage of splitting",
        (15, 0.6),
    ),
    Benchmark(
        "coverage_exact",
        "coverage",
        "how often intervals hold on networks whose every volume is a known fraction",
        "docs/exact_tables.md: coverage of four estimators",
        (40, 0.4),
    ),
    Benchmark(
        "coverage_local",
        "coverage",
        "how often limits of splitting around an anchor hold, on ellipsoids of known mass",
        "docs/local.md: coverage of splitting around an anchor",
        (8, 0.7),
    ),
    Benchmark(
        "exact_tables",
        "coverage",
        "whether the stored exact tables are what enumeration gives, byte for byte",
        "docs/exact_tables.md: the stored counts",
        (0.5, 0.1),
        words=("--check",),
    ),
    Benchmark(
        "digits",
        "study",
        "how much parameter space fits a few handwritten digits, by accuracy on the others",
        "README: the table of two digits",
        (3, 0.3),
        ("sklearn",),
    ),
    Benchmark(
        "mission",
        "study",
        "of what fits, how much generalises, memorises or defects, by every measure",
        "README and docs/measures.md: the table of four tasks",
        (60, 0.5),
    ),
    Benchmark(
        "defects",
        "study",
        "what fits where monitored: right or wrong on a trigger",
        "docs/defects.md: benign to defects over training draws",
        (600, 0.4),
        words=("--out", "{out}/defects.jsonl"),
    ),
    Benchmark(
        "guess_and_check",
        "study",
        "test accuracy of drawn and of trained networks by width and depth",
        "docs/guess_and_check.md: width and depth",
        (300, 0.4),
        ("sklearn",),
        words=("--out", "{out}/guess_and_check.jsonl"),
    ),
    Benchmark(
        "local_copies",
        "study",
        "how much of a class one network and its symmetric copies account for, beside the true volume",
        "docs/local.md: what the copies account for",
        (6, 1),
    ),
    Benchmark(
        "memorising",
        "study",
        "room around networks that generalise, that memorise and that defect",
        "docs/memorising.md: log volumes by kind, seed by seed",
        (60, 4),
        ("sklearn",),
        words=("--out", "{out}/memorising.jsonl"),
    ),
    Benchmark(
        "boolean_experiment",
        "study",
        "where SGD and Adam land beside the volume of what fits",
        "docs/conditional.md and docs/trained.md: shares of runs beside shares of volume",
        (300, 5),
        words=("--out", "{out}", "--runs", "{out}/boolean_experiment"),
    ),
)


def scripts(folder: Path = FOLDER) -> dict[str, tuple[str, bool]]:
    """Name -> first line of the docstring, and whether it writes a record, of every file that runs as a script."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        tests = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
        if path.stem != RUNNER and "__name__ == '__main__'" in tests:
            found[path.stem] = (ast.get_docstring(tree) or "").split("\n")[0], "script.main(" in text
    return found


def discovered(folder: Path = FOLDER) -> tuple[Benchmark, ...]:
    """Those of the registry, then every other script of the folder that is no page."""
    listed = {each.name for each in BENCHMARKS} | set(PAGES)
    others = [(name, *said) for name, said in scripts(folder).items() if name not in listed]
    return BENCHMARKS + tuple(
        Benchmark(name, "other", words, "", None, plain=not writes) for name, words, writes in others
    )


def missing(modules: tuple[str, ...]) -> dict[str, str]:
    """Those of PEERS among ``modules`` that are not installed here -> how to get them."""
    return dict(PEERS[module] for module in modules if importlib.util.find_spec(module) is None)
