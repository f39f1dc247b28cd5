"""Two reports on one query: z is standard normal when they agree, and finds a difference that was planted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from example_reports import make, table_counts
from scipy import stats

from volume.classifiers.ones import Ones
from volume.functions.domains import Points
from volume.reports.comparison import compare
from volume.reports.counted_comparison import look_up
from volume.statistics.counts import Counts

NUM_CLASSES = 400
KEYS = (np.arange(NUM_CLASSES, dtype=np.uint64) << np.uint64(55))[:, None]  # tables of nine inputs


def draw(rng, volumes, units, *, heads=1, bodies=20, concentration=2.0, seed=0):
    """Units of ``bodies`` bodies with ``heads`` heads; shares of a body: Dirichlet(concentration * volumes).

    The design effect is 1 + (heads - 1)/(1 + concentration) for every class.
    """
    matrix = np.empty((units, len(volumes)), int)
    for unit in range(units):
        if heads == 1:
            matrix[unit] = rng.multinomial(bodies, volumes)
            continue
        shares = rng.gamma(np.maximum(concentration * volumes, 1e-12), size=(bodies, len(volumes)))
        matrix[unit] = sum(rng.multinomial(heads, share) for share in shares / shares.sum(1, keepdims=True))
    lost = np.zeros(units, int)
    counts = Counts.from_dense(matrix, unit_size=bodies * heads, independent=heads == 1, nonfinite=lost)
    counts = replace(counts, keys=KEYS[counts.keys[:, 0].astype(int)])
    method = {"name": "direct", "heads": heads, "bodies": bodies}
    return make(counts, domain=NINE_INPUTS, seed=seed, method=method)


NINE_INPUTS = Points(np.arange(9.0)[:, None])


def volumes(rng):
    raw = rng.pareto(1.0, NUM_CLASSES) + 0.2
    return raw / raw.sum()


CASES = {
    "iid": ({"units": 200, "bodies": 100}, {"units": 200, "bodies": 100}),
    "iid, a tenth": ({"units": 400, "bodies": 100}, {"units": 40, "bodies": 100}),
    "clustered": ({"units": 300, "heads": 20, "bodies": 5}, {"units": 300, "heads": 20, "bodies": 5}),
    "clustered, a tenth": (
        {"units": 600, "heads": 20, "bodies": 5},
        {"units": 60, "heads": 20, "bodies": 5},
    ),
    "clustered beside iid": ({"units": 300, "heads": 20, "bodies": 5}, {"units": 300, "bodies": 100}),
}


@pytest.mark.parametrize("case", CASES)
def test_z_is_standard_normal_when_volumes_are_equal(case):
    """On n = 200 to 1,500 classes, which depend on each other by little more than their sum.

    Kolmogorov-Smirnov at 1e-6 detects a shift: D = .4 for one of 1, the bound on D is 2.7/sqrt(n), so .18 to .5 of a
    standard error. The variance within 6.5 sqrt(2/n) of 1 (false alarm below 1e-7) detects 1.24 to 1.65.
    """
    rng = np.random.default_rng(11)
    one, two = CASES[case]
    z = []
    for _ in range(4):
        truth = volumes(rng)
        result = compare(draw(rng, truth, **one), draw(rng, truth, **two, seed=1))
        z += [row.z for row in result.rows]
    assert len(z) > 150
    assert stats.kstest(z, "norm").pvalue > 1e-6
    assert abs(np.var(z) - 1) < 6.5 * np.sqrt(2 / len(z))


@pytest.mark.parametrize("case", CASES)
def test_a_planted_difference_is_found(case):
    """The largest class is moved by 11 of its standard errors; z < -4.5 is missed with Phi(-6) = 1e-9, about (less the
    scaling of the others). The smallest move found as often is therefore 10."""
    rng = np.random.default_rng(3)
    one, two = CASES[case]
    truth = volumes(rng)
    largest = int(np.argmax(truth))
    a = draw(rng, truth, **one)
    error = 0.0
    for settings in (one, two):
        heads = settings.get("heads", 1)
        draws = settings["units"] * heads * settings["bodies"]
        error += truth[largest] * (1 - truth[largest]) * (1 + (heads - 1) / 3 if heads > 1 else 1) / draws
    moved = truth.copy()
    moved[largest] += 11 * np.sqrt(error)
    moved /= moved.sum()
    result = compare(a, draw(rng, moved, **two, seed=1))
    assert not result.agree
    assert result.p_value < 1e-3
    worst = result.rows[0]
    assert worst.z < -4.5  # the first has less of it
    assert worst.log_volume_a < worst.log_volume_b
    assert worst.label == a.bound.labels(KEYS[largest : largest + 1])[0]
    assert result.max_abs_z == abs(worst.z)


def two_reports(hits_a, hits_b, *, units=100, size=1000, **changes):
    """Independent draws; ``hits_*`` are {table: count}, the rest of the draws falls into table 0."""
    reports = []
    for seed, hits in enumerate((hits_a, hits_b)):
        matrix = np.zeros((units, 16), int)
        for table, count in hits.items():
            matrix[:, table] = np.diff(np.arange(units + 1) * count // units)
        matrix[:, 0] = size - matrix.sum(1)
        reports.append(make(table_counts(matrix, independent=True, unit_size=size), seed=seed, **changes))
    return reports


def test_small_counts_have_the_exact_conditional_test():
    a, b = two_reports({1: 7, 2: 0, 3: 24}, {1: 18, 2: 25, 3: 21})
    rows = {row.label: row for row in compare(a, b).rows}
    for label, x, total in (("0001", 7, 25), ("0010", 0, 25), ("0011", 24, 45)):
        middle = stats.binom.cdf(x, total, 0.5) - stats.binom.pmf(x, total, 0.5) / 2
        assert rows[label].z == pytest.approx(stats.norm.ppf(middle), abs=1e-3)
    assert rows["0010"].log_volume_a == -np.inf  # a class that one report never saw is compared, and found
    assert rows["0010"].z < -5.5


def test_large_counts_have_the_difference_over_its_standard_error():
    a, b = two_reports({1: 30_000}, {1: 30_600})
    row = next(row for row in compare(a, b).rows if row.label == "0001")
    p = np.array([0.3, 0.306])
    expected = (p[0] - p[1]) / np.sqrt(2 * 0.303 * 0.697 / 1e5)
    assert row.z == pytest.approx(expected, abs=0.01)


def test_differences_beyond_every_table_of_the_normal_law():
    a, b = two_reports({1: 90_000}, {1: 10_000})
    row = next(row for row in compare(a, b).rows if row.label == "0001")
    assert 100 < row.z < np.inf
    assert compare(a, b).p_value == 0
    assert next(other for other in compare(b, a).rows if other.label == "0001").z == pytest.approx(-row.z)


def test_classes_below_the_least_count_are_left_out():
    a, b = two_reports({1: 9, 2: 10, 3: 1}, {1: 10, 2: 10, 3: 30})
    compared = {row.label for row in compare(a, b).rows}
    assert compared == {"0000", "0010", "0011"}
    assert {row.label for row in compare(a, b, min_count=19).rows} == compared | {"0001"}
    assert compare(a, b).num_compared == 3


def test_non_finite_networks_are_compared_too():
    a, b = two_reports({1: 5000}, {1: 5000})
    lost = np.zeros(100, int)
    lost[:60] = 1
    b = replace(b, counts=replace(b.counts, nonfinite=lost))
    rows = {row.label: row for row in compare(a, b).rows}
    assert (rows["nonfinite"].count_a, rows["nonfinite"].count_b) == (0, 60)
    assert rows["nonfinite"].z < -7


def test_methods_with_other_units_are_compared_by_their_own_variance():
    rng = np.random.default_rng(4)
    truth = volumes(rng)
    a = draw(rng, truth, units=300, heads=20, bodies=5)
    b = draw(rng, truth, units=300, heads=5, bodies=20, seed=1)
    assert a.counts.unit_size == b.counts.unit_size
    result = compare(a, b)
    assert 20 < result.num_compared < NUM_CLASSES
    assert result.p_value > 1e-6  # its own false-alarm rate; detects one class off by 6.5 standard errors


def test_too_few_units_are_no_ground_for_a_comparison():
    rng = np.random.default_rng(5)
    truth = volumes(rng)
    a, b = (draw(rng, truth, units=15, heads=20, bodies=5, seed=seed) for seed in (0, 1))
    with pytest.raises(ValueError, match="No class can be compared: none has 20 hits"):
        compare(a, b)


def test_coarser_reports_are_compared():
    a, b = two_reports({1: 600, 2: 400}, {1: 400, 2: 600})
    assert not compare(a, b).agree
    ones = compare(a.group_by(Ones()), b.group_by(Ones()))
    assert {row.label: abs(row.z) < 1e-3 for row in ones.rows} == {"0": True, "1": True}


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("model", {"name": "mlp", "widths": [2, 9, 1]}, r"model is \{'widths': \[2, 3, 1\]\} in the first"),
        ("prior", {"name": "uniform"}, r"the prior is \{'name': 'gaussian'.*\{'name': 'uniform'\}"),
        ("domain", {"name": "boolean-cube", "n": 2, "coding": [-1, 1]}, r"domain is \{'coding': \[0.0, 1.0\]\}"),
    ],
)
def test_other_queries_are_refused(part, value, sentence):
    a, b = two_reports({1: 500}, {1: 500})
    b = replace(b, description={**b.description, part: value})
    with pytest.raises(ValueError, match=sentence):
        compare(a, b)
    with pytest.raises(ValueError, match="the classifier is"):
        compare(a, b if part == "classifier" else a.group_by(Ones()))


@pytest.mark.parametrize("seeds", [(3, 3), (5, [0, 5]), ([1, 2], [1, 2])])
def test_shared_draws_are_refused(seeds):
    a, b = two_reports({1: 500}, {1: 500})
    with pytest.raises(ValueError, match="give one of them another seed"):
        compare(replace(a, seed=seeds[0]), replace(b, seed=seeds[1]))
    # Another method makes other draws of the same seed.
    other = replace(b, seed=seeds[1], method={**b.method, "name": "exact"})
    assert compare(replace(a, seed=seeds[0]), other).agree


@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_report_is_refused(place):
    given = two_reports({1: 500}, {1: 500})
    given[place] = 3
    with pytest.raises(TypeError, match=r"compare takes two reports, .*; got 3"):
        compare(*given)


def test_a_comparison_states_both_questions():
    a, b = two_reports({1: 500}, {1: 500})
    record = json.loads(json.dumps(compare(a, b).to_dict(), allow_nan=False))
    for name, report in (("a", a), ("b", b)):
        assert record[name] == {part: report.to_dict()[part] for part in ("query", "method", "seed", "conventions")}
    assert (record["a"]["seed"], record["b"]["seed"]) == (0, 1)


def test_a_comparison_is_plain_data_and_text():
    a, b = two_reports({1: 500, 2: 0, 7: 60}, {1: 480, 2: 40, 7: 90})
    result = compare(a, b)
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    sizes = [abs(row["z"]) for row in record["classes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert record["classes"][0] == {**result.rows[0].to_dict(), "label": "0010", "log_volume_a": None}
    assert (record["num_compared"], record["agree"]) == (4, False)
    text = result.summary(2)
    assert "0010" in text
    assert "0001" not in text
    assert "They DISAGREE" in text
    assert "They agree" in str(compare(*two_reports({1: 500}, {1: 510})))
    for wrong in (0, 1, -2):
        with pytest.raises(ValueError, match="alpha"):
            compare(a, b, alpha=wrong)


@pytest.mark.parametrize("words", [1, 3])
def test_keys_are_found_wherever_they_differ(words):
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(0, 3, (60, words), dtype=np.uint64) * np.uint64(2**62 + 1), axis=0)
    size = len(keys)
    zeros, ones = np.zeros(size, np.int32), np.ones(size, np.int32)
    counts = Counts(keys, np.arange(size + 1), zeros, ones, 1, size, True, np.zeros(1))
    wanted = np.concatenate([keys[::-1], np.full((1, words), 7, np.uint64)])
    assert look_up(counts, wanted).tolist() == [*range(size - 1, -1, -1), -1]
