"""How much parameter space each function of a neural network occupies.

The names below load on first use, so that ``volume --help`` and a mistyped option answer before JAX is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from volume.common.version import __version__ as __version__

if TYPE_CHECKING:
    from volume import models as models
    from volume import samplers as samplers
    from volume.checks.baseline import Baseline as Baseline
    from volume.checks.check import Checked as Checked
    from volume.checks.check import check_report as check_report
    from volume.classifiers.descriptions import Accuracy as Accuracy
    from volume.classifiers.descriptions import Argmax as Argmax
    from volume.classifiers.descriptions import Defects as Defects
    from volume.classifiers.descriptions import Fits as Fits
    from volume.classifiers.descriptions import Given as Given
    from volume.classifiers.descriptions import Ones as Ones
    from volume.classifiers.descriptions import Predicate as Predicate
    from volume.classifiers.descriptions import Product as Product
    from volume.classifiers.descriptions import TruthTable as TruthTable
    from volume.classifiers.lempel_ziv import LempelZiv as LempelZiv
    from volume.classifiers.npn import NPN as NPN
    from volume.cluster.distributed import estimate_distributed as estimate_distributed
    from volume.cluster.hosts import Hosts as Hosts
    from volume.cluster.process_group import ProcessLost as ProcessLost
    from volume.estimation import Interrupted as Interrupted
    from volume.estimation import estimate as estimate
    from volume.estimation import running as running
    from volume.estimators.direct.direct import Direct as Direct
    from volume.estimators.exact.exact import Exact as Exact
    from volume.estimators.infinite_width.infinite_width import InfiniteWidth as InfiniteWidth
    from volume.estimators.infinite_width.infinite_width import infinite_width as infinite_width
    from volume.estimators.infinite_width.nngp import nngp_kernel as nngp_kernel
    from volume.estimators.infinite_width.orthant import OrthantEstimate as OrthantEstimate
    from volume.estimators.infinite_width.orthant import log_orthant as log_orthant
    from volume.estimators.local.divergence import DivergenceFunction as DivergenceFunction
    from volume.estimators.local.local import Local as Local
    from volume.estimators.splitting.bracket import bracket as bracket
    from volume.estimators.splitting.splitting import Splitting as Splitting
    from volume.estimators.trained.trained import Trained as Trained
    from volume.functions.canonical import TableGroup as TableGroup
    from volume.functions.counting import Counting as Counting
    from volume.functions.counting import FunctionCount as FunctionCount
    from volume.functions.counting import count_functions as count_functions
    from volume.functions.counting import log_share_right as log_share_right
    from volume.functions.domains import BooleanCube as BooleanCube
    from volume.functions.domains import Points as Points
    from volume.functions.targets import random_labels as random_labels
    from volume.functions.targets import split as split
    from volume.functions.targets import target as target
    from volume.queries.pooling import Pooled as Pooled
    from volume.queries.query import Query as Query
    from volume.reports.comparison import Comparison as Comparison
    from volume.reports.comparison import compare as compare
    from volume.reports.counted import ClassVolume as ClassVolume
    from volume.reports.counted import VolumeReport as VolumeReport
    from volume.reports.entries import ClassEstimate as ClassEstimate
    from volume.reports.entries import ReplicatedVolume as ReplicatedVolume
    from volume.reports.limit_entries import LimitVolume as LimitVolume
    from volume.reports.local_entries import LocalVolume as LocalVolume
    from volume.reports.merging import merge as merge
    from volume.reports.named import EstimateReport as EstimateReport
    from volume.reports.on_disk import TableReport as TableReport
    from volume.reports.pooled import PooledReport as PooledReport
    from volume.reports.run_union import merge_directories as merge_directories
    from volume.reports.shares import Share as Share
    from volume.reports.shares import shares as shares
    from volume.reports.trained import TrainedReport as TrainedReport
    from volume.reports.trained_comparison import TrainingComparison as TrainingComparison
    from volume.reports.trained_comparison import compare_training as compare_training
    from volume.runs.directory import RunStopped as RunStopped
    from volume.studies.addition import Addition as Addition
    from volume.studies.addition import count_additions as count_additions
    from volume.studies.extrapolation import Extrapolation as Extrapolation
    from volume.studies.extrapolation import extrapolation as extrapolation
    from volume.studies.label_curve import LabelsCurve as LabelsCurve
    from volume.studies.label_curve import labels_curve as labels_curve
    from volume.studies.loading import load as load
    from volume.studies.measures import Measures as Measures
    from volume.studies.measures import measure as measure
    from volume.studies.simplicity import SimplicityMeasure as SimplicityMeasure
    from volume.studies.simplicity import simplicity_measure as simplicity_measure
    from volume.studies.sweep import Sweep as Sweep
    from volume.studies.sweep import sweep as sweep

_HOME = {
    "ClassEstimate": "reports.entries",
    "LimitVolume": "reports.limit_entries",
    "ReplicatedVolume": "reports.entries",
    "Accuracy": "classifiers.descriptions",
    "Baseline": "checks.baseline",
    "Checked": "checks.check",
    "check_report": "checks.check",
    "Addition": "studies.addition",
    "count_additions": "studies.addition",
    "Argmax": "classifiers.descriptions",
    "Defects": "classifiers.descriptions",
    "Fits": "classifiers.descriptions",
    "Given": "classifiers.descriptions",
    "Ones": "classifiers.descriptions",
    "Predicate": "classifiers.descriptions",
    "Product": "classifiers.descriptions",
    "TruthTable": "classifiers.descriptions",
    "Comparison": "reports.comparison",
    "compare": "reports.comparison",
    "Counting": "functions.counting",
    "FunctionCount": "functions.counting",
    "count_functions": "functions.counting",
    "log_share_right": "functions.counting",
    "Direct": "estimators.direct.direct",
    "estimate_distributed": "cluster.distributed",
    "DivergenceFunction": "estimators.local.divergence",
    "BooleanCube": "functions.domains",
    "Points": "functions.domains",
    "EstimateReport": "reports.named",
    "Interrupted": "estimation",
    "estimate": "estimation",
    "running": "estimation",
    "Exact": "estimators.exact.exact",
    "Hosts": "cluster.hosts",
    "InfiniteWidth": "estimators.infinite_width.infinite_width",
    "infinite_width": "estimators.infinite_width.infinite_width",
    "LabelsCurve": "studies.label_curve",
    "labels_curve": "studies.label_curve",
    "LempelZiv": "classifiers.lempel_ziv",
    "Local": "estimators.local.local",
    "LocalVolume": "reports.local_entries",
    "Measures": "studies.measures",
    "measure": "studies.measures",
    "Extrapolation": "studies.extrapolation",
    "extrapolation": "studies.extrapolation",
    "Pooled": "queries.pooling",
    "PooledReport": "reports.pooled",
    "TableGroup": "functions.canonical",
    "merge": "reports.merging",
    "nngp_kernel": "estimators.infinite_width.nngp",
    "NPN": "classifiers.npn",
    "OrthantEstimate": "estimators.infinite_width.orthant",
    "log_orthant": "estimators.infinite_width.orthant",
    "ProcessLost": "cluster.process_group",
    "Query": "queries.query",
    "ClassVolume": "reports.counted",
    "VolumeReport": "reports.counted",
    "Share": "reports.shares",
    "shares": "reports.shares",
    "bracket": "estimators.splitting.bracket",
    "SimplicityMeasure": "studies.simplicity",
    "RunStopped": "runs.directory",
    "merge_directories": "reports.run_union",
    "simplicity_measure": "studies.simplicity",
    "load": "studies.loading",
    "Splitting": "estimators.splitting.splitting",
    "Sweep": "studies.sweep",
    "sweep": "studies.sweep",
    "random_labels": "functions.targets",
    "split": "functions.targets",
    "target": "functions.targets",
    "Trained": "estimators.trained.trained",
    "TrainingComparison": "reports.trained_comparison",
    "compare_training": "reports.trained_comparison",
    "TableReport": "reports.on_disk",
    "TrainedReport": "reports.trained",
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
