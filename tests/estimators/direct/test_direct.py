"""The sampler: what may not change the counts, what must be refused, and what is counted apart."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.common.seeds import index_words, to_key
from volume.estimators.direct.plan import _divisor, check_memory
from volume.estimators.direct.step import pack_words, step
from volume.functions.tables import pack

CUBE3 = volume.BooleanCube(3)
untyped: Any = volume  # for what a type checker would refuse already


def query(widths=(3, 8, 1), *, bias=True, classifier=None, prior=None, domain=CUBE3):
    prior = prior or samplers.Gaussian(weight_std=1.0, bias_std=0.3)
    return volume.Query(models.MLP(widths, bias=bias), prior, domain, classifier or volume.TruthTable())


def num_traces():
    return step._cache_size()  # pyright: ignore[reportAttributeAccessIssue] - JAX's own tests count so


def same_counts(a, b):
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("classifier", [volume.TruthTable(), pytest.param(volume.Ones(), marks=pytest.mark.slow)])
def test_counts_do_not_depend_on_the_step_size(monkeypatch, classifier):
    question, method = query(classifier=classifier), volume.Direct(30_000, heads=10, bodies=4)

    def counts(blocks_in_first_step, max_step_draws):
        monkeypatch.setattr("volume.estimators.direct.plan.MAX_STEP_DRAWS", max_step_draws)
        run = method.start(question, to_key(5)[0])
        run._step_blocks = blocks_in_first_step
        while not run.done:
            run.advance()
        assert run.draws == 30_000
        hits = run.counts()
        assert hits is not None
        return hits

    first = counts(1, 1 << 20)
    same_counts(first, counts(7, 1 << 20))
    same_counts(first, counts(1, 40 * 13))  # steps of 16 blocks: 750 is no multiple of it
    assert first.num_units == 750


def test_one_trace_for_a_whole_run_and_for_an_equal_query():
    method = volume.Direct(50_000, heads=10, bodies=5)
    before = num_traces()
    volume.estimate(query(bias=False), method, seed=1)
    assert num_traces() == before + 1
    # A new but equal query, another seed: nothing is traced again.
    volume.estimate(query(bias=False), method, seed=2)
    assert num_traces() == before + 1


def test_seeds_numbers_keys_and_what_is_refused():
    question, method = query(), volume.Direct(2000, heads=10, bodies=2)
    by_number = volume.estimate(question, method, seed=7)
    by_key = volume.estimate(question, method, seed=jax.random.key(7))
    by_raw = volume.estimate(question, method, seed=np.asarray(jax.random.key_data(jax.random.key(7))))
    same_counts(by_number.counts, by_key.counts)
    same_counts(by_number.counts, by_raw.counts)
    assert by_number.seed == volume.estimate(question, method, seed=jnp.int32(7)).seed == 7
    large = volume.estimate(question, method, seed=7 + 2**32)
    assert not np.array_equal(large.counts.hits, by_number.counts.hits)
    for bad, error in (
        (-1, ValueError),
        (2**64, ValueError),
        (True, ValueError),
        (1.5, TypeError),
        ("0", TypeError),
        (jax.random.split(jax.random.key(0)), ValueError),
        (jnp.arange(3), ValueError),
        (jax.random.key(0, impl="rbg"), ValueError),
    ):
        with pytest.raises(error, match="seed"):
            volume.estimate(question, method, seed=bad)


def test_block_indices_are_folded_in_two_words():
    words = index_words(2**32 - 1, 2**32 + 2)
    np.testing.assert_array_equal(words, [[0, 2**32 - 1], [1, 0], [1, 1]])


def test_packed_words_are_the_packed_tables():
    rng = np.random.default_rng(0)
    for num_inputs, num_outputs in ((5, 1), (64, 1), (128, 1), (70, 3), (33, 10)):
        decisions = rng.integers(0, max(2, num_outputs), (2, num_inputs, 6)).astype(np.uint8)
        words = np.asarray(pack_words(jnp.asarray(decisions), num_outputs)).astype(np.uint64)
        keys = (words[:, 0::2] << np.uint64(32)) | words[:, 1::2]  # [Q, W, H]
        expected = pack(decisions.transpose(0, 2, 1).reshape(12, num_inputs), num_outputs)
        np.testing.assert_array_equal(keys.transpose(0, 2, 1).reshape(12, -1), expected)


def classes_of(report):
    found = {entry.label: entry for entry in report.classes()}
    return found, sorted(found)


@pytest.mark.parametrize(
    "prior",
    [
        samplers.Gaussian(1.0, 0.7),
        pytest.param(samplers.Uniform(1.0, 0.7), marks=pytest.mark.slow),
        pytest.param(samplers.Sphere(1.0, True), marks=pytest.mark.slow),
    ],
)
def test_reflected_crossed_heads_draw_from_the_prior(prior):
    """Heads shared by bodies up to signs against fully independent draws, class by class.

    A tanh network with biases has no symmetric shortcut. 100 classes at most: |z| > 6.5 anywhere has probability below
    1e-8; at 4e5 draws against 2e6 a class of volume 1e-2 off by 7 % would be seen.
    """
    model = models.MLP((3, 5, 1), activation="tanh")
    question = volume.Query(model, prior, CUBE3)
    alone = volume.estimate(question, volume.Direct(400_000, heads=1), seed=1)
    crossed = volume.estimate(question, volume.Direct(2_000_000, heads=20, bodies=10), seed=2)
    assert alone.method["independent_draws"]
    assert not crossed.method["independent_draws"]
    found, _ = classes_of(crossed)
    y, n, v = alone.counts.tally(), crossed.num_draws, crossed.counts
    for c in range(v.num_classes):
        i = alone.counts.find(v.keys[c])
        hits = np.zeros(v.num_units)
        part = slice(v.offsets[c], v.offsets[c + 1])
        hits[v.unit[part]] = v.hits[part]
        if i is None or y.count[i] < 400:
            continue
        p, q = y.count[i] / alone.num_draws, hits.sum() / n
        error = np.sqrt(p * (1 - p) / alone.num_draws + v.num_units * hits.var(ddof=1) / n**2)
        assert abs(p - q) < 6.5 * error
    assert len(found) == v.num_classes


@pytest.mark.slow
def test_several_outputs_with_heads_agree_with_independent_draws():
    """Argmax of three outputs; |z| > 6.5 in any of some 100 classes has probability below 1e-8."""
    domain = volume.Points([[1.0, 0.2], [-0.3, 1.0], [0.5, -1.0]])
    question = volume.Query(models.MLP((2, 6, 3), activation="tanh"), samplers.Gaussian(1.0, 0.4), domain)
    alone = volume.estimate(question, volume.Direct(200_000, heads=1), seed=1)
    crossed = volume.estimate(question, volume.Direct(1_000_000, heads=20, bodies=10), seed=2)
    comparison = volume.compare(alone, crossed)
    assert comparison.num_compared > 15
    assert comparison.max_abs_z < 6.5


def test_default_blocks_divide_round_numbers_and_leave_a_thousand_of_them():
    for draws, widths in ((10_000_000, (3, 40, 1)), (1_000_000, (3, 40, 1)), (200_000, (3, 5, 1)), (2_000, (3, 5, 1))):
        plan = volume.Direct(draws).plan(query(widths))
        assert draws % plan.block_draws == 0
        assert plan.independent or draws // plan.block_draws >= 1000
    assert volume.Direct(10_000_000).plan(query((3, 40, 1))).heads == 200
    assert volume.Direct(10_000_000).plan(query((3, 1, 1))).heads == 5
    assert volume.Direct(1_000).plan(query((3, 40, 1))).independent
    assert volume.Direct(1_000_000).plan(query((3, 1))).independent  # no body: heads are independent draws
    assert _divisor(1234, 1000) == 617
    assert _divisor(1009, 1000) == 1000  # a prime: rounded up


def test_draws_are_rounded_up_to_whole_blocks():
    report = volume.estimate(query(), volume.Direct(1_001, heads=10, bodies=2), seed=0)
    assert report.num_draws == 1_020
    assert report.counts.tally().count.sum() == 1_020


@pytest.mark.parametrize(
    "classifier", [volume.LempelZiv(), pytest.param(volume.LempelZiv() * volume.Ones(), marks=pytest.mark.slow)]
)
def test_a_costly_classifier_is_the_coarser_answer_of_the_stored_tables(classifier):
    method = volume.Direct(20_000, heads=10, bodies=2)
    fine = volume.estimate(query(), method, seed=6)
    same_counts(fine.group_by(classifier).counts, volume.estimate(query(classifier=classifier), method, seed=6).counts)


def of_points(inputs, activation="relu"):
    return volume.Query(models.MLP((2, 3, 1), activation), samplers.Gaussian(), volume.Points(inputs))


def test_float64_keeps_what_float32_cannot():
    for inputs in ([[1e300, 0.0]], [[1, 0.0], [1 + 1e-12, 0]]):
        assert volume.estimate(of_points(inputs), volume.Direct(100, dtype="float64"), seed=0).num_nonfinite == 0


def test_memory_is_asked_for_by_tables_only():
    check_memory(query(classifier=volume.Ones()), 10**12)
    check_memory(query(), 10**6)


@pytest.mark.parametrize("draws", [*(pytest.param(draws, marks=pytest.mark.slow) for draws in (100, 5_000)), 20_000])
def test_independent_draws_leave_a_tenth_to_choose_classes_by(draws):
    for model in (models.Perceptron(3), models.MLP((3, 2, 1))):
        heads = None if isinstance(model, models.Perceptron) else 1
        question = volume.Query(model, samplers.Gaussian(1.0, 0.5), CUBE3)
        report = volume.estimate(question, volume.Direct(draws, heads=heads), seed=0)
        assert report.num_draws == draws
        assert report.counts.num_units >= 20
        assert report.top(3).num_draws < draws


@dataclasses.dataclass(frozen=True)
class HalfNormal(samplers.Gaussian):
    """Positive weights only: no reflection leaves this law as it is."""

    @property
    def sign_symmetric(self):
        return False

    def transform(self, z, parameters):
        return {name: jnp.abs(value) for name, value in super().transform(z, parameters).items()}


@dataclasses.dataclass(frozen=True)
class Liar(HalfNormal):
    @property
    def sign_symmetric(self):
        return True


@pytest.mark.slow
def test_heads_of_a_law_without_symmetry_are_never_reflected():
    """Positive weights without biases: every network gives 1 on 01, 10 and 11, whatever is shared."""
    model = models.MLP((2, 3, 1), bias=False)
    question = volume.Query(model, HalfNormal(), volume.BooleanCube(2))
    for method in (volume.Direct(20_000), volume.Direct(20_000, bodies=10), volume.Direct(20_000, heads=20, bodies=5)):
        assert volume.estimate(question, method, seed=0)["0111"].count == 20_000
    with pytest.raises(ValueError, match="sign_symmetric"):
        volume.estimate(volume.Query(model, Liar(), volume.BooleanCube(2)), volume.Direct(20_000), seed=0)


@pytest.mark.parametrize(
    "shared",
    [volume.Direct(100_000, heads=10, bodies=10), pytest.param(volume.Direct(100_000), marks=pytest.mark.slow)],
)
def test_a_head_of_scales_is_never_reflected(shared):
    """A scale's law lies around 1, so that negating one is no draw from it: shared heads against independent draws."""
    parameters = (
        models.Parameter("0.weight", (2, 3), "weight", 2, 0),
        models.Parameter("1.scale", (3, 1), "scale", 3, 1),
    )
    model = models.from_function(
        lambda params, inputs: jax.nn.relu(inputs @ params["0.weight"]) @ params["1.scale"],
        parameters,
        input_shape=(2,),
        features=lambda params, inputs: jax.nn.relu(inputs @ params["0.weight"]),
        head="1.scale",
    )
    question = volume.Query(model, samplers.Gaussian(scale_std=0.5), volume.BooleanCube(2))
    alone = volume.estimate(question, volume.Direct(100_000, heads=1), seed=1)
    # |z| > 6.5 in one of six classes: below 1e-9; reflected, 0111 was .24 instead of .71.
    compared = volume.compare(alone, volume.estimate(question, shared, seed=2))
    assert isinstance(compared, volume.Comparison)
    assert compared.max_abs_z < 6.5


def nan_model():
    def apply(params, inputs):
        weight = params["weight"]  # NaN on one input when the first weight is large; inf when it is very small
        out = inputs @ weight
        out = out.at[0].set(jnp.where(weight[0] > 1.0, jnp.nan, out[0]))
        return out.at[1].set(jnp.where(weight[0] < -2.0, jnp.inf, out[1]))

    return models.from_function(apply, {"weight": (2,)}, input_shape=(2,))


@pytest.mark.parametrize(
    "classifier",
    [
        volume.TruthTable(),
        volume.Predicate(lambda out: out[0] > 0),
        pytest.param(volume.Ones(), marks=pytest.mark.slow),
    ],
)
def test_nonfinite_networks_are_a_class_of_their_own(classifier):
    """P(nan or inf) = Phi(-1) + Phi(-2): a vector's entries are N(0, 1). Six sigma is 3.7e-3, missed once in 5e8."""
    from scipy.stats import norm

    domain = volume.Points([[1.0, 0.3], [0.2, 1.0], [1.0, -1.0]])
    question = volume.Query(nan_model(), samplers.Gaussian(1.0), domain, classifier)
    report = volume.estimate(question, volume.Direct(400_000), seed=0)
    exact = norm.sf(1) + norm.sf(2)
    share = report.num_nonfinite / report.num_draws
    assert abs(share - exact) < 6 * np.sqrt(exact * (1 - exact) / report.num_draws)
    entry = report["nonfinite"]
    assert entry.count == report.num_nonfinite
    assert entry.log_low < np.log(exact) < entry.log_high
    assert report.counts.tally().count.sum() + report.num_nonfinite == report.num_draws


def test_near_ties_leave_structural_zeros_out():
    """Without biases x = 0 gives exactly 0 in every draw: that is a tie, not a near tie."""
    report = volume.estimate(query((3, 8, 1), bias=False), volume.Direct(20_000), seed=0)
    assert report.run["near_ties_checked"] == report.num_draws
    assert report.run["near_ties"] < 200


def test_running_ends_where_estimate_ends():
    question, method = query(), volume.Direct(40_000, heads=10, bodies=2)
    reports = list(volume.running(question, method, seed=4))
    draws = [report.num_draws for report in reports]
    assert len(reports) >= 2
    assert draws == sorted(set(draws))
    same_counts(reports[-1].counts, volume.estimate(question, method, seed=4).counts)


def test_progress_in_a_log_is_whole_lines_and_ends_with_the_total(capsys):
    volume.estimate(query(), volume.Direct(20_000, heads=10, bodies=2), seed=0, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("20,000 of 20,000 draws, ")
    assert err.splitlines()[-1].endswith(" classes")


def test_progress_is_called_with_every_step_and_ctrl_c_keeps_what_was_drawn():
    seen = []
    method = volume.Direct(20_000, heads=10, bodies=2)
    report = volume.estimate(query(), method, seed=0, progress=seen.append)
    assert [state.draws for state in seen] == sorted(state.draws for state in seen)
    assert seen[-1].draws == seen[-1].total == 20_000
    assert abs(seen[-1].classes - report.num_classes) <= 2

    def stop(state):
        raise KeyboardInterrupt

    from volume.estimation import Interrupted

    with pytest.raises(Interrupted) as caught:
        volume.estimate(query(), method, seed=0, progress=stop)
    partial = caught.value.report
    assert isinstance(partial, volume.VolumeReport)
    assert 0 < partial.num_draws < 20_000
    assert not partial.run["complete"]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: volume.Direct(0), ValueError, "positive whole number"),
        (lambda: volume.Direct(-5), ValueError, "positive whole number"),
        (lambda: volume.Direct(1.5), ValueError, "positive whole number"),
        (lambda: volume.Direct(float("nan")), ValueError, "positive whole number"),
        (lambda: untyped.Direct("1e6"), ValueError, "positive whole number"),
        (lambda: volume.Direct(True), ValueError, "positive whole number"),
        (lambda: volume.Direct(1e25), ValueError, "give fewer"),
        (lambda: volume.Direct(10, heads=0), ValueError, "heads=0"),
        (lambda: volume.estimate(query(), volume.Direct(10, heads=10**5, bodies=10**4)), ValueError, "too large"),
        (lambda: volume.estimate(query(), volume.Direct(10**12)), ValueError, "GiB"),
        (
            lambda: volume.estimate(of_points([[1e300, 0.0]], "tanh"), volume.Direct(10)),
            ValueError,
            "too large for float",
        ),
        (lambda: volume.estimate(of_points([[1, 0.0], [1 + 1e-12, 0]]), volume.Direct(10)), ValueError, "the same in"),
        (lambda: volume.Direct(10, dtype="float16"), ValueError, "float32"),
        (lambda: volume.Direct(10, precision="hihgest"), ValueError, "Did you mean 'highest'"),
        (lambda: query((4, 8, 1)), ValueError, r"shape \(4,\).*\(3,\)"),
        (lambda: query(prior=samplers.Gaussian((1.0, 2.0, 3.0))), ValueError, "layer"),
        (lambda: untyped.Query(models.MLP((3, 1)), samplers.Gaussian), TypeError, "prior"),
        (lambda: untyped.Query("mlp", samplers.Gaussian(), CUBE3), TypeError, "model"),
        (lambda: volume.Query(models.MLP((3, 1)), samplers.Gaussian()), ValueError, "domain"),
        (lambda: untyped.Query(models.MLP((3, 1)), samplers.Gaussian(), 3), TypeError, "domain"),
        (lambda: query(classifier=volume.TruthTable), TypeError, "classifier"),
        (lambda: untyped.estimate("q", volume.Direct(10)), TypeError, "query"),
        (lambda: untyped.estimate(query(), 10), TypeError, "method"),
        (lambda: volume.estimate(query(), volume.Direct(10), level=95), ValueError, "level"),
        (
            lambda: volume.estimate(query(prior=samplers.Sphere(1.0)), volume.Direct(100, heads=5)),
            ValueError,
            "heads=5",
        ),
    ],
)
def test_bad_input_is_refused_before_tracing(make, error, words):
    before = num_traces()
    with pytest.raises(error, match=words):
        make()
    assert num_traces() == before


def test_a_model_whose_outputs_have_the_wrong_shape_is_refused():
    def wrong(params, inputs):
        return inputs @ params["weight"]  # [N, 4]

    def make():
        model = models.from_function(wrong, {"weight": (3, 4)}, input_shape=(3,), num_outputs=2)
        return volume.Query(model, samplers.Gaussian(), CUBE3)

    with pytest.raises(ValueError, match="outputs"):
        make()
