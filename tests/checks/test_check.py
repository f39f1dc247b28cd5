"""Baselines and reports: what is equal is called so, what changed is found, and unchanged volumes raise few alarms."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from example_reports import clustered, make, table_counts
from scipy import stats

import volume
from volume.checks import baseline_counts
from volume.checks.baseline import Baseline
from volume.checks.baseline_counts import CountedAnswer
from volume.checks.check import check_report
from volume.checks.counts import ELSEWHERE, NOT_LISTED, REST, UNSEEN, two_sample
from volume.checks.guards import Program
from volume.checks.rows import critical
from volume.checks.verdict import AGREES, CHANGED, FAILED, IDENTICAL, percent
from volume.reports.entries import ReplicatedVolume, replicated_volume
from volume.reports.named import EstimateReport
from volume.statistics.replicates import interval_offsets

VOLUMES = np.array([400, 250, 120, 80, 50, 30, 20, 10, 10, 8, 7, 5, 4, 3, 2, 1]) / 1000
FALSE_ALARM = 1e-6  # of every stochastic assertion below


def draw(rng, volumes, *, units, heads=1, bodies=5, seed=0):
    """Units of ``bodies`` bodies with ``heads`` heads each; a body's shares are Dirichlet(2 volumes)."""
    volumes = volumes / volumes.sum()
    if heads == 1:
        matrix = rng.multinomial(bodies, volumes, size=units)
    else:
        shares = rng.gamma(2 * volumes, size=(units * bodies, 16))
        shares /= shares.sum(1, keepdims=True)
        matrix = rng.multinomial(heads, shares).reshape(units, bodies, 16).sum(1)
    counts = table_counts(matrix, independent=heads == 1, unit_size=heads * bodies)
    method = {"name": "direct", "heads": heads, "bodies": bodies}
    return replace(make(counts, seed=seed, method=method), run={})


CASES = {"independent": {"units": 200, "bodies": 100}, "clustered": {"units": 200, "heads": 20}}


def alarm(rows, number, alpha):
    return max(abs(row.z) for row in rows) > critical(alpha, number)


@pytest.mark.parametrize("case", ["independent", pytest.param("clustered", marks=pytest.mark.slow)])
def test_clean_repetitions_raise_as_many_alarms_as_allowed_and_not_absurdly_few(case):
    """1,000 pairs at .05: more than 86 alarms have probability 1e-6 at that rate, fewer than 11 at .035.

    So a rate above .113 or below .005 is detected (with probability .99)."""
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(1000):
        a, b = draw(rng, VOLUMES, **CASES[case]), draw(rng, VOLUMES, **CASES[case], seed=1)
        rows, number = two_sample(CountedAnswer.of(a), b, 0.05)
        alarms += alarm(rows, number, 0.05)
    assert alarms <= stats.binom.isf(FALSE_ALARM, 1000, 0.05)
    assert alarms >= stats.binom.ppf(FALSE_ALARM, 1000, 0.035)


@pytest.mark.parametrize(
    ("case", "side"),
    [
        ("independent", "down"),
        ("clustered", "up"),
        pytest.param("independent", "up", marks=pytest.mark.slow),
        pytest.param("clustered", "down", marks=pytest.mark.slow),
    ],
)
def test_changes_of_the_printed_size_are_found(case, side):
    """The class of volume .12 changes by what a clean pair promises to find at 1e-6, 150 times.

    Fewer than 140 found have probability 1e-6 when each is found with .99; a power of .87 is detected with .99."""
    rng, found, tried = np.random.default_rng(2), 0, 150
    label, alpha = "0010", 1e-6
    for _ in range(tried):
        a, b = draw(rng, VOLUMES, **CASES[case]), draw(rng, VOLUMES, **CASES[case], seed=1)
        base = CountedAnswer.of(a)
        factor = getattr(next(row for row in two_sample(base, b, alpha)[0] if row.label == label), side)
        assert 0 < factor < 8
        assert (factor > 1) == (side == "up")
        p, moved = VOLUMES / VOLUMES.sum(), VOLUMES / VOLUMES.sum()
        moved[2] *= factor
        others = np.arange(16) != 2
        moved[others] *= (1 - moved[2]) / p[others].sum()
        rows, number = two_sample(base, draw(rng, moved, **CASES[case], seed=1), alpha)
        z = next(row.z for row in rows if row.label == label)
        found += abs(z) > critical(alpha, number) and (z < 0) == (side == "up")
    assert found >= stats.binom.ppf(FALSE_ALARM, tried, 0.99)


def replicated(rng, log_volume, spread, num, size):
    """``size`` entries of ``num`` lognormal replicates each, made at once: their bounds are left out."""
    logs = np.broadcast_to(log_volume, size)[:, None] + spread * (rng.standard_normal((size, num)) - spread / 2)
    s, mean = logs.std(1, ddof=1), logs.mean(1)
    low, high = interval_offsets(s, num)
    top = logs.max(1)
    volume = top + np.log(np.exp(logs - top[:, None]).mean(1))
    return [
        ReplicatedVolume(
            "fits",
            float(volume[i]),
            float(mean[i] + low[i]),
            float(mean[i] + high[i]),
            0.95,
            log_estimates=tuple(logs[i].tolist()),
            log_bound=-1e9,
            spread=float(s[i]),
            headline="interval",
        )
        for i in range(size)
    ]


def entries_report(*entries, seed=0, **changes):
    facts = {"description": {"model": "m"}, "method": {"name": "splitting"}, "run": {}, "conventions": {}}
    return EstimateReport(tuple(entries), **(facts | changes), seed=seed)


def test_replicated_entries_keep_the_rate_too():
    """1,000 clean pairs of 16 replicates at .05, with the limits of the counted cases."""
    from volume.checks import entries as check_entries

    rng = np.random.default_rng(3)
    pairs = zip(replicated(rng, -30.0, 0.4, 16, 1000), replicated(rng, -30.0, 0.4, 16, 1000), strict=True)
    alarms = sum(alarm(*check_entries.two_sample([a], entries_report(b), 0.05)[:2], 0.05) for a, b in pairs)
    assert stats.binom.ppf(FALSE_ALARM, 1000, 0.035) <= alarms <= stats.binom.isf(FALSE_ALARM, 1000, 0.05)


@pytest.mark.parametrize("side", ["up", "down"])
def test_replicated_entries_show_changes_of_the_printed_size(side):
    """As for counts: 250 times (237 found, or more), at 1e-6, 16 replicates of spread .3.

    The forecast errs on the careful side here: one of .7 of its size would pass too.
    """
    from volume.checks import entries as check_entries

    rng, size = np.random.default_rng(4), 250
    clean = zip(replicated(rng, -30.0, 0.3, 16, size), replicated(rng, -30.0, 0.3, 16, size), strict=True)
    rows = [check_entries.two_sample([a], entries_report(b), 1e-6)[0][0] for a, b in clean]
    shift = np.log([getattr(row, side) for row in rows])
    assert np.all((shift > 0) == (side == "up"))
    assert np.all(np.abs(shift) < 5)
    again = zip(replicated(rng, -30.0, 0.3, 16, size), replicated(rng, -30.0 + shift, 0.3, 16, size), strict=True)
    found = sum(alarm(*check_entries.two_sample([a], entries_report(b), 1e-6)[:2], 1e-6) for a, b in again)
    assert found >= stats.binom.ppf(FALSE_ALARM, size, 0.99)


# --- exactly ---

MATRIX = clustered(units=60)


def report(matrix=MATRIX, *, seed=0, near=3, elsewhere=False, nonfinite=None, **changes):
    run = {"near_ties": near, "near_ties_checked": 1} | ({"versions": {"jax": "0.0.1"}} if elsewhere else {})
    return make(table_counts(matrix, nonfinite=nonfinite, unit_size=200), seed=seed, run=run, **changes)


def moved(hits, start=0, stop=15, unit=5):
    """The same counts but for some hits of one unit, which go from one table to another."""
    matrix = MATRIX.copy()
    matrix[unit, start] -= hits
    matrix[unit, stop] += hits
    return matrix


def test_a_baseline_reads_back_what_was_written(tmp_path):
    a = report()
    step = Program(1.0, 2.0, 3, 4, 5, 1).to_dict()
    path = Baseline.of(a, command=["--model", "mlp:2-3-1"], programs={"step": step}).write(tmp_path / "new" / "a.json")
    back = Baseline.read(path)
    assert back.command == ("--model", "mlp:2-3-1")
    assert back.programs == {"step": step}
    first, again = CountedAnswer.of(a), CountedAnswer.from_dict(back.answer, back.method)
    assert first.to_dict() == again.to_dict()
    assert check_report(report(), back).verdict == IDENTICAL
    assert json.loads(path.read_text())["format"] == "param-volume baseline"
    assert "counts of 16 classes by direct" in back.summary()
    assert back.fresh_seed() == Baseline.of(report()).fresh_seed() != Baseline.of(report(seed=1)).fresh_seed()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "truncated or damaged"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "does not match its own SHA-256"),
        (lambda text: text.replace('"version": 1', '"version": 7', 1), "format version 7 and this library reads 1"),
        (lambda text: "[1, 2]", "is no JSON object"),
    ],
)
def test_damaged_baselines_say_what_is_wrong(tmp_path, change, sentence):
    path = Baseline.of(report()).write(tmp_path / "a.json")
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=sentence):
        Baseline.read(path)


def test_one_draw_elsewhere_is_a_change():
    found = check_report(report(moved(1)), Baseline.of(report()))
    assert found.verdict == CHANGED
    assert not found.agree
    before = int(MATRIX[:, 0].sum())
    assert found.changes[0] == f"0000: {before:,} -> {before - 1:,}"
    assert "1 draws are elsewhere" in found.how


def test_the_same_totals_in_other_units_are_a_change():
    matrix = MATRIX[::-1]
    found = check_report(report(matrix), Baseline.of(report()))
    assert found.verdict == CHANGED
    assert found.changes[0].startswith(ELSEWHERE)


def test_near_ties_alone_are_a_change_here():
    found = check_report(report(near=4), Baseline.of(report()))
    assert (found.verdict, found.changes) == (CHANGED, ("near ties: 3 -> 4",))


def test_elsewhere_as_many_draws_may_move_as_are_near_a_tie():
    base = Baseline.of(report(elsewhere=True))
    found = check_report(report(moved(3)), base)
    assert found.verdict == AGREES
    assert "moves 3 of 12,000 draws; 3 are near a tie" in found.how
    assert "jax 0.0.1, here" in found.notes[0]
    found = check_report(report(moved(4)), base)  # too many for rounding, too few for a test
    assert found.verdict == AGREES
    assert "draws of the same seed" in found.how
    found = check_report(report(moved(3)), Baseline.of(report()))
    assert found.verdict == CHANGED


def test_complete_counts_are_never_tested():
    def exact(hits, **changes):
        counts = table_counts(np.array([hits]), unit_size=64)
        return make(replace(counts, hits=counts.hits.astype(np.int64), complete=True), run={}, **changes)

    base = Baseline.of(exact([20, 7, 7, 2] + [0] * 11 + [28]))
    other = exact([20, 7, 8, 1] + [0] * 11 + [28])
    assert check_report(other, base).verdict == CHANGED
    assert check_report(other, base, statistical=True).verdict == CHANGED
    assert check_report(exact([20, 7, 7, 2] + [0] * 11 + [28]), base, statistical=True).verdict == IDENTICAL


def test_pooled_reports_are_compared_by_orbits():
    """Two classes of one orbit that swap hits are no change of its volume, but one of the counts behind it."""
    query = volume.Query(
        volume.models.MLP((2, 3, 1)),
        volume.samplers.Gaussian(bias_std=1.0),
        volume.BooleanCube(2),
        symmetry="pooled:inputs",
    )
    a, b = (volume.estimate(query, volume.Direct(20_000, heads=1), seed=seed) for seed in (0, 1))
    assert isinstance(a, volume.PooledReport)
    base = Baseline.of(a)
    assert base.answer["num_classes"] == a.num_orbits < a.num_classes
    assert check_report(a, base).verdict == IDENTICAL
    found = check_report(b, base)
    assert found.verdict == AGREES  # false alarm at most 1e-6
    assert {row.label for row in found.rows} >= {"0000", "0001"}


def test_another_question_is_a_change():
    a = report()
    other = replace(a, description={**a.description, "prior": {"name": "gaussian", "weight_std": 2.0}})
    found = check_report(other, Baseline.of(a))
    assert (found.verdict, found.changes) == (CHANGED, ("query.prior.weight_std: was 1.0, is 2.0",))
    found = check_report(entries_report(), Baseline.of(a))
    assert found.changes[0] == "answer: was counts, is estimates"


# --- by test ---


def test_another_seed_is_tested():
    found = check_report(report(clustered(seed=5, units=60), seed=5), Baseline.of(report()))
    assert found.verdict == AGREES  # false alarm at most 1e-6, see above
    assert found.num_tests == len(found.rows) > 5
    assert "draws of another seed" in found.how
    best, worst = found.smallest or pytest.fail("something is forecast")
    assert 1 < best.up < worst.up
    text = str(found)
    assert "Found with probability .99: 0000 changed by +" in text
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_is_not_a_class_is_tested_too():
    rng = np.random.default_rng(8)
    a = draw(rng, VOLUMES, units=200, bodies=100)
    a = replace(a, run={"near_ties": 100, "near_ties_checked": 1, "training": {"ends": {"fit": 19_000}, "updates": 5}})
    b = draw(rng, VOLUMES, units=200, bodies=100, seed=1)
    lost = np.zeros(200, int)
    lost[:50] = 1
    b = replace(b, counts=replace(b.counts, nonfinite=lost))
    b = replace(b, run={"near_ties": 300, "near_ties_checked": 1, "training": {"ends": {"fit": 18_000}, "updates": 5}})
    found = check_report(b, Baseline.of(a))
    assert found.verdict == CHANGED
    changed = {line.partition(": ")[0] for line in found.changes}
    assert {"nonfinite", "near ties", "runs that ended"} == changed


def test_the_unseen_mass_is_tested():
    """Tables of 50 classes each met once or twice, beside ones met alone: 400 of 2,000 draws against 1,000."""
    alone = []
    for number, seed in ((400, 0), (1000, 1)):
        hits = np.r_[np.ones(number, int), 2000 - number]
        classes = np.arange(len(hits))
        counts = baseline_counts.Counts.from_cells(
            classes,
            np.minimum(classes, 999),
            hits,
            num_classes=len(hits),
            num_units=1000,
            unit_size=2,
            independent=True,
            nonfinite=np.zeros(1000, int),
        )
        counts = replace(counts, keys=counts.keys << np.uint64(53))
        from volume.functions.domains import Points

        alone.append(replace(make(counts, seed=seed, domain=Points(np.arange(11.0)[:, None])), run={}))
    found = check_report(alone[1], Baseline.of(alone[0]))
    assert UNSEEN in [row.label for row in found.rows if abs(row.z) > 5]


def test_classes_that_are_not_listed_are_paid_for_and_watched(monkeypatch):
    monkeypatch.setattr(baseline_counts, "MAX_LISTED", 4)
    rng = np.random.default_rng(6)
    a = draw(rng, VOLUMES, units=200, bodies=100)
    base = Baseline.of(a)
    assert len(base.answer["classes"]) == 4
    assert base.answer["num_classes"] == 16
    clean = check_report(draw(rng, VOLUMES, units=200, bodies=100, seed=1), base)
    assert clean.verdict == AGREES
    # Four classes, twelve others with ten hits or more in either, all of those together, the unseen mass at most.
    assert 16 < clean.num_tests <= 30
    assert REST in [row.label for row in clean.rows]
    changed = VOLUMES.copy()
    changed[12] = 0.2  # of .004
    found = check_report(draw(rng, changed, units=200, bodies=100, seed=1), base)
    assert f"1100{NOT_LISTED}" in [line.partition(":")[0] for line in found.changes]
    same = check_report(replace(a), base)
    assert same.verdict == IDENTICAL
    other = check_report(replace(draw(rng, changed, units=200, bodies=100), seed=0), base)
    assert REST in [line.partition(":")[0] for line in other.changes]


def test_too_little_for_a_test_fails_with_a_sentence():
    few = clustered(units=8)
    found = check_report(report(few, seed=1), Baseline.of(report(clustered(seed=3, units=8))))
    assert found.verdict == FAILED
    assert "Nothing can be tested" in found.how


def test_estimates_are_compared_by_number_and_by_test():
    rng = np.random.default_rng(0)
    logs = -30 + 0.3 * rng.standard_normal(16)
    a = entries_report(replicated_volume("fits", logs))
    base = Baseline.of(a)
    assert check_report(a, base).verdict == IDENTICAL
    nudged = replicated_volume("fits", logs + 1e-6)
    found = check_report(entries_report(nudged), base)
    assert found.verdict == CHANGED
    assert found.changes[0].startswith("fits: ")
    away = Baseline.of(entries_report(replicated_volume("fits", logs), run={"versions": {"jax": "0.0.1"}}))
    assert "to rounding" in check_report(entries_report(nudged), away).how
    shifted = entries_report(replicated_volume("fits", logs + 3), seed=1)
    found = check_report(shifted, base)
    assert found.verdict == CHANGED
    assert "z = +" in found.changes[0]  # it rose
    dead = entries_report(replicated_volume("fits", [*logs[:-1], -np.inf]), seed=1)
    found = check_report(dead, base)
    assert (found.verdict, "1 of 16 replicates died" in found.how) == (FAILED, True)


def test_arguments_are_checked():
    with pytest.raises(TypeError, match="check_report takes a report"):
        check_report("run.json", Baseline.of(report()))  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(ValueError, match="alpha=2 is not between 0 and 1"):
        check_report(report(), Baseline.of(report()), alpha=2)
    with pytest.raises(TypeError, match="made of a report"):
        Baseline.of(3)  # type: ignore[arg-type]  # likewise
    stopped = report()
    with pytest.raises(ValueError, match="stopped early"):
        Baseline.of(replace(stopped, run={**stopped.run, "complete": False}))


@pytest.mark.parametrize(
    ("factor", "text"),
    [(1.123, "+12 %"), (0.93, "-7 %"), (3.14159, "x3.14"), (0.25, "/4"), (1e-9, "to nothing"), (float("nan"), "none")],
)
def test_factors_in_words(factor, text):
    assert percent(factor) == text
