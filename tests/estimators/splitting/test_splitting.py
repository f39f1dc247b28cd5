"""Splitting against exact volumes and direct draws, and what it says where there is nothing to find.

Seeds are fixed, so that nothing here is left to chance; estimates are held to 6 of their own standard errors (t of 7
degrees: 5e-4 each were the seeds drawn anew), of which the spread's limit says how large an error would be seen.
"""

import math
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from cli_runs import answer
from shared_queries import SQUARE, TANH, TANH_FITS

import volume
from benchmarks.rare_truths import cases
from volume import models, samplers
from volume.estimation import Interrupted
from volume.estimators.smc.step import advance
from volume.reports.entries import ReplicatedVolume
from volume.statistics.replicates import log_mean_error

CASES = {case.name: case for case in cases(["half-space", "cap", "corner", "orthant", "ties"])}
SMALL = volume.Splitting(particles=64, moves=4, replicates=8)
FEW = volume.Splitting(particles=4, moves=2)
NETWORK, PRIOR = TANH.model, TANH.prior
GIVEN = volume.Query(
    NETWORK, PRIOR, SQUARE, volume.Given(volume.Fits([[0, 0], [1, 1]], [1, 0]), volume.Fits([[0, 1], [1, 0]], [1, 0]))
)


def estimate(*args: Any, **options: Any) -> Any:
    """Entries of every kind, for type checkers."""
    return volume.estimate(*args, **options)


def estimate_of(path) -> Any:
    return volume.load(path)


def num_traces() -> int:
    step: Any = advance
    return step._cache_size()


def check(entry, truth, *, spread=0.7, error=0.0):
    assert entry.headline == ("interval" if entry.spread <= 1 else "bound")
    assert entry.spread < spread
    assert abs(entry.log_volume - truth) < 6 * math.hypot(log_mean_error(entry.log_estimates), error)
    assert entry.log_bound < entry.log_volume


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "particles", "moves"),
    [
        ("corner 6-d 1e-6", 64, 4),  # Uniform
        ("three correlated 1e-2", 32, 4),
        ("cap 40-d 1e-30", 128, 16),  # Sphere
        ("half-space 5-d 1e-300", 128, 16),
    ],
)
def test_rare_truths(name, particles, moves):
    case = CASES[name]
    report = estimate(case.query, replace(SMALL, particles=particles, moves=moves, labels=(case.label,)), seed=1)
    check(report[case.label], case.log_volume, spread=1.6 if name.endswith("1e-300") else 0.7)  # of 430 levels


@pytest.mark.slow
def test_ties_of_narrow_networks():
    """2-3-1: labels 111 have .2507, while {score >= 0} has .3779."""
    case = CASES["ReLU 2-3-1 ties"]
    report = estimate(case.query, replace(SMALL, labels=(case.label,)), seed=2)
    check(report[case.label], case.log_volume, spread=0.15, error=case.error)


@pytest.mark.slow
def test_perceptrons_balance():
    """Without a bias each number of ones from 0 to 2^n - 1 has volume 2^-n (Mingard et al. 2019), and 2^n has none."""
    query = volume.Query(models.Perceptron(3, bias=False), samplers.Gaussian(1.0), volume.BooleanCube(3), volume.Ones())
    report = estimate(query, replace(SMALL, labels=("5",)), seed=3)
    check(report["5"], -3 * math.log(2), spread=0.15)
    with pytest.raises(ValueError, match="No network is in this class"):
        estimate(query, replace(SMALL, labels=("8",)))


@pytest.mark.slow
def test_agrees_with_direct_draws():
    """XOR's table at 6e-4, within a given class and by itself; shares within the class."""
    direct = estimate(GIVEN, volume.Direct(200_000), seed=4)
    report = estimate(GIVEN, SMALL, seed=5)
    assert list(report) == ["given fits", "misses", "fits"]  # the split's own names are kept
    compared = volume.compare(direct, report)
    assert {row.label for row in compared.rows} == {"misses", "fits"}
    assert all(abs(row.z) < 5.5 for row in compared.rows)
    given, misses, fits = report.entries
    assert fits.share.share + misses.share.share == pytest.approx(1)
    assert fits.log_volume == pytest.approx(given.log_volume + math.log(fits.share.share), abs=1e-6)
    share = direct["fits"].volume / (direct["fits"].volume + direct["misses"].volume)
    assert fits.share.low < share < fits.share.high
    # One line of diagnostics, and the class that each part belongs to.
    assert report.summary().count("particles=64") == 2  # its line and the method's
    assert set(fits.diagnostics) == {"part_of", "families"}
    assert fits.diagnostics["families"] > 4


def test_same_seed_same_answer_and_round_trip(tmp_path):
    first = estimate(TANH_FITS, SMALL, seed=6)
    before = num_traces()
    again, other = estimate(TANH_FITS, SMALL, seed=6), estimate(TANH_FITS, SMALL, seed=7)
    assert num_traces() == before  # another seed has other levels and steps, no other program
    assert first.entries == again.entries
    assert first["fits"].log_estimates != other["fits"].log_estimates
    assert len(set(first["fits"].log_estimates)) == 8
    assert estimate_of(first.save(tmp_path / "run")).entries == first.entries
    assert first.run["nonfinite_checked"] == 8 * 64


@pytest.mark.slow
def test_two_groups_of_replicates_are_the_same_as_one():
    """And a run that is stopped between them reports the first."""
    first = estimate(TANH_FITS, SMALL, seed=6)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("volume.estimators.smc.replicates.STATE_BYTES", 6 * 4 * 13 * 64 * 4)
        patch.setattr("volume.estimators.smc.replicates.FEW", 1)  # or they go one by one
        grouped = estimate(TANH_FITS, SMALL, seed=6, progress=lambda progress: seen.append(progress.words))
        np.testing.assert_allclose(grouped["fits"].log_estimates, first["fits"].log_estimates, rtol=1e-4)

        def stop(progress):
            if progress.words.startswith("4 of 8"):
                raise KeyboardInterrupt

        with pytest.raises(Interrupted) as caught:
            estimate(TANH_FITS, SMALL, seed=6, progress=stop)
    assert any(words.startswith("pilot at level 1") for words in seen)
    assert any(words.startswith("replicates 5 to 8 of 8, level 1") for words in seen)
    stopped: Any = caught.value.report
    part = stopped["fits"]
    assert part.log_estimates == grouped["fits"].log_estimates[:4]
    assert any("stopped early" in sentence for sentence in stopped.warnings)


def test_interrupted_in_the_pilot():
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        estimate(GIVEN, SMALL, seed=6, progress=stop)  # compiled for the draws above
    learnt: Any = caught.value.report
    (entry,) = learnt.entries
    assert entry.headline == "none"
    assert "had not reached the class: the run was stopped before a replicate had ended" in entry.notes[0]
    assert "volume about" not in entry.notes[0]
    assert "pilot at level 1, log10 volume about" in caught.value.progress.words


@pytest.mark.slow
def test_replicates_that_die():
    """Two particles: most replicates of XOR die; none of them makes the shares fail, and parts were not met."""
    few = volume.Splitting(particles=2, moves=1, replicates=6, body_points=2, head_points=2)
    fits = volume.Fits([[0, 0], [1, 1], [0, 1]], [1, 0, 1])
    query = volume.Query(NETWORK, PRIOR, SQUARE, volume.Given(fits, volume.Ones()))
    report = estimate(query, few, seed=8)
    within = report["fits"]
    assert 0 < within.num_dead < 6
    assert any("died on the way" in note for note in within.notes)
    assert within.headline == "bound"
    parts = [entry for entry in report.entries if entry.label != "fits"]
    assert [entry.label for entry in parts] == ["0", "1", "2", "3", "4"]
    for entry in parts:
        assert entry.num_dead >= within.num_dead
        assert not any("died" in note for note in entry.notes)
        assert entry.share.num_hit == 6 - entry.num_dead
    assert any("did not meet it" in note for entry in parts for note in entry.notes)
    assert any("is not resolved, below" in note for entry in parts for note in entry.notes)
    assert report.summary()


@pytest.mark.slow
def test_a_split_by_complexity_is_counted_from_tables():
    query = volume.Query(
        NETWORK, PRIOR, SQUARE, volume.Given(volume.Fits([[0, 0], [1, 1]], [1, 0]), volume.LempelZiv())
    )
    report = estimate(query, SMALL, seed=5)
    shares = {entry.label: entry.share.share for entry in report.entries if entry.label != "fits"}
    assert sum(shares.values()) == pytest.approx(1)
    assert {label for label, share in shares.items() if share} == {"5", "6"}
    ones = volume.Ones()
    huge = volume.Given(volume.Fits([[0] * 4], [1]), ones * ones * ones * ones)
    with pytest.raises(ValueError, match=r"at most 65,536, and .* 83,521"):
        estimate(volume.Query(models.Perceptron(4), PRIOR, volume.BooleanCube(4), huge), SMALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (lambda outputs: jnp.minimum(jnp.max(outputs), 1.0), "the score stands still at 1: none of 6,144 moves"),
        (lambda outputs: outputs[0] * jnp.nan, "the score stands still at -inf"),
    ],
    ids=["plateau", "nan"],
)
def test_scores_that_lead_nowhere(score, sentence):
    far = volume.Predicate(lambda outputs: jnp.max(outputs) > 40.0, names=("near", "far"))
    query = volume.Query(models.Perceptron(2), PRIOR, SQUARE, far)
    entry = estimate(query, replace(SMALL, particles=256, labels=("far",), score=score), seed=1)["far"]
    assert entry.headline == "none"
    assert (entry.log_volume, entry.log_low, entry.log_high) == (-math.inf, -math.inf, 0)
    assert any(sentence in note for note in entry.notes)
    assert entry.notes[0].startswith("All 3 pilots, each with draws of its own, stalled before the class was met")
    assert entry.notes[0].endswith("That says nothing of the class's volume.")
    assert "10^" not in entry.notes[0]
    assert entry.diagnostics["pilot_log_volume"] is None
    evaluations = entry.diagnostics["evaluations"]
    assert evaluations == entry.diagnostics["pilot_evaluations"] > 3 * 6 * 256 * 4


# Signs of v sin(w x + b) + c at eight points; 2.9184e-6 by quadrature over w and b, the rest being an angle.
SINE = volume.Query(
    models.MLP((1, 1, 1), "sine"),
    samplers.Gaussian(5.0, 1.0),
    classifier=volume.Fits(0.4 * np.array([[-1.9], [-1.3], [-0.8], [-0.2], [0.3], [0.9], [1.4], [2.0]]), "11010011"),
)


@pytest.mark.slow
def test_pilots_are_not_caught_where_the_last_layer_shrinks():
    """By a score that sees the outputs' size 4 of these 8 pilots end below 1e-25, without the class."""
    for seed in range(13, 21):
        entry = estimate(SINE, volume.Splitting(particles=128, moves=8), seed=seed)["fits"]
        assert entry.diagnostics["pilot_log_volume"] > math.log(1e-8)
        assert entry.log_bound < math.log(2.9184e-6) < entry.log_high
        assert -math.inf < entry.log_volume < math.log(2.9184e-5)


@pytest.mark.slow
def test_a_run_stopped_in_its_second_pilot_goes_on(tmp_path):
    """No perceptron gives XOR: all three pilots stall."""
    query = volume.Query(models.Perceptron(2), PRIOR, SQUARE, volume.TruthTable())
    method = replace(FEW, labels=("0110",))

    def stop(progress):
        if "pilot 2 of 3 at level 2" in progress.words:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        estimate(query, method, seed=1, out=tmp_path, progress=stop)
    again = estimate(query, method, seed=1, out=tmp_path, resume=True)
    whole = estimate(query, method, seed=1)
    assert again["0110"].to_dict() == whole["0110"].to_dict()


@pytest.mark.slow
def test_a_good_score_of_ones_own():
    """max of theta_0 x + theta_1 over x = 1 alone: an exact tail of the normal."""
    tail = volume.Predicate(lambda outputs: outputs[0] > 5, names=("near", "far"))
    query = volume.Query(models.Perceptron(1, bias=False), samplers.Gaussian(1.0), volume.Points([[1.0]]), tail)
    method = replace(SMALL, labels=("far",), score=lambda outputs: outputs[0])
    check(estimate(query, method, seed=1)["far"], math.log(2.866515719e-7))


@pytest.mark.slow
def test_labels_that_contradict_each_other():
    """No perceptron gives XOR."""
    query = volume.Query(models.Perceptron(2), PRIOR, SQUARE, volume.TruthTable())
    report = estimate(query, replace(FEW, labels=("0110",)), seed=1)
    entry = report["0110"]
    assert entry.headline == "none"
    assert any("The class may be empty" in note for note in entry.notes)
    assert any("That says nothing of the class's volume." in note for note in entry.notes)
    shallow = estimate(query, replace(FEW, labels=("0110",), floor=-3.0), seed=1)["0110"]
    assert any("below 10^-3, the floor" in note for note in shallow.notes)


@pytest.mark.slow
def test_target_error_sizes_and_then_starts_afresh():
    """The width wanted, from particles that the trial found too few; only fresh replicates are reported."""
    query = volume.Query(models.Perceptron(2), PRIOR, SQUARE, volume.TruthTable())
    method = replace(FEW, labels=("0001",), target_error=0.05)
    words = []
    entry = estimate(query, method, seed=2, progress=lambda progress: words.append(progress.words))["0001"]
    assert any("trial replicate 8 of 8" in each for each in words)
    assert entry.diagnostics["particles"] > 8
    assert (entry.log_high - entry.log_low) / 2 < 1.4 * 0.15 * math.log(10)
    direct = estimate(query, volume.Direct(200_000), seed=3)["0001"]
    check(entry, direct.log_volume, error=0.01)
    assert entry.num_replicates == 8
    wide = estimate(query, replace(method, target_error=30.0), seed=2)["0001"]
    assert wide.num_replicates == 8


@pytest.mark.slow
def test_float64():
    case = CASES["half-space 5-d 1e-6"]
    report = estimate(case.query, replace(SMALL, labels=(case.label,), dtype="float64"), seed=1)
    check(report[case.label], case.log_volume)
    assert report.conventions["dtype"] == "float64"


def test_queries_that_it_cannot_answer():
    with pytest.raises(ValueError, match=r"pass labels=, for example"):
        estimate(volume.Query(NETWORK, PRIOR, SQUARE, volume.TruthTable()), SMALL)
    with pytest.raises(KeyError):
        estimate(GIVEN, replace(SMALL, labels=("nothing",)))
    with pytest.raises(ValueError, match="must name each class once"):
        estimate(GIVEN, replace(SMALL, labels=("fits", "fits")))
    for wrong in (
        {"particles": 1},
        {"replicates": 1},
        {"moves": 0},
        {"target_error": 0},
        {"floor": 1},
        {"labels": ()},
        {"dtype": "float16"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            volume.Splitting(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="score"):
        volume.Splitting(score=3)  # type: ignore[arg-type]


def test_command_line(capsys):
    words = (
        "estimate --method splitting --model mlp:2-3-1 --activation tanh --bias-std 0.5 "
        "--classifier fits:labels=1??0 --particles 64 --moves 4 --seed 6"
    )
    found = answer(capsys, *words.split())
    (entry,) = found["classes"]
    assert entry["label"] == "fits"
    assert entry["log_low"] < entry["log_volume"] < entry["log_high"] < 0
    assert entry["log_bound"] < entry["log_low"]


def test_quotient_shifts_by_the_order_of_the_group():
    """Each network once: on 2-3-1 with tanh every volume, limit and bound is that of the prior mass over 3! 2^3."""

    def entry(symmetry: str) -> ReplicatedVolume:
        found = volume.estimate(replace(TANH_FITS, symmetry=symmetry), SMALL, seed=3)["fits"]
        assert isinstance(found, ReplicatedVolume)
        return found

    mass, once = entry("none"), entry("quotient")
    for name in ("log_volume", "log_low", "log_high", "log_bound"):
        assert getattr(once, name) == pytest.approx(getattr(mass, name) - math.log(48), abs=1e-9), name
    assert mass.spread > 0
    assert once.spread == pytest.approx(mass.spread)
