"""Training: known solutions, an exact stopping rule, and runs that do not depend on their neighbours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy import optimize, stats

import volume
from volume import models, samplers
from volume.commands.main import main
from volume.estimators.trained.pool import step
from volume.samplers import Data, Training, train

SQUARE = volume.BooleanCube(2, (-1, 1))
CUBE = volume.BooleanCube(3, (-1, 1))
GAUSSIAN = samplers.Gaussian(weight_std=1.0, bias_std=0.5)
NETWORK = models.MLP((3, 5, 1))
# Asymmetric on purpose: 5 of 8 inputs, three of them in class 1.
ROWS = np.array([0, 1, 3, 4, 6])
FITS = volume.Fits(CUBE.inputs[ROWS], [0, 1, 1, 0, 1])
TABLES = volume.Query(NETWORK, GAUSSIAN, CUBE)


def training_of(model, fits, **changes) -> Training:
    settings: dict[str, Any] = {
        "model": model,
        "initial": GAUSSIAN,
        "optimiser": samplers.Optimiser("sgd", 0.1),
        "objective": samplers.Loss(),
        "num_examples": len(fits.labels),
        "batch_size": len(fits.labels),
        "max_steps": 100,
        "stop_at_fit": True,
        "extra_epochs": 0,
        "group": 16,
    }
    return Training(**(settings | changes))


def train_in(dtype, training, fits, numbers, seed=0):
    """The networks at their end, as NumPy arrays."""
    with jax.enable_x64(dtype == np.float64):
        data = Data(fits.inputs.astype(dtype), fits.labels.astype(np.int32), jax.random.key(seed))  # type: ignore
        done = jax.jit(train, static_argnums=0)(training, data, np.asarray(numbers, np.uint32))
        return jax.tree.map(np.asarray, done)


# --- known solutions ---


def test_logistic_regression_reaches_its_only_minimum():
    """Labels that no line parts: the loss of a perceptron has one finite minimum, which scipy finds too."""
    inputs = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 1], [1, 3]], float)
    fits = volume.Fits(inputs, [0, 1, 1, 0, 1, 0])
    sign = 2.0 * fits.labels - 1

    def loss(theta):
        return np.mean(np.logaddexp(0, -sign * (inputs @ theta[:2] + theta[2])))

    best = optimize.minimize(loss, np.zeros(3), tol=1e-14).x
    training = training_of(
        models.Perceptron(2), fits, optimiser=samplers.Optimiser("sgd", 0.5), max_steps=20_000, stop_at_fit=False
    )
    done = train_in(np.float64, training, fits, range(3))
    theta = np.concatenate([done.params["0.weight"][:, :, 0], done.params["0.bias"]], axis=1)
    np.testing.assert_allclose(theta, np.tile(best, (3, 1)), atol=1e-5)  # scipy stops within 1e-6 or so
    assert done.step.tolist() == [20_000] * 3
    assert (done.fitted == -1).all()


@pytest.mark.parametrize("batch_size", [6, pytest.param(2, marks=pytest.mark.slow)])
def test_least_squares_reaches_the_closed_form(batch_size):
    """Three outputs on one-hot targets; batches with a learning rate that falls to 0 come near it, all at once reach
    it."""
    inputs = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 1], [1, 3]], float)
    fits = volume.Fits(inputs, [0, 1, 2, 0, 1, 2])
    design = np.c_[inputs, np.ones(6)]
    wanted = np.linalg.lstsq(design, np.eye(3)[fits.labels], rcond=None)[0]
    training = training_of(
        models.MLP((2, 3)),
        fits,
        objective=samplers.Loss("mse"),
        optimiser=samplers.Optimiser("sgd", 0.2, schedule="constant" if batch_size == 6 else "linear"),
        batch_size=batch_size,
        max_steps=6000,
        stop_at_fit=False,
    )
    done = train_in(np.float64, training, fits, [0, 7])
    theta = np.concatenate([done.params["0.weight"], done.params["0.bias"][:, None]], axis=1)
    np.testing.assert_allclose(theta, np.stack([wanted] * 2), atol=1e-8 if batch_size == 6 else 2e-2)


def test_losses_are_what_they_say():
    outputs, labels = np.array([[0.3], [-1.2], [2.0]]), np.array([1, 1, 0])
    rollout = samplers.Loss().start(3, np.float32)
    with jax.enable_x64(True):
        values = {name: np.asarray(samplers.Loss(name).values(outputs, labels, rollout)) for name in samplers.LOSSES}  # type: ignore
        np.testing.assert_allclose(values["cross-entropy"], np.log1p(np.exp([-0.3, 1.2, 2.0])), rtol=1e-12)
        np.testing.assert_allclose(values["mse"], [0.7**2, 2.2**2, 3.0**2], rtol=1e-12)
        np.testing.assert_allclose(values["hinge"], [0.7, 2.2, 3.0], rtol=1e-12)
        outputs, labels = np.array([[0.3, 1.0, -2.0], [0.5, 0.25, 3.0]]), np.array([0, 2])
        values = {name: np.asarray(samplers.Loss(name).values(outputs, labels, rollout)) for name in samplers.LOSSES}  # type: ignore
        softmax = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        np.testing.assert_allclose(values["cross-entropy"], -np.log(softmax[[0, 1], labels]), rtol=1e-12)
        np.testing.assert_allclose(values["mse"], ((outputs - np.eye(3)[labels]) ** 2).mean(1), rtol=1e-12)
        np.testing.assert_allclose(values["hinge"], [1.7, 0], rtol=1e-12)


# --- the stopping rule, step by step, beside a loop in NumPy ---


def perceptron_by_hand(start, inputs, labels, orders, batch_size, rate, max_steps, extra_epochs=0):
    """(weights, updates, updates at the first fit or -1) of SGD on cross-entropy, checked after every update."""
    weight, bias = start
    sign, num_batches = 2.0 * labels - 1, -(-len(labels) // batch_size)
    fitted, stop, taken = -1, max_steps, 0
    while True:
        if fitted < 0 and np.array_equal(inputs @ weight + bias > 0, labels > 0):
            fitted, stop = taken, min(max_steps, taken + extra_epochs * num_batches)
        if taken >= stop:
            return weight, taken, fitted
        epoch, batch = divmod(taken, num_batches)
        rows = orders(epoch)[batch * batch_size : (batch + 1) * batch_size]
        slope = -sign[rows] / (1 + np.exp(sign[rows] * (inputs[rows] @ weight + bias)))
        weight, bias = weight - rate * slope @ inputs[rows] / len(rows), bias - rate * slope.mean()
        taken += 1


@pytest.mark.parametrize(
    ("batch_size", "extra"),
    [pytest.param(5, 2, marks=pytest.mark.slow), pytest.param(4, 0, marks=pytest.mark.slow), (3, 1)],
)
def test_stopping_is_exact_after_every_update(batch_size, extra):
    """Updates and weights of 40 perceptrons on five labels of majority: whole, weighted and gathered batches, two of
    them ragged (4 and 1, 3 and 2)."""
    model = models.Perceptron(3)
    fits = volume.Fits(CUBE.inputs[[0, 1, 3, 4, 7]], [0, 0, 1, 0, 1])
    training = training_of(
        model, fits, batch_size=batch_size, extra_epochs=extra, optimiser=samplers.Optimiser("sgd", 0.3)
    )
    assert training.gathered == (batch_size < 4)
    done = train_in(np.float64, training, fits, range(40), seed=3)
    with jax.enable_x64(True):
        key = jax.random.key(3)
        for number in range(40):
            own = jax.random.fold_in(key, number)
            drawn = GAUSSIAN.draw(jax.random.fold_in(own, 0), model.parameters, np.float64)  # type: ignore
            start = np.asarray(drawn["0.weight"])[:, 0], float(drawn["0.bias"][0])

            def orders(epoch, own=own):
                bits = jax.random.bits(jax.random.fold_in(jax.random.fold_in(own, 1), epoch), (5,))
                found = np.argsort(np.asarray(bits), kind="stable")
                if batch_size == 5:
                    return np.arange(5)
                # Where the whole set is weighted, the numbers are ranks: example i stands at place found[i].
                return found if training.gathered else np.argsort(found)

            weight, taken, fitted = perceptron_by_hand(
                start, fits.inputs, fits.labels, orders, batch_size, 0.3, 100, extra
            )
            assert (taken, fitted) == (done.step[number], done.fitted[number])
            np.testing.assert_allclose(done.params["0.weight"][number, :, 0], weight, rtol=1e-9)
    assert len(set(done.fitted.tolist())) > 5  # the rule is tried at many steps, 0 among them
    assert 0 in done.fitted


@pytest.mark.slow
def test_ties_count_as_class_0():
    """Without biases the output at 0 is 0, a tie: label 0 there fits, label 1 never does."""
    cube = volume.BooleanCube(2)
    query = volume.Query(models.MLP((2, 4, 1), bias=False), GAUSSIAN, cube)
    for label, end in ((0, "fit"), (1, "never")):
        fits = volume.Fits(cube.inputs[[0, 3]], [label, 1])
        report = volume.estimate(query, volume.Trained(32, learning_rate=0.5, max_steps=300, on=fits))
        assert report.run_ends[end] >= 28  # dead ReLU networks may never fit (1/16 of the draws)
        assert report.group_by(fits)["fits"].count == report.run_ends["fit"]


# --- what a run may not depend on ---


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"batch_size": 2}, {"objective": samplers.PPO(steps=2)}], ids=str)
def test_a_network_trained_alone_is_the_one_in_the_batch(changes):
    training = training_of(NETWORK, FITS, optimiser=samplers.Optimiser("adam", 0.05), max_steps=150, **changes)
    together = train_in(np.float32, training, FITS, range(50), seed=1)
    for number in (0, 17, 49):
        alone = train_in(np.float32, training, FITS, [number], seed=1)
        for name, value in alone.params.items():
            np.testing.assert_array_equal(value[0], together.params[name][number])
        assert (alone.step[0], alone.fitted[0]) == (together.step[number], together.fitted[number])
    assert len(set(together.step.tolist())) > 5


def labels_by_run(report):
    """The class of every run; None where it gave NaN or inf."""
    found: list[Any] = [None] * report.num_runs
    labels = report.bound.labels(report.counts.keys)
    for label, start, stop in zip(labels, report.counts.offsets[:-1], report.counts.offsets[1:], strict=True):
        for run in report.counts.unit[start:stop]:
            found[run] = label
    return found


@pytest.mark.slow
def test_runs_do_not_depend_on_the_pool_or_on_how_many_there_are():
    """Other slots, other neighbours, other turns: the same functions after the same numbers of updates, run by run."""
    found, updates = [], []
    for runs, pool in ((150, 16), (150, 64), (100, 16)):
        method = volume.Trained(
            runs, optimiser="adam", learning_rate=0.05, batch_size=2, on=FITS, max_steps=60, pool=pool
        )
        report = volume.estimate(TABLES, method, seed=5)
        found.append(labels_by_run(report))
        updates.append(report.run["training"])
    assert found[0] == found[1]
    assert updates[0] == updates[1]
    assert found[2] == found[0][:100]
    assert len(set(found[0])) > 5
    other = volume.estimate(TABLES, method, seed=6)
    assert labels_by_run(other) != found[2]


@pytest.mark.slow
def test_the_last_networks_move_together_and_stay_what_they_are(monkeypatch):
    """Most of these 60 runs fit soon, and the last few move into one group; they end as when all train at once."""
    moves = []

    def spy(*arguments):
        moves.append(not np.array_equal(arguments[-1], np.arange(len(arguments[-1]))))
        return step(*arguments)

    monkeypatch.setattr("volume.estimators.trained.pool.step", spy)
    monkeypatch.setattr("volume.estimators.trained.run._cores", lambda: 1)
    method = volume.Trained(60, optimiser="adam", learning_rate=0.05, on=FITS, max_steps=500)
    run = method.start(TABLES, jax.random.key(1))
    while not run.done:
        run.advance()
    assert 1 <= sum(moves) <= 3  # from four groups to three, two, one
    training = run.plan.training
    together = train_in(np.float32, training, FITS, range(60), seed=1)
    for name in ("step", "fitted", "wrong"):
        np.testing.assert_array_equal(getattr(run.outcomes, name), getattr(together, name))
    assert len(set(run.outcomes.step.tolist())) > 10


def test_one_trace_a_method():
    num_traces = step._cache_size  # type: ignore[attr-defined]  # of a jitted function
    before = num_traces()
    method = volume.Trained(100, learning_rate=0.5, on=FITS, max_steps=40)
    for seed in (0, 1):
        volume.estimate(TABLES, method, seed=seed)
    assert num_traces() == before + 1


# --- runs that end otherwise ---


def test_labels_that_nothing_fits_end_with_a_count():
    query = volume.Query(models.Perceptron(2), GAUSSIAN, SQUARE)
    method = volume.Trained(40, on=volume.Fits(SQUARE.inputs, "0110"), max_steps=50)
    report = volume.estimate(query, method)
    assert report.run_ends == {"runs": 40, "fit": 0, "lost": 0, "never": 40, "nonfinite": 0}
    assert report.run["training"]["updates"] == 40 * 50
    assert sum(entry.count for entry in report.classes()) == 40
    assert any("40 of 40 runs do not fit" in sentence for sentence in report.warnings)
    assert len(report.steps_to_fit) == 0
    assert "not right on all of them within 50 steps" in report.summary()
    with pytest.raises(ValueError, match="None of 40 runs fits"):
        report.given_fit()


@pytest.mark.slow
def test_a_huge_learning_rate_is_reported_and_not_fatal():
    query = volume.Query(NETWORK, GAUSSIAN, CUBE, FITS)
    report = volume.estimate(query, volume.Trained(40, loss="mse", learning_rate=1e20, max_steps=1000))
    count = report.run_ends
    assert count["nonfinite"] >= 30
    assert sum(count.values()) == 80
    assert report["nonfinite"].count == count["nonfinite"] == report.num_nonfinite
    assert report["fits"].count == count["fit"]
    assert report.ends["nonfinite"].log_low < np.log(count["nonfinite"] / 40) < report.ends["nonfinite"].log_high
    assert any("gave NaN or inf" in sentence for sentence in report.warnings)
    assert report.run["near_ties"] <= 40 - count["nonfinite"]  # NaN and inf are near no boundary
    assert report.run["training"]["updates"] < 40 * 100  # they were stopped when it showed


@pytest.mark.slow
def test_a_fit_may_be_lost_and_then_counts_as_lost():
    """Steps that overshoot: right after some update, and wrong again later, when all 60 steps are taken."""
    fits = volume.Fits(SQUARE.inputs, [0, 0, 0, 1])
    query = volume.Query(models.Perceptron(2), GAUSSIAN, SQUARE, volume.Given(fits, volume.Ones()))
    method = volume.Trained(100, loss="mse", learning_rate=0.9, stop="steps", max_steps=7, batch_size=1)
    report = volume.estimate(query, method, seed=2)
    count = report.run_ends
    assert count["fit"] > 5
    assert count["lost"] > 5
    assert len(report.steps_to_fit) == count["fit"] + count["lost"]
    assert report.run["training"]["updates"] == 700
    assert report["1"].count == count["fit"]
    assert report["outside"].count == 100 - count["fit"]
    assert [share.share for share in volume.shares(report)] == [0, 1, 0, 0, 0]


# --- the report ---


def test_report_conditions_on_fitting_groups_and_comes_back(tmp_path):
    method = volume.Trained(300, learning_rate=0.3, on=FITS, max_steps=40)
    report = volume.estimate(TABLES, method, seed=9)
    fit = report.run_ends["fit"]
    assert 30 < fit < 300
    assert int(report.fit.sum()) == fit
    labels = labels_by_run(report)
    wanted = "01?10?1?"
    agrees = [all(w in ("?", c) for w, c in zip(wanted, label, strict=True)) for label in labels]
    assert agrees == report.fit.tolist()  # which runs fit, by their tables
    given = report.given_fit()
    assert given.num_draws == given.num_runs == fit
    assert given.run_ends["runs"] == 300
    best = given.classes()[0]
    assert best.count == sum(label == best.label for label in labels)
    assert best.log_volume == pytest.approx(np.log(best.count / fit))
    low, high = stats.beta.ppf([0.025, 0.975], [best.count, best.count + 1], [fit - best.count + 1, fit - best.count])
    np.testing.assert_allclose([best.low, best.high], [low, high], rtol=1e-9)
    assert given.given_fit() is given
    grouped = report.group_by(FITS)
    assert isinstance(grouped, volume.TrainedReport)
    assert grouped["fits"].count == fit
    steps = report.steps_to_fit
    assert len(steps) == fit
    assert (np.diff(steps) >= 0).all()
    assert steps[-1] <= 40

    for kept in (report, given):
        loaded = volume.load(kept.save(tmp_path / "run"))
        assert isinstance(loaded, volume.TrainedReport)
        assert loaded.to_dict() == kept.to_dict()
        assert loaded.summary() == kept.summary()
        assert loaded.fit.tolist() == kept.fit.tolist()
    text = report.summary(3)
    assert "300 runs of sgd (learning rate 0.3, batches of 5 of 5" in text
    assert "share of runs" in text
    assert "no prior mass" in text
    assert "share of fits" in given.summary()
    assert report.conventions["quantity"].startswith("share of training runs")


@pytest.mark.slow
def test_every_route_of_classifiers_counts_the_same_functions():
    """Tables, classes on the device, costly functions of tables and a predicate of the outputs."""
    method = volume.Trained(300, learning_rate=0.3, on=FITS, max_steps=40)
    tables = volume.estimate(TABLES, method, seed=1)
    positive = volume.Predicate(lambda outputs: (outputs[5] > 0).astype("int32"), 2)
    for classifier in (volume.Ones(), volume.LempelZiv()):
        report = volume.estimate(replace(TABLES, classifier=classifier), method, seed=1)
        grouped = tables.group_by(classifier)
        assert {e.label: e.count for e in report.classes()} == {e.label: e.count for e in grouped.classes()}
    report = volume.estimate(replace(TABLES, classifier=positive), method, seed=1)
    assert [report[name].count for name in ("false", "true")] == [
        sum(label[5] == digit for label in labels_by_run(tables)) for digit in "01"
    ]


@pytest.mark.slow
def test_several_outputs():
    fits = volume.Fits(CUBE.inputs, [0, 1, 2, 0, 1, 2, 2, 1])
    query = volume.Query(models.MLP((3, 12, 3)), GAUSSIAN, CUBE, volume.Argmax())
    report = volume.estimate(query, volume.Trained(32, optimiser="adam", learning_rate=0.1, on=fits, loss="hinge"))
    assert report.run_ends["fit"] >= 28
    assert report[(0, 1, 2, 0, 1, 2, 2, 1)].count == report.run_ends["fit"]


@pytest.mark.slow
def test_a_stopped_run_reports_the_runs_before_the_first_unfinished():
    """Finished runs alone would be the quick ones. What is reported is what as many runs give when none is stopped."""

    def stop(state):
        if state.done >= 40:
            raise KeyboardInterrupt

    query = volume.Query(models.Perceptron(3), GAUSSIAN, CUBE)
    method = volume.Trained(20_000, on=FITS, learning_rate=0.1, max_steps=3000, pool=16)
    with pytest.raises(volume.Interrupted) as caught:
        volume.estimate(query, method, seed=1, progress=stop)
    found: Any = caught.value.report
    assert found is None or 0 < found.num_runs < 20_000
    if found is not None:
        whole = volume.estimate(
            query, volume.Trained(found.num_runs, on=FITS, learning_rate=0.1, max_steps=3000, pool=16), seed=1
        )
        assert labels_by_run(found) == labels_by_run(whole)
        assert any("stopped early" in sentence for sentence in found.warnings)


@pytest.mark.slow
def test_runs_start_from_the_law_that_is_asked_for():
    """No step at all: the shares are the prior's volumes, whichever prior is asked for; z tests at 1e-7 each."""
    fits = volume.Fits(SQUARE.inputs, "0001")
    query = volume.Query(models.Perceptron(2), samplers.Gaussian(2**0.5, 1.0), SQUARE, fits)
    exact = 0.0438699140  # AND on {-1,1}^2
    for initial, share in ((None, exact), (samplers.Initializer("normal", bias="ones"), 0.0)):
        method = volume.Trained(5000, stop="steps", max_steps=1, learning_rate=1e-30, initial=initial)
        report = volume.estimate(query, method, seed=4)
        error = 5.33 * (exact / 5000) ** 0.5  # detects .016
        assert abs(report["fits"].volume - share) < error
        assert report.method["initial"]["name"] == ("gaussian" if initial is None else "initializer")


# --- refusals ---


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"optimiser": "adm"}, ValueError, "Did you mean 'adam'"),
        ({"loss": "crossentropy"}, ValueError, "Did you mean 'cross-entropy'"),
        ({"loss": 3}, TypeError, "is no loss"),
        ({"schedule": "cosin"}, ValueError, "Did you mean 'cosine'"),
        ({"learning_rate": 0.0}, ValueError, "not a number above 0"),
        ({"options": {"momentun": 0.9}}, ValueError, "Did you mean 'momentum'"),
        ({"options": {"momentum": [0.9]}}, TypeError, "give a number"),
        ({"optimiser": samplers.Optimiser(), "learning_rate": 0.1}, ValueError, "belongs to the optimiser"),
        ({"stop": "never"}, ValueError, "known: fit, steps"),
        ({"stop": "steps", "over_training": 3}, ValueError, "raise max_steps"),
        ({"runs": 0}, ValueError, "runs=0"),
        ({"max_steps": 1e10}, ValueError, "give fewer"),
        ({"on": volume.Ones()}, TypeError, "no training set"),
        ({"initial": samplers.Gaussian}, TypeError, "no prior"),
        ({"dtype": "bfloat16"}, ValueError, "Unknown dtype"),
    ],
)
def test_settings_that_make_no_sense(changes, error, sentence):
    settings: dict[str, Any] = {"runs": 10} | changes
    with pytest.raises(error, match=sentence):
        volume.Trained(settings.pop("runs"), **settings)


def test_queries_that_cannot_be_answered():
    with pytest.raises(ValueError, match="names none: pass on="):
        volume.estimate(TABLES, volume.Trained(10))
    with pytest.raises(ValueError, match="ask with symmetry='none'"):
        volume.estimate(replace(TABLES, symmetry="quotient"), volume.Trained(10, on=FITS))
    with pytest.raises(ValueError, match="labels run from 0 to 1"):
        volume.estimate(TABLES, volume.Trained(10, on=volume.Fits(CUBE.inputs[:2], [0, 2])))
    with pytest.raises(ValueError, match="takes inputs of shape"):
        volume.estimate(TABLES, volume.Trained(10, on=volume.Fits(SQUARE.inputs[:2], [0, 1])))
    with pytest.raises(ValueError, match="3 values"):
        volume.estimate(TABLES, volume.Trained(10, on=FITS, initial=samplers.Gaussian((1.0, 1.0, 1.0))))


@pytest.mark.slow
def test_the_training_set_may_lie_outside_the_domain():
    elsewhere = volume.Fits(SQUARE.inputs[:3] * 0.5, [0, 1, 1])
    query = volume.Query(models.MLP((2, 5, 1)), GAUSSIAN, SQUARE)
    run = volume.Trained(20, on=elsewhere, learning_rate=0.5).start(query, jax.random.key(0))
    while not run.done:
        run.advance()
    assert run.outcomes.fit.sum() > 10
    assert not run.outcomes.otherwise.any()


def test_on_the_command_line(capsys, tmp_path):
    words = "estimate --model mlp:3-5-1 --bias-std 0.5 --coding=-1,1 --method trained --on fits:labels=01?10?1?"
    options = "--runs 40 --optimiser adam --learning-rate 0.05 --batch-size 2 --loss ppo --max-steps 30 --seed 3"
    argv = [*words.split(), *options.split(), "--json", "--out", str(tmp_path / "run")]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    method = volume.Trained(40, on=FITS, optimiser="adam", learning_rate=0.05, batch_size=2, loss="ppo", max_steps=30)
    wanted: Any = volume.estimate(TABLES, method, seed=3)
    assert found["method"] == wanted.method | {"on": found["method"]["on"]}
    assert found["run"]["training"] == wanted.run["training"]
    assert main(["show", str(tmp_path / "run")]) == 0
    assert "40 runs of adam" in capsys.readouterr().out
    for words, sentence in (
        ("--method trained", "are required: --runs"),
        ("--method trained --runs 10", "names none: pass on="),
        ("--method trained --runs 10 --on ones", "is no training set"),
        ("--method trained --runs 10 --optimiser adm", "Did you mean 'adam'"),
        ("--draws 10 --loss mse", "--loss belongs to --method trained"),
    ):
        assert main(["estimate", "--model", "mlp:3-5-1", *words.split()]) == 2
        assert sentence in capsys.readouterr().err
