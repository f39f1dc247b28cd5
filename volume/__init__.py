"""How much parameter space each function of a neural network occupies.

The names below load on first use, so that ``volume --help`` and a mistyped option answer before JAX is imported.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# In a checkout samplers/ and models/ stand beside this folder; a wheel has them inside it.
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file():
    __path__.append(str(_root))

if TYPE_CHECKING:
    from volume import models as models
    from volume import samplers as samplers
    from volume.addition import Addition as Addition
    from volume.addition import count_additions as count_additions
    from volume.baselines import Baseline as Baseline
    from volume.canonical import TableGroup as TableGroup
    from volume.checking import Checked as Checked
    from volume.checking import check_report as check_report
    from volume.class_estimate import ClassEstimate as ClassEstimate
    from volume.class_estimate import LimitVolume as LimitVolume
    from volume.class_estimate import ReplicatedVolume as ReplicatedVolume
    from volume.classifiers import Accuracy as Accuracy
    from volume.classifiers import Argmax as Argmax
    from volume.classifiers import Defects as Defects
    from volume.classifiers import Fits as Fits
    from volume.classifiers import Given as Given
    from volume.classifiers import Ones as Ones
    from volume.classifiers import Predicate as Predicate
    from volume.classifiers import Product as Product
    from volume.classifiers import TruthTable as TruthTable
    from volume.comparison import Comparison as Comparison
    from volume.comparison import compare as compare
    from volume.counting import Counting as Counting
    from volume.counting import FunctionCount as FunctionCount
    from volume.counting import count_functions as count_functions
    from volume.counting import log_share_right as log_share_right
    from volume.direct import Direct as Direct
    from volume.distributed import estimate_distributed as estimate_distributed
    from volume.divergence import DivergenceFunction as DivergenceFunction
    from volume.domains import BooleanCube as BooleanCube
    from volume.domains import Points as Points
    from volume.estimate_report import EstimateReport as EstimateReport
    from volume.estimation import Interrupted as Interrupted
    from volume.estimation import estimate as estimate
    from volume.estimation import running as running
    from volume.exact import Exact as Exact
    from volume.hosts import Hosts as Hosts
    from volume.label_curve import LabelsCurve as LabelsCurve
    from volume.label_curve import labels_curve as labels_curve
    from volume.lempel_ziv import LempelZiv as LempelZiv
    from volume.local import Local as Local
    from volume.local_estimate import LocalVolume as LocalVolume
    from volume.measures import Measures as Measures
    from volume.measures import measure as measure
    from volume.merging import merge as merge
    from volume.nngp import nngp_kernel as nngp_kernel
    from volume.npn import NPN as NPN
    from volume.orthant import OrthantEstimate as OrthantEstimate
    from volume.orthant import log_orthant as log_orthant
    from volume.polynomial import Extrapolation as Extrapolation
    from volume.polynomial import extrapolation as extrapolation
    from volume.pooled_report import PooledReport as PooledReport
    from volume.pooling import Pooled as Pooled
    from volume.process_group import ProcessLost as ProcessLost
    from volume.query import Query as Query
    from volume.report import ClassVolume as ClassVolume
    from volume.report import VolumeReport as VolumeReport
    from volume.reverse import bracket as bracket
    from volume.run_directory import RunStopped as RunStopped
    from volume.run_union import merge_directories as merge_directories
    from volume.sharing import Share as Share
    from volume.sharing import shares as shares
    from volume.simplicity import SimplicityMeasure as SimplicityMeasure
    from volume.simplicity import simplicity_measure as simplicity_measure
    from volume.splitting import Splitting as Splitting
    from volume.storage import load as load
    from volume.sweeping import Sweep as Sweep
    from volume.sweeping import sweep as sweep
    from volume.table_report import TableReport as TableReport
    from volume.targets import random_labels as random_labels
    from volume.targets import split as split
    from volume.targets import target as target
    from volume.trained import Trained as Trained
    from volume.trained_comparison import TrainingComparison as TrainingComparison
    from volume.trained_comparison import compare_training as compare_training
    from volume.trained_report import TrainedReport as TrainedReport
    from volume.wide_limit import InfiniteWidth as InfiniteWidth
    from volume.wide_limit import infinite_width as infinite_width

_HOME = {
    "ClassEstimate": "class_estimate",
    "LimitVolume": "class_estimate",
    "ReplicatedVolume": "class_estimate",
    "Accuracy": "classifiers",
    "Baseline": "baselines",
    "Checked": "checking",
    "check_report": "checking",
    "Addition": "addition",
    "count_additions": "addition",
    "Argmax": "classifiers",
    "Defects": "classifiers",
    "Fits": "classifiers",
    "Given": "classifiers",
    "Ones": "classifiers",
    "Predicate": "classifiers",
    "Product": "classifiers",
    "TruthTable": "classifiers",
    "Comparison": "comparison",
    "compare": "comparison",
    "Counting": "counting",
    "FunctionCount": "counting",
    "count_functions": "counting",
    "log_share_right": "counting",
    "Direct": "direct",
    "estimate_distributed": "distributed",
    "DivergenceFunction": "divergence",
    "BooleanCube": "domains",
    "Points": "domains",
    "EstimateReport": "estimate_report",
    "Interrupted": "estimation",
    "estimate": "estimation",
    "running": "estimation",
    "Exact": "exact",
    "Hosts": "hosts",
    "InfiniteWidth": "wide_limit",
    "infinite_width": "wide_limit",
    "LabelsCurve": "label_curve",
    "labels_curve": "label_curve",
    "LempelZiv": "lempel_ziv",
    "Local": "local",
    "LocalVolume": "local_estimate",
    "Measures": "measures",
    "measure": "measures",
    "Extrapolation": "polynomial",
    "extrapolation": "polynomial",
    "Pooled": "pooling",
    "PooledReport": "pooled_report",
    "TableGroup": "canonical",
    "merge": "merging",
    "nngp_kernel": "nngp",
    "NPN": "npn",
    "OrthantEstimate": "orthant",
    "log_orthant": "orthant",
    "ProcessLost": "process_group",
    "Query": "query",
    "ClassVolume": "report",
    "VolumeReport": "report",
    "Share": "sharing",
    "shares": "sharing",
    "bracket": "reverse",
    "SimplicityMeasure": "simplicity",
    "RunStopped": "run_directory",
    "merge_directories": "run_union",
    "simplicity_measure": "simplicity",
    "load": "storage",
    "Splitting": "splitting",
    "Sweep": "sweeping",
    "sweep": "sweeping",
    "random_labels": "targets",
    "split": "targets",
    "target": "targets",
    "Trained": "trained",
    "TrainingComparison": "trained_comparison",
    "compare_training": "trained_comparison",
    "TableReport": "table_report",
    "TrainedReport": "trained_report",
}

__all__ = [
    "NPN",
    "Accuracy",
    "Addition",
    "Argmax",
    "Baseline",
    "BooleanCube",
    "Checked",
    "ClassEstimate",
    "ClassVolume",
    "Comparison",
    "Counting",
    "Defects",
    "Direct",
    "DivergenceFunction",
    "EstimateReport",
    "Exact",
    "Extrapolation",
    "Fits",
    "FunctionCount",
    "Given",
    "Hosts",
    "InfiniteWidth",
    "Interrupted",
    "LabelsCurve",
    "LempelZiv",
    "LimitVolume",
    "Local",
    "LocalVolume",
    "Measures",
    "Ones",
    "OrthantEstimate",
    "Points",
    "Pooled",
    "PooledReport",
    "Predicate",
    "ProcessLost",
    "Product",
    "Query",
    "ReplicatedVolume",
    "RunStopped",
    "Share",
    "SimplicityMeasure",
    "Splitting",
    "Sweep",
    "TableGroup",
    "TableReport",
    "Trained",
    "TrainedReport",
    "TrainingComparison",
    "TruthTable",
    "VolumeReport",
    "bracket",
    "check_report",
    "compare",
    "compare_training",
    "count_additions",
    "count_functions",
    "estimate",
    "estimate_distributed",
    "extrapolation",
    "infinite_width",
    "labels_curve",
    "load",
    "log_orthant",
    "log_share_right",
    "measure",
    "merge",
    "merge_directories",
    "models",
    "nngp_kernel",
    "random_labels",
    "running",
    "samplers",
    "shares",
    "simplicity_measure",
    "split",
    "sweep",
    "target",
]


def __getattr__(name: str):
    if name in ("models", "samplers"):
        return importlib.import_module(f"volume.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"volume.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'volume' has no attribute {name!r}")


def __dir__():
    return [*globals(), *__all__]
