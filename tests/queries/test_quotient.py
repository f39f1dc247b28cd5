"""Each network counted once: estimates against orbits counted by brute force."""

import functools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from orbits import fixed, lattice, orbits_by_hand
from scipy import stats
from shared_queries import TANH

import volume
from volume import models, samplers
from volume.reports.shares import ratio_limits
from volume.statistics.counts import Counts, Tally
from volume.statistics.intervals import fay_feuer
from volume.statistics.ratios import share_limits

SIGNED = volume.BooleanCube(2, coding=(-1, 1))
TWO_LAYERS = (models.MLP((2, 2, 2, 1), "sign", bias=False), samplers.Lattice.binary(), SIGNED)
WITH_SIGNS = (models.MLP((2, 2, 1), "tanh", bias=False), samplers.Lattice.ternary(), SIGNED)


def steep(params, inputs):
    """A network with one hidden layer that gives NaN where both units are alike in their first weight."""
    outputs = jnp.tanh(inputs @ params["w1"]) @ params["w2"]
    return jnp.where(params["w1"][0, 0] == params["w1"][0, 1], jnp.nan, outputs)


UNITS = models.UnitSymmetry("units", 2, (("w1", 1), ("w2", 0)))
STEEP = models.from_function(steep, {"w1": (2, 2), "w2": (2, 1)}, input_shape=2, symmetry=[UNITS])
NONFINITE = (STEEP, samplers.Lattice.ternary(), SIGNED)


def ask(parts, classifier=None, symmetry="quotient"):
    model, prior, domain = parts
    return volume.Query(model, prior, domain, classifier or volume.TruthTable(), symmetry)


@functools.cache
def truth(parts):
    """{label: (points, orbits)} by brute force over lattice and group; NaN is "nonfinite"."""
    model, prior, domain = parts
    held = dict(zip((p.layer for p in model.parameters), prior.levels_of(model.parameters), strict=True))
    params = lattice(model, held)
    points = np.sum([fixed(model.symmetry, params, g) for g in model.symmetry.elements()], axis=0)  # |Stab|
    inputs = jnp.asarray(domain.inputs, jnp.float32)
    outputs = jax.vmap(lambda p: model.apply(p, inputs))({k: jnp.asarray(v) for k, v in params.items()})
    outputs = np.asarray(outputs)[:, :, 0]
    labels = np.array(["".join("01"[int(bit)] for bit in row) for row in outputs > 0], "<U9")
    labels[~np.isfinite(outputs).all(1)] = "nonfinite"
    found = {}
    for label in np.unique(labels):
        of = labels == label
        found[str(label)] = int(of.sum()), int(points[of].sum()) // model.symmetry.order
    return found


def num_points(parts):
    return parts[1].num_points(parts[0].parameters)


@functools.cache
def drawn(parts, draws=40_000, seed=3):
    return volume.estimate(ask(parts), volume.Direct(draws=draws), seed=seed)


CASES = {"two hidden layers": TWO_LAYERS, "signs and zero units": WITH_SIGNS, "NaN": NONFINITE}


def test_the_truths_are_burnside_counts():
    assert sum(orbits for _, orbits in truth(TWO_LAYERS).values()) == 312
    for model, prior, domain in CASES.values():
        held = dict(zip((p.layer for p in model.parameters), prior.levels_of(model.parameters), strict=True))
        orbits = orbits_by_hand(model.symmetry, lattice(model, held))
        assert sum(found for _, found in truth((model, prior, domain)).values()) == orbits


# --- drawn ---


@pytest.mark.parametrize(
    "case", [name if at == 0 else pytest.param(name, marks=pytest.mark.slow) for at, name in enumerate(CASES)]
)
def test_direct_estimates_orbits(case):
    """Nine to 17 numbers in each case at level 1 - 1e-8: false alarms 1e-6 in all, for intervals that hold. At 40,000
    draws a class of volume .01 would show an error of 15 %, its ratio to prior mass is off by a factor 2 to 8."""
    parts = CASES[case]
    report = replace(drawn(parts), level=1 - 1e-8)
    total = sum(orbits for label, (_, orbits) in truth(parts).items() if label != "nonfinite")
    assert set(report) == set(truth(parts)) - {"nonfinite"}
    for label, (points, orbits) in truth(parts).items():
        entry, expected = report[label], math.log(orbits / num_points(parts))
        assert entry.log_low <= expected <= entry.log_high
        assert entry.log_high < expected + 0.8
        # Prior mass, which the quotient is not, lies far outside.
        assert not entry.log_low <= math.log(points / num_points(parts)) <= entry.log_high
        if label == "nonfinite":
            assert math.isnan(entry.log_share)
        else:
            assert entry.log_share_low <= math.log(orbits / total) <= entry.log_share_high
    assert report.unseen.low <= 0 <= report.unseen.high


def test_counts_are_hits_over_all_possible_ones():
    report = drawn(WITH_SIGNS)
    counts = report.counts
    assert (counts.copies, counts.independent, counts.num_possible) == (8, False, 8 * 40_000)
    entry = report["0000"]
    assert entry.log_volume == pytest.approx(math.log(entry.count / (8 * 40_000)), rel=1e-12)
    assert entry.log_share == pytest.approx(math.log(entry.count / counts.hits.sum()), rel=1e-12)
    assert math.isnan(entry.design_effect)
    assert sum(math.exp(entry.log_share) for entry in report.classes()) == pytest.approx(1, rel=1e-12)
    # Burnside again: a draw brings |G| orbits / M hits on average.
    orbits = sum(orbits for _, orbits in truth(WITH_SIGNS).values())
    assert counts.hits.sum() / 40_000 == pytest.approx(8 * orbits / num_points(WITH_SIGNS), rel=0.05)


@pytest.mark.slow
def test_both_routes_count_alike():
    """Tables weighed on the host, and classes weighed on the device; few classes and many."""
    for parts, classifier in (
        (NONFINITE, volume.Ones()),
        (TWO_LAYERS, volume.Ones() * volume.Ones()),
    ):
        grouped = drawn(parts).group_by(classifier)
        device = volume.estimate(ask(parts, classifier), volume.Direct(draws=40_000), seed=3)
        assert device.counts.copies == grouped.counts.copies > 1
        for column in ("keys", "offsets", "unit", "hits", "nonfinite"):
            np.testing.assert_array_equal(getattr(device.counts, column), getattr(grouped.counts, column))


def test_grouped_classes_add_up():
    grouped = drawn(TWO_LAYERS).group_by(volume.Ones())
    points = num_points(TWO_LAYERS)
    for ones in range(5):
        orbits = sum(orbits for label, (_, orbits) in truth(TWO_LAYERS).items() if label.count("1") == ones)
        assert math.exp(grouped[str(ones)].log_volume) == pytest.approx(orbits / points, rel=0.1)


@pytest.mark.slow
def test_the_intervals_cover():
    """200 runs of 300 draws, 300 units. Were each interval's chance of a miss 5 %, one of these 6 counts would pass 29
    with probability 5e-7; a true coverage of .78 would be seen with probability .99. (Runs of 200 to 2,000 draws on
    four networks missed at most 5 %; the upper limits are the cautious ones.)"""
    query, found = ask(WITH_SIGNS, volume.Ones()), {}
    for label, (_, orbits) in truth(WITH_SIGNS).items():
        found[str(label.count("1"))] = found.get(str(label.count("1")), 0) + orbits
    assert found == {"0": 25, "1": 32, "2": 48}
    missed, missed_share = dict.fromkeys(found, 0), dict.fromkeys(found, 0)
    for seed in range(200):
        report = volume.estimate(query, volume.Direct(draws=300), seed=seed)
        for label, orbits in found.items():
            entry = report[label]
            missed[label] += not entry.log_low <= math.log(orbits / num_points(WITH_SIGNS)) <= entry.log_high
            missed_share[label] += not entry.log_share_low <= math.log(orbits / 105) <= entry.log_share_high
    assert 2 * len(found) * stats.binom.sf(29, 200, 0.05) < 1e-6
    assert max(missed.values()) <= 29
    assert max(missed_share.values()) <= 29


def test_a_class_never_hit_allows_for_one_draw_that_brings_all():
    """2-3-1 relu, binary: class 0111 has one orbit, and these 30 draws miss it."""
    parts = (models.MLP((2, 3, 1), "relu", bias=False), samplers.Lattice.binary(), SIGNED)
    report = volume.estimate(ask(parts), volume.Direct(draws=30), seed=1)
    assert "0111" not in report
    entry = report["0111"]
    assert entry.count == 0
    assert math.exp(entry.log_high) * 30 == pytest.approx(3.5, rel=0.1)
    assert report.unseen.high > 0


def test_light_hits_do_not_rule_out_a_heavy_draw():
    """30 hits by draws that bring one each: the class may hold a point that brings 120 at once and was not drawn.

    On 1-5-1 relu, binary, 50 draws, limits without this missed 7 % of classes with 8 to 20 orbits, with it under 1 %.
    """
    light = Tally(*(np.array([value]) for value in (30, 30, 1, 30)))
    _, high = fay_feuer(light, 1000, 1, copies=120)
    assert math.exp(high[0]) * 120_000 > 30 + 120
    _, plain = fay_feuer(light, 1000, 1)
    assert math.exp(plain[0]) * 1000 < 45


def test_ranking_changes():
    """Binary 2-2-2-1: the constant 1 has fewer parameterisations than a table with one 0, and more networks: its
    copies are fewer."""
    found = truth(TWO_LAYERS)
    assert found["1111"] == (28, 14)
    assert [found[label] for label in ("0111", "1011", "1101", "1110")] == [(30, 11)] * 4
    report = drawn(TWO_LAYERS)
    assert report["1111"].log_low > report["1011"].log_high


@pytest.mark.slow
def test_the_unseen_mass_counts_networks_once():
    """3-4-1 sign, 250 classes: what 200 draws did not hit, over 40 runs. t_39 beyond 6 has probability 5e-7; a bias
    of 60 % would be seen (volumes sum to .05: in units of prior mass it would be far off)."""
    parts = (models.MLP((3, 4, 1), "sign"), samplers.Lattice.binary(), volume.BooleanCube(3, coding=(-1, 1)))
    exact = {entry.label: entry.volume for entry in volume.estimate(ask(parts), volume.Exact()).classes()}
    differences, missed, true = [], 0, 0.0
    for seed in range(40):
        report = volume.estimate(ask(parts), volume.Direct(draws=200), seed=seed)
        true = sum(share for label, share in exact.items() if label not in report)
        differences.append(report.unseen.mass - true)
        missed += not report.unseen.low <= true <= report.unseen.high
    assert abs(np.mean(differences)) < 6 * np.std(differences, ddof=1) / math.sqrt(40)
    assert np.std(differences) / math.sqrt(40) < 0.1 * true
    assert missed <= 12  # P(more of 40 at .05) = 3e-8


@pytest.mark.slow
def test_a_trivial_group_weighs_nothing():
    parts = (models.MLP((2, 1, 1), "relu", bias=False), samplers.Lattice.ternary(), SIGNED)
    report = volume.estimate(ask(parts), volume.Direct(draws=1000), seed=0)
    plain = volume.estimate(ask(parts, symmetry="none"), volume.Direct(draws=1000), seed=0)
    assert report.counts.copies == 1
    np.testing.assert_array_equal(report.counts.hits, plain.counts.hits)


def test_saved_and_loaded(tmp_path):
    report = drawn(NONFINITE)
    loaded = volume.load(report.save(tmp_path / "run.json"))
    assert isinstance(loaded, volume.VolumeReport)
    assert loaded.counts.copies == 2
    assert loaded["0011"].to_dict() == report["0011"].to_dict()
    assert loaded.unseen == report.unseen
    assert loaded.to_dict() == report.to_dict()


def test_what_a_report_says():
    report = drawn(WITH_SIGNS)
    text = report.summary()
    assert "Each network is counted once: a draw brings as many hits, up to |G| = 8," in text
    assert "Rescaling of relu units is not finite: it changes no class's mass." in text
    assert "permutations and signs of 2" in text
    assert "hits in 40,000 draws; each network counted once, share 0.2" in report["0000"].sentence()
    record = report.to_dict(top=3)
    assert (record["copies"], record["conventions"]["symmetry"]) == (8, "quotient")
    assert record["classes"][0]["share"] == pytest.approx(math.exp(record["classes"][0]["log_share"]))
    assert all(len(line) <= 120 for line in text.splitlines()[:12])


def test_a_group_too_large_to_weigh_draws_is_refused():
    parts = (models.MLP((2, 10, 1), "relu"), samplers.Lattice.binary(), SIGNED)
    with pytest.raises(ValueError, match=r"at most 1,000,000 are allowed.*volume.Exact"):
        volume.estimate(ask(parts), volume.Direct(draws=100))
    with pytest.raises(ValueError, match=r"heads=5 was asked for, but a quotient looks at whole networks"):
        volume.estimate(ask(WITH_SIGNS), volume.Direct(draws=100, heads=5))


def test_sums_of_squares_cannot_overflow():
    """9! copies: 2^62 is 3.5e7 squared hits of 1e6 draws, so that blocks become small, and too many are refused."""
    query = ask((models.MLP((1, 9, 1), "relu", bias=False), samplers.Lattice.binary(), volume.Points([[1.0]])))
    plan = volume.Direct(draws=1_000_000).plan(query)
    assert plan.block_draws * 1_000_000 * math.factorial(9) ** 2 < 1 << 62
    with pytest.raises(ValueError, match="too many for 64-bit sums of squares"):
        volume.Direct(draws=10**8).plan(query)


# --- counted ---


@pytest.mark.parametrize("case", CASES)
def test_exact_counts_orbits(case):
    parts = CASES[case]
    report = volume.estimate(ask(parts), volume.Exact())
    found = {label: orbits for label, (_, orbits) in truth(parts).items() if label != "nonfinite"}
    assert {entry.label: entry.count for entry in report.classes()} == found
    assert report.num_nonfinite == truth(parts).get("nonfinite", (0, 0))[1]
    total = sum(found.values())
    for entry in report.classes():
        assert entry.log_volume == entry.log_high == math.log(entry.count / num_points(parts))
        assert entry.log_share == entry.log_share_low == pytest.approx(math.log(entry.count / total))
    assert "orbits under symmetries, |G| = " in report.summary()
    assert "networks, each counted once, over all" in report["0011"].sentence()


class Conv(nnx.Module):
    """Two channels over images of one place for them: the network 4-2-1."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 2, (2, 2), padding="VALID", use_bias=False, rngs=rngs)
        self.out = nnx.Linear(2, 1, use_bias=False, rngs=rngs)

    def __call__(self, x):  # [N, 2, 2, 1]
        return self.out(nnx.relu(self.conv(x)).reshape(len(x), -1))


@pytest.mark.slow
def test_channels_of_a_convolution_count_as_hidden_units():
    channels = models.UnitSymmetry("channels", 2, (("conv.kernel", 3), ("out.kernel", 0)))
    conv = models.from_nnx(Conv(nnx.Rngs(0)), (2, 2, 1), symmetry=[channels])
    cube = volume.BooleanCube(4)
    images = volume.Points(np.asarray(cube.inputs).reshape(-1, 2, 2, 1))
    found = volume.estimate(ask((conv, samplers.Lattice.binary(), images)), volume.Exact())
    dense = ask((models.MLP((4, 2, 1), bias=False), samplers.Lattice.binary(), cube))
    expected = volume.estimate(dense, volume.Exact())
    assert {e.label: e.count for e in found.classes()} == {e.label: e.count for e in expected.classes()}
    assert found.counts.hits.sum() == (2**10 + 2**5) // 2  # Burnside: one exchange fixes the 2^5 pairs of equal units


def test_exact_and_direct_agree():
    """By the comparison's own level, 1e-6."""
    for parts in CASES.values():
        exact = volume.estimate(ask(parts), volume.Exact())
        found = volume.compare(drawn(parts), exact, alpha=1e-6)
        assert found.agree
        assert found.num_compared >= 9
    mass = volume.estimate(ask(WITH_SIGNS, symmetry="none"), volume.Exact())
    with pytest.raises(ValueError, match=r"the first holds each network once.*the second prior mass"):
        volume.compare(drawn(WITH_SIGNS), mass)


def test_two_drawn_quotients_agree_and_others_do_not():
    """alpha 1e-6; a factor 1.2 on the largest class would be seen."""
    a, b = drawn(WITH_SIGNS), drawn(WITH_SIGNS, seed=8)
    found = volume.compare(a, b, alpha=1e-6)
    assert found.agree
    assert found.rows[0].log_volume_a == a[found.rows[0].label].log_volume
    assert found.num_compared == 9


# --- shares ---


def random_counts(rng, classes=4, units=40, unit_size=30):
    hits = rng.binomial(unit_size // classes, rng.beta(0.4, 2, (units, classes)))
    nonfinite = rng.binomial(3, 0.3, units)
    return hits, Counts.from_dense(hits, unit_size=unit_size, independent=False, nonfinite=nonfinite)


def test_shares_of_stored_counts_are_those_of_the_full_matrix():
    """The same limits as volume.reports.shares, which holds every unit of every class in memory; classes hit in all
    units, in some and in none, from a first unit on."""
    rng = np.random.default_rng(0)
    for start in (0, 4):
        hits, counts = random_counts(rng)
        hits[:, 3] = 0
        hits[:, 2] += 1
        counts = Counts.from_dense(hits, unit_size=30, independent=False, nonfinite=counts.nonfinite)
        _, low, high = share_limits(counts, np.array([0, 1, 2, -1]), 0.9, start=start, cluster=5.0)
        part = hits[start:]
        expected = ratio_limits(part.T, part.sum(1), 0.9, 5.0)
        np.testing.assert_allclose(np.exp(low), expected[0], rtol=1e-9)
        np.testing.assert_allclose(np.exp(high), expected[1], rtol=1e-9)


def test_shares_of_plain_counts_leave_out_what_is_not_finite():
    hits = np.array([[3, 1], [2, 2], [4, 0], [1, 3], [2, 1], [3, 2]])
    counts = Counts.from_dense(hits, unit_size=8, independent=True, nonfinite=8 - hits.sum(1))
    share, low, high = share_limits(counts, np.array([0, 1, -1]), 0.95)
    np.testing.assert_allclose(np.exp(share), [15 / 24, 9 / 24, 0])
    exact = stats.binomtest(15, 24).proportion_ci(0.95, "exact")
    assert (math.exp(low[0]), math.exp(high[0])) == pytest.approx((exact.low, exact.high))
    assert low[2] == -math.inf
    assert Counts.from_dense(hits, unit_size=8, independent=True, nonfinite=np.zeros(6)).even
    assert not counts.even


def test_shares_of_prior_mass_are_volumes_where_all_is_finite():
    report = volume.estimate(TANH, volume.Direct(draws=20_000), seed=0)
    for entry in report.classes():
        assert (entry.log_share, entry.log_share_low, entry.log_share_high) == (
            entry.log_volume,
            entry.log_low,
            entry.log_high,
        )
