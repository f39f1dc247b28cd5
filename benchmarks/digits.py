"""Real data: how much parameter space fits a few handwritten digits, and how well do those networks do on the rest?

    python benchmarks/digits.py [--draws 2e7] [--train 8] [--classes 0,7] [--widths 64,64] [--quick]

scikit-learn's 8 x 8 digits scaled to [0, 1]; class 1 is the second of ``--classes``. The classes are those of "fits the
training images" times "accuracy on all other images in this bin".
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.record import Record, Row
from volume.functions.data_files import load_digits

BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def two_digits(zero: int, one: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [M, 64] in [0, 1] of two digits, and labels 0 or 1, in the data set's order."""
    images, digits = load_digits((zero, one))
    return images, (digits == one).astype(int)


def questions(
    train: int, classes: tuple[int, int], widths: tuple[int, ...], bias_std: float
) -> tuple[volume.Query, volume.Query]:
    """Fits the training images; that and the accuracy on all others. Both on the same domain."""
    images, labels = two_digits(*classes)
    order = np.random.default_rng(0).permutation(len(images))
    fitted, tested = order[:train], order[train:]
    fits = volume.Fits(images[fitted], labels[fitted])
    both = fits * volume.Accuracy(images[tested], labels[tested], bins=BINS)
    model = volume.models.MLP((64, *widths, 1), activation="relu")
    prior = volume.samplers.Gaussian(weight_std=math.sqrt(2.0), bias_std=bias_std)
    domain = volume.Points(images)
    return volume.Query(model, prior, domain, fits), volume.Query(model, prior, domain, both)


def run(options: argparse.Namespace) -> Record:
    zero, one = (int(digit) for digit in options.classes.split(","))
    alone, both = questions(options.train, (zero, one), tuple(map(int, options.widths.split(","))), options.bias_std)
    draws = 100_000 if options.quick else options.draws
    # The same seed draws the same networks, so that the bins below add up to the whole.
    fits, joint = (
        volume.estimate(query, volume.Direct(draws), seed=options.seed, progress=sys.stderr.isatty())
        for query in (alone, both)
    )
    found = [("fits", fits["fits"]), *((entry.label, entry) for entry in joint.classes() if entry.label[:4] == "fits")]
    tests = alone.domain.num_inputs - options.train
    section = f"{zero} against {one}: fits {options.train} images, by accuracy on the other {tests}"
    rows = [
        Row(
            label,
            "volume",
            math.exp(entry.log_volume) if entry.count else 0.0,
            math.exp(entry.log_low),
            math.exp(entry.log_high),
            facts={"draws": entry.count},
            section=section,
        )
        for label, entry in [found[0], *sorted(found[1:], key=lambda pair: pair[0])]
    ]
    notes = [
        f"95 % intervals, {fits.num_draws:,} draws of (64,{options.widths},1); independent coin flips would give "
        f"2^-{options.train} = {2.0**-options.train:.4g}."
    ]
    return Record(rows, notes=notes, details={"fits": fits.to_dict(), "joint": joint.to_dict()})


def main() -> None:
    parser = script.options(__doc__, "100,000 draws")
    parser.add_argument("--draws", type=float, default=5e6)
    parser.add_argument("--train", type=int, default=8)
    parser.add_argument("--classes", default="0,7")
    parser.add_argument("--widths", default="64,64", help="hidden widths")
    parser.add_argument("--bias-std", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    script.main("digits", run, parser)


if __name__ == "__main__":
    main()
