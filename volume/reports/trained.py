"""What training found: the share of runs that end in every class, and how the runs ended.

A run ends in one of four ways:

* "fit": finite, and every training label right at the end;
* "lost": the training error was zero after some update, but not at the end (over-training, or stop="steps");
* "never": the training error never was zero within the steps allowed;
* "nonfinite": NaN or inf; in no class.

Shares of classes have all runs in the denominator; :meth:`TrainedReport.given_fit` has those that fit.

Shape letters: B runs, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from volume.common.logs import interval_name, interval_text, volume_text
from volume.errors import whole
from volume.reports.counted import VolumeReport
from volume.reports.counted_text import class_name, unseen_line
from volume.reports.entries import ClassEstimate
from volume.reports.text import Table, conventions, render, short_names, took, words
from volume.statistics.counts import Counts
from volume.statistics.intervals import clopper_pearson

ENDS = ("fit", "lost", "never", "nonfinite")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MANY_UNFIT = 0.1  # share of runs that fit no longer, or never did, from which on a warning says so


@dataclass(frozen=True)
class Outcomes:
    """How every run ended, by its number."""

    done: np.ndarray  # [B] bool
    step: np.ndarray  # [B] int32 updates taken
    fitted: np.ndarray  # [B] int32 updates taken when the training error first was zero, -1: never
    wrong: np.ndarray  # [B] int32 training errors at the end
    finite: np.ndarray  # [B] bool
    otherwise: np.ndarray  # [B] bool: rounding decides a training label otherwise on the domain than in training
    near_tie: np.ndarray  # [B] bool: an output on the domain within rounding of the boundary

    @classmethod
    def empty(cls, runs: int) -> Outcomes:
        """Of runs none of which has ended."""
        step, fitted, wrong = (np.zeros(runs, np.int32) for _ in range(3))
        done, finite, otherwise, near_tie = (np.zeros(runs, bool) for _ in range(4))
        return cls(done, step, fitted, wrong, finite, otherwise, near_tie)

    def put(self, at: np.ndarray, landed: Any) -> None:
        """Record the runs of these numbers."""
        self.done[at] = True
        for name in ("step", "fitted", "wrong", "finite", "otherwise", "near_tie"):
            getattr(self, name)[at] = getattr(landed, name)

    @property
    def finished(self) -> int:
        """Runs before the first one that has not ended."""
        return len(self.done) if self.done.all() else int(np.argmin(self.done))

    def first(self, runs: int) -> Outcomes:
        """Return those of the first ``runs``."""
        return Outcomes(*(column[:runs].copy() for column in vars(self).values()))

    @property
    def fit(self) -> np.ndarray:
        """[B] bool: all training labels right at the end."""
        return self.finite & (self.wrong == 0)

    @property
    def ends(self) -> np.ndarray:
        """[B] positions in ENDS."""
        once = self.fitted >= 0
        return np.where(~self.finite, 3, np.where(self.wrong == 0, 0, np.where(once, 1, 2)))


def training_record(outcomes: Outcomes) -> dict[str, Any]:
    """Return what a report keeps of how its runs ended: strict JSON, from which everything here is computed."""
    steps, runs = np.unique(outcomes.fitted[outcomes.fitted >= 0], return_counts=True)
    return {
        "ends": dict(zip(ENDS, np.bincount(outcomes.ends, minlength=len(ENDS)).tolist(), strict=True)),
        "updates": int(outcomes.step.sum(dtype=np.int64)),
        "decided_otherwise": int(outcomes.otherwise.sum()),
        "steps_to_fit": [steps.tolist(), runs.tolist()],  # histogram of the updates that the first fit took
        "fit": np.packbits(outcomes.fit).tobytes().hex(),  # one bit a run
    }


@dataclass(frozen=True, eq=False, repr=False)
class TrainedReport(VolumeReport):
    """Where training runs end: `VolumeReport` with shares of runs in place of volumes.

    ``report[label]`` is the share of all runs that end in that class, ``report.given_fit()`` the report of those that
    fit, ``report.ends`` how they ended, ``report.steps_to_fit`` how long they took. Runs are independent draws: every
    run is a unit.
    """

    @property
    def num_runs(self) -> int:
        """Runs behind this report."""
        return self.counts.num_units

    @property
    def ends(self) -> dict[str, ClassEstimate]:
        """How runs ended, "fit", "lost", "never" and "nonfinite": shares of all runs, with their intervals."""
        record = self.run["training"]["ends"]
        count = np.array([record[end] for end in ENDS])
        low, high = clopper_pearson(count, count.sum(), self.level)
        with np.errstate(divide="ignore"):
            share = np.log(count / count.sum())
        return {
            end: ClassEstimate(end, float(share[i]), float(low[i]), float(high[i]), self.level)
            for i, end in enumerate(ENDS)
        }

    @property
    def fit(self) -> np.ndarray:
        """Whether each run fits at its end, bool [B]."""
        bits = np.frombuffer(bytes.fromhex(self.run["training"]["fit"]), np.uint8)
        return np.unpackbits(bits, count=self.num_runs).astype(bool)

    @property
    def steps_to_fit(self) -> np.ndarray:
        """Updates until the training error first was zero, ascending; of the runs in which it was."""
        return np.repeat(*(np.array(column, np.int64) for column in self.run["training"]["steps_to_fit"]))

    @property
    def conditioned(self) -> bool:
        """Whether only runs that fit are in it."""
        return bool(self.run["training"].get("given_fit", False))

    def given_fit(self) -> TrainedReport:
        """Return the shares among the runs that fit. ValueError when none does."""
        if self.conditioned:
            return self
        kept = self.fit
        if not kept.any():
            raise ValueError(
                f"None of {self.num_runs:,} runs fits the training labels: allow more steps, or another learning rate."
            )
        left = int(kept.sum())
        training = {
            **self.run["training"],
            "fit": np.packbits(np.ones(left, bool)).tobytes().hex(),
            "given_fit": True,
        }
        note = "share of those training runs that fit; no prior mass"
        return replace(
            self,
            counts=_take_units(self.counts, kept),
            run={**self.run, "training": training},
            conventions={**self.conventions, "quantity": note},
        )

    # --- out ---

    @classmethod
    def reads(cls, record: dict[str, Any]) -> bool:
        return record["method"].get("name") == "trained"

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before trusting the table, one sentence each."""
        warnings, count = [], self.run_ends
        if self.run.get("complete") is False:
            warnings.append(
                f"The run was stopped early: these {count['runs']:,} runs are those before the first unfinished."
            )
        unfit = count["never"] + count["lost"]
        if unfit > MANY_UNFIT * count["runs"]:
            warnings.append(
                f"{unfit:,} of {count['runs']:,} runs do not fit at their end ({count['never']:,} never did)"
                + ("." if self.conditioned else "; they are in the denominator of every share.")
            )
        if count["nonfinite"]:
            warnings.append(
                f"{count['nonfinite']:,} of {count['runs']:,} runs gave NaN or inf, and are in no class: the learning "
                "rate may be too high."
            )
        if otherwise := self.run["training"]["decided_otherwise"]:
            warnings.append(
                f"{otherwise:,} runs fit by the outputs on the training set but not by those on the whole domain, or "
                "the other way round: an output lies within rounding of the boundary."
            )
        return warnings

    @property
    def run_ends(self) -> dict[str, int]:
        """Runs by how they ended, and "runs", all of them."""
        record = dict(self.run["training"]["ends"])
        return {"runs": sum(record.values()), **record}

    def summary(self, k: int = 10) -> str:
        """Say how runs ended and where, the ``k`` largest classes, as text for a terminal of 120 columns."""
        k = whole("k", k)
        shown = self.top(k)
        return render(_title(self), *([_table(self, shown)] if len(shown) else []), "\n".join(_below(self, shown)))

    def __repr__(self) -> str:
        return f"<TrainedReport: {self.num_runs:,} runs, {self.num_classes:,} classes seen>"


def _take_units(counts: Counts, kept: np.ndarray) -> Counts:
    """The counts of some of the units, numbered anew."""
    number = np.cumsum(kept) - 1
    classes = np.repeat(np.arange(counts.num_classes), np.diff(counts.offsets))
    cell = kept[counts.unit]
    taken = Counts.from_cells(
        classes[cell],
        number[counts.unit[cell]],
        counts.hits[cell],
        num_classes=max(counts.num_classes, 1),
        num_units=int(kept.sum()),
        unit_size=counts.unit_size,
        independent=counts.independent,
        nonfinite=counts.nonfinite[kept],
    )
    return replace(taken, keys=counts.keys[taken.keys[:, 0].astype(np.int64)])


def training_words(method: dict[str, Any]) -> str:
    """How was trained, from the ``method`` of a report: "sgd (learning rate 0.1, batches of 8 of 32, mse)"."""
    optimiser, loss = method["optimiser"], method["loss"]
    details = [f"learning rate {optimiser['learning_rate']:g}"]
    details += [f"{optimiser['schedule']} schedule"] if optimiser["schedule"] != "constant" else []
    details += [words(optimiser["options"])] if optimiser["options"] else []
    details += [
        f"batches of {method['batch_size']} of {len(method['on']['labels'])}",
        words(loss).removeprefix("name="),
    ]
    details += [f"over-training {method['over_training']:,} epochs"] if method["over_training"] else []
    details += [f"all {method['max_steps']:,} steps"] if method["stop"] == "steps" else []
    return f"{optimiser['name']} ({', '.join(details)})"


def _title(report: TrainedReport) -> str:
    method, count = report.method, report.run_ends
    classes = f"{report.num_classes:,} classes" + (" among the runs that fit" if report.conditioned else "")
    lines = [
        f"{count['runs']:,} runs of {training_words(method)}, {classes}{took(report)}",
        "",
    ]
    meaning = {
        "fit": "right on all training labels at the end",
        "lost": "right on all of them once, but not at the end",
        "never": f"not right on all of them within {method['max_steps']:,} steps",
        "nonfinite": "NaN or inf; in no class",
    }
    for end, entry in report.ends.items():
        lines.append(f"{end:>9}: {count[end]:,} ({_share(entry)}), {meaning[end]}")
    steps = report.steps_to_fit
    if len(steps):
        quantiles = np.quantile(steps, QUANTILES, method="inverted_cdf")
        lines.append(
            f"Updates to fit: mean {steps.mean():.4g}, "
            + ", ".join(f"{value:,} ({100 * q:g} %)" for q, value in zip(QUANTILES, quantiles.tolist(), strict=True))
        )
    return "\n".join([*lines, ""])


def _table(report: TrainedReport, shown: Any) -> Table:
    names = short_names(class_name(report, entry.label) for entry in shown)
    rows = [
        [name, volume_text(entry.log_volume), interval_text(entry.log_low, entry.log_high), f"{entry.count:,}"]
        for name, entry in zip(names, shown, strict=True)
    ]
    share = "share of fits" if report.conditioned else "share of runs"
    return Table(["class", share, interval_name(report.level), "runs"], rows)


def _below(report: TrainedReport, shown: Any) -> list[str]:
    lines = [""]
    if len(shown) and shown.num_draws < report.num_draws:
        lines.append(
            f"The first {report.pilot_units:,} runs chose and ordered these classes; the other {shown.num_draws:,} "
            "estimate them."
        )
    of = "the runs that fit" if report.conditioned else "all runs, whether they fit or not"
    lines += [
        f"Shares are of {of}; a share of runs is no prior mass.",
        unseen_line(report, "the chance that one more of them ends in a class not seen", "class", "share"),
        f"Near ties: {report.run['near_ties']:,} of {report.run['near_ties_checked']:,} runs end within rounding of a "
        "boundary.",
    ]
    lines += [f"Warning: {sentence}" for sentence in report.warnings]
    return lines + conventions(report)


def _share(entry: ClassEstimate) -> str:
    return f"{volume_text(entry.log_volume)}, {interval_text(entry.log_low, entry.log_high)}"
